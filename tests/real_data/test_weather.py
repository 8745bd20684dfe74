"""Hourly weather at New York's airports, 2013: gaps in time and missing values (P-2, P-5, P-8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from e2i_fs.testing.oracle import Row, by_key, historical, online
from tests.real_data import real

STAMP = pa.timestamp("us", "UTC")
TTL = timedelta(hours=1)


@pytest.mark.parametrize("backend", ["duckdb", "memory", "feast"])
@pytest.mark.rule("P-2", "P-5", "P-8", "O-2")
def test_weather_with_gaps_and_missing_values_equals_the_oracle(backend, tmp_path) -> None:
    if backend == "feast":
        pytest.importorskip("feast", reason='needs Feast: pip install "e2i-fs[feast]"')
    path = real.path("nyc_weather_2013.parquet")
    table = pq.read_table(path)
    numbers = [f.name for f in table.schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)]
    types = [fs.Float64 if pa.types.is_floating(table.schema.field(n).type) else fs.Int64 for n in numbers]
    rows = [
        Row((r["origin"],), r["observed_at"] and _utc(r["observed_at"]), None, tuple(r[n] for n in numbers))
        for r in table.to_pylist()
    ]
    view = fs.FeatureView(
        "weather", entities=[fs.Entity("origin")], schema=[fs.Field(n, t) for n, t in zip(numbers, types, strict=True)],
        source=fs.ParquetSource(str(path), timestamp_field="observed_at"), ttl=TTL,
    )  # fmt: skip
    rng = Random(2013)
    asked = []
    for _ in range(600):
        row = rng.choice(rows)
        offset = rng.choice([0, 1, -1, 3_600_000_000, 3_600_000_001, 1_800_000_000, 7_200_000_000])
        asked.append((row.key, row.event + timedelta(microseconds=offset)))
    config = {"backend": backend} if backend == "memory" else {"backend": backend, "path": str(tmp_path / "store")}
    clock = FakeClock(datetime(2013, 6, 30, 12, 30, tzinfo=UTC))
    history = by_key(rows, [fs.String])
    expected = historical(history, asked, [fs.String], types, ttl=TTL)
    seen = {status for answer in expected for status in answer.statuses}
    assert {"PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE"} <= seen
    frame = pa.table({"origin": [k[0] for k, _ in asked], "event_timestamp": pa.array([t for _, t in asked], STAMP)})
    with fs.connect(config, clock=clock) as store:
        store.apply([view])
        result = store.get_historical_features(frame, ["weather:*"])
        for place, name in enumerate(numbers):
            assert result.to_arrow().column(name).to_pylist() == [a.values[place] for a in expected]
            assert [s.name for s in result.statuses[f"weather:{name}"]] == [a.statuses[place] for a in expected]
        store.materialize(clock.now() - timedelta(days=1), clock.now())
        now = online(history, [("EWR",), ("JFK",), ("LGA",), ("SFO",)], clock.now(), [fs.String], types, ttl=TTL)
        answer = store.get_online_features(["weather:*"], [{"origin": o} for o in ("EWR", "JFK", "LGA", "SFO")])
        for place, name in enumerate(numbers):
            assert answer.to_dict()[name] == [a.values[place] for a in now]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
