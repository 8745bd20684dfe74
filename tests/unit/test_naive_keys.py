"""Times in join keys are times too (T-1)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from tests import kit

AWARE, NAIVE = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1)  # noqa: DTZ001 - naive is what is tested


@pytest.mark.rule("T-1")
@pytest.mark.parametrize("policy", ["utc", "reject"])
def test_a_naive_time_in_a_join_key_is_utc_or_refused(policy: str, tmp_path: Path, clock: Any) -> None:
    config = {**kit.config("duckdb", tmp_path / "store"), "naive_timestamps": policy}
    with fs.connect(config, clock=clock) as store:
        entity = fs.Entity("slot", join_keys={"slot": fs.Timestamp})
        store.apply([fs.FeatureView("v", entities=[entity], schema=[fs.Field("x", fs.Int64)])])
        store.write("v", pa.table({"slot": [AWARE], "event_timestamp": [AWARE], "x": [1]}))
        asked = {"event_timestamp": pa.array([kit.NOW], pa.timestamp("us", "UTC"))}
        naive = pa.table({"slot": pa.array([NAIVE], pa.timestamp("us")), **asked})
        if policy == "reject":
            with pytest.raises(fs.InvalidTimestampError, match="reject"):
                store.get_historical_features(naive, ["v:x"])
            with pytest.raises(fs.InvalidTimestampError, match="reject"):
                store.get_online_features(["v:x"], [{"slot": NAIVE}])
        else:
            assert store.get_historical_features(naive, ["v:x"]).to_arrow()["x"].to_pylist() == [1]
            assert store.get_online_features(["v:x"], [{"slot": NAIVE}]).to_dict()["x"] == [1]
        assert store.get_online_features(["v:x"], [{"slot": AWARE}]).to_dict()["x"] == [1]


@fs.on_demand_feature_view(
    sources=[fs.RequestSource("asked", schema=[fs.Field("at", fs.Timestamp)])], schema=[fs.Field("same", fs.Timestamp)]
)
def echoed(columns):
    return {"same": columns["at"]}


@pytest.mark.rule("T-1")
@pytest.mark.parametrize("policy", ["utc", "reject"])
def test_a_naive_time_in_a_request_column_is_utc_or_refused(policy: str, clock: Any) -> None:
    with fs.connect({"backend": "memory", "naive_timestamps": policy}, clock=clock) as store:
        store.apply([echoed])

        def online(*times: datetime) -> list[Any]:
            return store.get_online_features(["echoed:same"], [{"at": t} for t in times]).to_dict()["same"]

        def historical(*times: datetime) -> list[Any]:
            rows = [{"at": t, "event_timestamp": kit.NOW} for t in times]
            return store.get_historical_features(rows, ["echoed:same"]).to_arrow()["same"].to_pylist()

        for asked in (online, historical):
            assert asked(AWARE, AWARE) == [AWARE, AWARE]
            for mixed in ((NAIVE,), (AWARE, NAIVE)):
                if policy == "reject":
                    with pytest.raises(fs.InvalidTimestampError, match="'at'"):
                        asked(*mixed)
                else:
                    assert asked(*mixed) == [AWARE] * len(mixed)
