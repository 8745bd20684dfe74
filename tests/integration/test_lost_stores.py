"""A backend whose rows are gone is not asked as if they had never been (X-3, X-4): folders really moved away."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from tests import kit

VIEW = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])


def rows(x: int, days_ago: int = 1) -> pa.Table:
    times = pa.array([kit.NOW - timedelta(days=days_ago)], pa.timestamp("us", "UTC"))
    return pa.table({"k": ["a"], "event_timestamp": times, "x": [x]})


def config(folder: Path) -> dict[str, Any]:
    backends = [{"name": n, "backend": "duckdb", "path": str(folder / n)} for n in ("primary", "standby")]
    return {"backends": backends, "failover": {"shadow_rate": 0, "background": False}}


def read(store: fs.FeatureStore) -> tuple[list[Any], str, bool]:
    answer = store.get_online_features(["v:x"], [{"k": "a"}])
    return answer.to_dict()["x"], answer.provenance.served_by, answer.provenance.degraded


@pytest.fixture
def written(tmp_path: Path, clock: Any) -> Path:
    with fs.connect(config(tmp_path), clock=clock) as store:
        store.apply([VIEW])
        store.write("v", rows(1))
        assert read(store) == ([1], "primary", False)
    return tmp_path


@pytest.mark.rule("X-3")
def test_a_primary_whose_folder_is_gone_when_a_process_starts_is_not_the_authority(written: Path, clock: Any) -> None:
    shutil.rmtree(written / "primary")
    with fs.connect(config(written), clock=clock) as store:
        assert read(store) == ([1], "standby", False)
        assert [v.name for v in store.list_feature_views()] == ["v"]


@pytest.mark.rule("X-4")
def test_a_primary_made_anew_without_its_rows_does_not_answer_unmarked(written: Path, clock: Any) -> None:
    shutil.rmtree(written / "primary")
    with fs.connect(config(written), clock=clock) as store:
        store.apply([VIEW])
        assert read(store) == ([1], "standby", False)
        assert {h.name: h.parity for h in store.health()} == {
            "primary": {"v": "diverged"},
            "standby": {"v": "verified"},
        }
        # Writing does not bring back what it lost; the journal does.
        store.write("v", rows(0, days_ago=9))
        assert read(store) == ([1], "standby", False)
        assert store.catch_up("primary")["primary"].rebuilt == ("v",)
        assert read(store) == ([1], "primary", False)


@pytest.mark.rule("X-4")
def test_what_a_backend_missed_is_known_although_the_other_is_lost(written: Path, clock: Any) -> None:
    with fs.connect(config(written), clock=clock) as store:
        shutil.move(written / "standby", written / "away")
        (written / "standby").write_text("no folder")
    with fs.connect(config(written), clock=clock) as store:
        receipt = store.write("v", rows(2, days_ago=0))
        assert (receipt.applied, list(receipt.missed)) == (("primary",), ["standby"])
    (written / "standby").unlink()
    shutil.move(written / "away", written / "standby")
    shutil.move(written / "primary", written / "gone")
    (written / "primary").write_text("no folder")
    with fs.connect(config(written), clock=clock) as store:
        assert read(store) == ([1], "standby", True)
        with pytest.raises(fs.DegradedAnswerError, match="missed 1 write"):
            store.get_online_features(["v:x"], [{"k": "a"}], strict=True)


def test_a_breaking_change_is_no_loss(written: Path, clock: Any) -> None:
    with fs.connect(config(written), clock=clock) as store:
        text = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.String)])
        store.apply([text], allow_breaking=True)
        assert read(store) == ([None], "primary", False)
    with fs.connect(config(written), clock=clock) as store:
        assert read(store) == ([None], "primary", False)


def test_a_folder_made_anew_under_a_forgotten_store_keeps_what_is_written_to_it(tmp_path: Path, clock: Any) -> None:
    config = {"backend": "duckdb", "path": str(tmp_path / "store")}
    forgotten = fs.connect(config, clock=clock)
    forgotten.apply([VIEW])
    forgotten.write("v", rows(1))
    shutil.rmtree(tmp_path / "store")
    with fs.connect(config, clock=clock) as store:
        store.apply([VIEW])
        store.write("v", rows(2))
        with pytest.raises(fs.BackendUnavailableError):
            forgotten.get_online_features(["v:x"], [{"k": "a"}])
    forgotten.close()
    with fs.connect(config, clock=clock) as store:
        assert read(store) == ([2], "duckdb", False)


@pytest.mark.rule("X-3")
def test_a_primary_whose_folder_is_moved_away_while_open_does_not_say_that_nothing_was_there(
    written: Path, clock: Any
) -> None:
    with fs.connect(config(written), clock=clock) as store:
        asked = pa.table({"k": ["a"], "event_timestamp": pa.array([kit.NOW], pa.timestamp("us", "UTC"))})
        shutil.move(written / "primary", written / "away")
        result = store.get_historical_features(asked, ["v:x"])
        assert (result.to_arrow()["x"].to_pylist(), result.provenance.served_by) == ([1], "standby")
        assert list(store.write("v", rows(2, days_ago=0)).missed) == ["primary"]
        shutil.move(written / "away", written / "primary")
        result = store.get_historical_features(asked, ["v:x"])
        assert (result.to_arrow()["x"].to_pylist(), result.provenance.degraded) == ([2], False)
