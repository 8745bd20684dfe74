"""US flights of 2001: a two-column key, real ties, and a delay that is known only after the flight (P-3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from e2i_fs.testing.oracle import Row, by_key, historical, online
from tests.real_data import real

STAMP = pa.timestamp("us", "UTC")
KEYS = {"origin": fs.String, "destination": fs.String}
TYPES = [fs.Int64, fs.Int64]
TTL = timedelta(days=2, hours=12)
US = timedelta(microseconds=1)
FORMS = [
    {},
    {"filter_by_created_timestamp": True},
    {"as_of": datetime(2001, 2, 14, tzinfo=UTC)},
    {"filter_by_created_timestamp": True, "as_of": datetime(2001, 2, 14, tzinfo=UTC)},
]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    table = pq.read_table(real.path("us_flights_2001.parquet"))
    found = []
    for flight in table.to_pylist():
        at = flight["scheduled_at"].replace(tzinfo=UTC)
        known = at + timedelta(minutes=flight["delay_minutes"] + flight["distance_miles"] / 8)
        values = (flight["delay_minutes"], flight["distance_miles"])
        found.append(Row((flight["origin"], flight["destination"]), at, known, values))
    return found


@pytest.fixture(scope="module")
def asked(rows: list[Row]) -> list[tuple[tuple[str, str], datetime]]:
    """20,000 questions: about a real route, at, near or long after a real flight or the moment its delay was known."""
    rng = Random(2001)
    questions = []
    for _ in range(20_000):
        row = rng.choice(rows)
        moment = rng.choice([row.event, row.created]) + rng.choice(
            [timedelta(0), US, -US, TTL, TTL + US, timedelta(hours=3)]
        )
        key = row.key if rng.random() < 0.95 else (row.key[1], row.key[0] + "X")
        questions.append((key, moment))
    return questions


def _view(rows: list[Row], folder: Path) -> fs.FeatureView:
    """Write the flights in two files, shuffled, and return the view over them."""
    shuffled = Random(7).sample(rows, len(rows))
    for number, part in enumerate((shuffled[:3_333], shuffled[3_333:])):
        table = pa.table(
            {
                "origin": [r.key[0] for r in part],
                "destination": [r.key[1] for r in part],
                "scheduled_at": pa.array([r.event for r in part], STAMP),
                "known_at": pa.array([r.created for r in part], STAMP),
                "delay_minutes": pa.array([r.values[0] for r in part], pa.int64()),
                "distance_miles": pa.array([r.values[1] for r in part], pa.int64()),
            }
        )
        pq.write_table(table, folder / f"flights_{number}.parquet")
    return fs.FeatureView(
        "flights",
        entities=[fs.Entity("route", join_keys=KEYS)],
        schema=[fs.Field("delay_minutes", fs.Int64), fs.Field("distance_miles", fs.Int64)],
        source=fs.ParquetSource(
            [str(folder / f"flights_{n}.parquet") for n in (0, 1)],
            timestamp_field="scheduled_at", created_timestamp_field="known_at",
        ),
        ttl=TTL,
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["duckdb", "memory", "feast"])
@pytest.mark.rule("P-1", "P-2", "P-3", "P-4", "P-6", "P-7", "O-6")
def test_a_training_set_of_flights_equals_the_oracle_on_20_000_rows(backend, rows, asked, tmp_path) -> None:
    if backend == "feast":
        pytest.importorskip("feast", reason='needs Feast: pip install "e2i-fs[feast]"')
    config = {"backend": backend} if backend == "memory" else {"backend": backend, "path": str(tmp_path / "store")}
    clock = FakeClock(datetime(2001, 3, 1, tzinfo=UTC))
    frame = pa.table(
        {
            "origin": [key[0] for key, _ in asked],
            "destination": [key[1] for key, _ in asked],
            "event_timestamp": pa.array([t for _, t in asked], STAMP),
        }
    )
    history, key_types = by_key(rows, list(KEYS.values())), list(KEYS.values())
    with fs.connect(config, clock=clock) as store:
        store.apply([_view(rows, tmp_path)])
        for form in FORMS:
            result = store.get_historical_features(frame, ["flights:*"], **form)
            table = result.to_arrow()
            expected = historical(
                history, asked, key_types, TYPES, ttl=TTL,
                filter_by_created=form.get("filter_by_created_timestamp", False), as_of=form.get("as_of"),
            )  # fmt: skip
            assert table.column("delay_minutes").to_pylist() == [a.values[0] for a in expected]
            assert table.column("distance_miles").to_pylist() == [a.values[1] for a in expected]
            assert [s.name for s in result.statuses["flights:delay_minutes"]] == [a.statuses[0] for a in expected]
            assert len({a.statuses[0] for a in expected}) == 3
        store.materialize(None, clock.now())
        routes = sorted({key for key, _ in asked})
        answer = store.get_online_features(["flights:*"], [{"origin": o, "destination": d} for o, d in routes])
        now = online(history, routes, clock.now(), key_types, TYPES, ttl=TTL)
        assert answer.to_dict()["delay_minutes"] == [a.values[0] for a in now]
        assert [s.name for s in answer.statuses["flights:delay_minutes"]] == [a.statuses[0] for a in now]
        assert answer.event_timestamps["flights:delay_minutes"] == [a.event for a in now]


@pytest.mark.rule("P-3")
def test_what_a_flight_s_delay_will_be_is_not_known_before_it_lands(rows, asked) -> None:
    """The data has the hazard that the test above is about: knowledge time changes many answers."""
    key_types = list(KEYS.values())
    history = by_key(rows, key_types)
    plain = historical(history, asked, key_types, TYPES, ttl=TTL)
    known = historical(history, asked, key_types, TYPES, ttl=TTL, filter_by_created=True)
    assert sum(a != b for a, b in zip(plain, known, strict=True)) > 1_000
