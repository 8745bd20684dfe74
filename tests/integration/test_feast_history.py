"""History of an adopted repository whose sources are not local Parquet: remote files, and other stores of Feast's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from tests import kit

BIG = 2**53 + 1


def rows() -> pa.Table:
    times = pa.array(
        [kit.NOW - timedelta(hours=2), kit.NOW - timedelta(hours=1), kit.NOW - timedelta(minutes=1)], kit.STAMP
    )
    return pa.table({"driver_id": [1, 1, 2], "at": times, "trips": pa.array([BIG, None, 7], pa.int64())})


@pytest.fixture
def repo(tmp_path: Path, feast_library: Any) -> Path:
    (tmp_path / "feature_store.yaml").write_text(
        "project: demo\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: tests.integration.feast_ledger_store.LedgerOfflineStore}\n"
        "online_store: {type: sqlite, path: online.db}\n"
    )
    return tmp_path


def register(repo: Path, source: Any) -> None:
    import feast
    from feast.types import Int64
    from feast.value_type import ValueType

    driver = feast.Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    schema = [feast.Field(name="driver_id", dtype=Int64), feast.Field(name="trip_count", dtype=Int64)]
    feast.FeatureStore(str(repo)).apply(
        [driver, feast.FeatureView(name="stats", entities=[driver], schema=schema, source=source)]
    )


def remote_parquet(repo: Path) -> Any:
    import feast

    pq.write_table(rows(), repo / "trips.parquet")
    return feast.FileSource(
        path=f"file://{repo}/trips.parquet", timestamp_field="at", field_mapping={"trips": "trip_count"}
    )


def other_store(repo: Path) -> Any:
    from tests.integration.feast_ledger_store import LedgerSource

    with pa.ipc.new_file(repo / "trips.arrow", rows().schema) as file:
        file.write_table(rows())
    return LedgerSource(
        name="ledger",
        timestamp_field="at",
        field_mapping={"trips": "trip_count"},
        description=str(repo / "trips.arrow"),
    )


@pytest.mark.rule("P-8", "P-5")
@pytest.mark.parametrize("source", [remote_parquet, other_store])
def test_history_comes_exactly_with_what_was_written_through_e2i_fs(repo: Path, clock: Any, source: Any) -> None:
    register(repo, source(repo))
    with fs.connect({"backend": "feast", "repo": str(repo)}, clock=clock) as store:
        frame = pa.table({
            "driver_id": [1, 1, 2, 3, 1],
            "event_timestamp": pa.array([kit.NOW - timedelta(hours=2), kit.NOW - timedelta(minutes=50), kit.NOW, kit.NOW, kit.NOW - timedelta(hours=3)], kit.STAMP),
        })  # fmt: skip
        result = store.get_historical_features(frame, ["stats:trip_count"])
        assert result.to_arrow()["trip_count"].to_pylist() == [BIG, None, 7, None, None]
        assert [s.name for s in result.statuses["stats:trip_count"]] == [
            "PRESENT",
            "NULL_VALUE",
            "PRESENT",
            "NOT_FOUND",
            "NOT_FOUND",
        ]
        store.write("stats", pa.table({"driver_id": [3], "at": pa.array([kit.NOW], kit.STAMP), "trip_count": [BIG]}))
        assert store.get_historical_features(frame, ["stats:trip_count"]).to_arrow()["trip_count"].to_pylist() == [
            BIG,
            None,
            7,
            BIG,
            None,
        ]
        store.materialize(None, kit.NOW)
        answer = store.get_online_features(["stats:trip_count"], [{"driver_id": d} for d in (1, 2, 3, 4)])
        assert answer.to_dict()["trip_count"] == [None, 7, BIG, None]


def test_reading_an_adopted_repository_writes_nothing_into_it(repo: Path, open_feast: Any) -> None:
    register(repo, remote_parquet(repo))
    backend = open_feast({"repo": str(repo)})
    before = sorted((p.name, p.stat().st_mtime_ns) for p in repo.iterdir())
    assert set(backend.definitions().views) == {"stats"}
    assert backend.online_read("stats", [(1,)], at_us=0) == [None]
    assert backend.position("stats") == (0, None, 0)
    assert len(backend.scan("stats", ["trip_count"])) == 1
    assert sorted((p.name, p.stat().st_mtime_ns) for p in repo.iterdir()) == before
