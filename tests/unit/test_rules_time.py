"""T-1 to T-5: what a time is."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from tests.kit import NOW, US, ask, at, config, statuses, values, view


@pytest.mark.rule("T-1")
@pytest.mark.parametrize(
    "zone", [UTC, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata"), timezone(timedelta(hours=-9, minutes=-30))]
)
def test_an_aware_time_of_any_zone_is_the_instant_it_names(store, tmp_path, zone) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1), ("a", at(10) + US, 2)])])
    frame = pd.DataFrame({"hcp_id": ["a"], "event_timestamp": [at(10).astimezone(zone)]})
    assert values(store.get_historical_features(frame, ["hcp_stats:trx_count"])) == [1]


@pytest.mark.rule("T-1")
def test_zones_may_be_mixed_within_one_column(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1), ("a", at(10) + US, 2)])])
    times = [at(10).astimezone(ZoneInfo("America/New_York")), at(10).astimezone(ZoneInfo("Asia/Kolkata")), at(11)]
    frame = pd.DataFrame({"hcp_id": ["a"] * 3, "event_timestamp": pd.Series(times, dtype=object)})
    assert values(store.get_historical_features(frame, ["hcp_stats:trx_count"])) == [1, 1, 2]


@pytest.mark.rule("T-1")
def test_both_moments_of_the_hour_that_summer_time_repeats_are_told_apart(store, tmp_path) -> None:
    zone = ZoneInfo("America/New_York")
    first = datetime(2024, 11, 3, 1, 30, tzinfo=zone, fold=0)
    second = first.replace(fold=1)
    rows = [("a", first.astimezone(UTC), 1), ("a", second.astimezone(UTC), 2)]
    store.apply([view(tmp_path, rows)])
    frame = pa.table(
        {"hcp_id": ["a", "a"], "event_timestamp": pa.array([first, second], pa.timestamp("us", "America/New_York"))}
    )
    assert values(store.get_historical_features(frame, ["hcp_stats:trx_count"])) == [1, 2]


@pytest.mark.rule("T-1")
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_naive_entity_times_are_read_as_utc_in_any_unit(store, tmp_path, unit) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1), ("a", at(10) + US, 2)])])
    frame = pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([at(10).replace(tzinfo=None)], pa.timestamp(unit))})
    assert values(store.get_historical_features(frame, ["hcp_stats:trx_count"])) == [1]


@pytest.mark.rule("T-1")
def test_naive_times_are_an_error_where_the_configuration_rejects_them(tmp_path, backend, clock) -> None:
    with fs.connect({**config(backend, tmp_path / "s"), "naive_timestamps": "reject"}, clock=clock) as store:
        store.apply([view(tmp_path, [("a", at(10), 1)])])
        frame = pa.table(
            {"hcp_id": ["a"], "event_timestamp": pa.array([at(10).replace(tzinfo=None)], pa.timestamp("us"))}
        )
        with pytest.raises(fs.InvalidTimestampError, match="event_timestamp"):
            store.get_historical_features(frame, ["hcp_stats:trx_count"])
        with pytest.raises(fs.InvalidTimestampError, match="as_of"):
            ask(store, [("a", at(10))], as_of=at(10).replace(tzinfo=None))
        assert values(ask(store, [("a", at(10))])) == [1]


@pytest.mark.rule("T-2")
def test_a_time_finer_than_a_microsecond_is_an_error_naming_column_and_row(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1)])])
    nanos = pa.array([1_710_000_000_000_000_000, 1_710_000_000_000_000_001], pa.timestamp("ns", "UTC"))
    with pytest.raises(fs.InvalidTimestampError, match=r"event_timestamp.*\b1\b"):
        store.get_historical_features(
            pa.table({"hcp_id": ["a", "a"], "event_timestamp": nanos}), ["hcp_stats:trx_count"]
        )


@pytest.mark.rule("T-2")
def test_a_source_time_finer_than_a_microsecond_never_answers_early(store, tmp_path) -> None:
    """Rounding 1 ns after t down to t would let the future in: the row is refused, not rounded."""
    import pyarrow.parquet as pq

    one = view(tmp_path, [("a", at(10), 1)])
    nanos = int(at(10).timestamp()) * 10**9 + 1
    path = tmp_path / "hcp_stats.parquet"
    pq.write_table(
        pa.table({"hcp_id": ["a"], "event_timestamp": pa.array([nanos], pa.timestamp("ns", "UTC")), "trx_count": [1]}),
        path,
    )
    with pytest.raises((fs.E2IError,), match="event_timestamp"):
        store.apply([one])
        ask(store, [("a", at(10))])


@pytest.mark.rule("T-2")
def test_nanosecond_columns_of_whole_microseconds_are_fine(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1), ("a", at(10) + US, 2)])])
    frame = pd.DataFrame({"hcp_id": ["a"], "event_timestamp": pd.Series([at(10)]).astype("datetime64[ns, UTC]")})
    assert values(store.get_historical_features(frame, ["hcp_stats:trx_count"])) == [1]


@pytest.mark.rule("T-3")
def test_a_missing_entity_time_is_an_error_with_the_rows_number(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", at(10), 1)])])
    with pytest.raises(fs.InvalidTimestampError, match=r"\b2\b"):
        ask(store, [("a", at(10)), ("a", at(11)), ("a", None)])


@pytest.mark.rule("T-3")
def test_a_source_row_without_event_time_is_never_seen(store, tmp_path) -> None:
    store.apply([view(tmp_path, [("a", None, 9), ("b", None, 9), ("a", at(10), 1)])])
    assert values(ask(store, [("a", at(10)), ("a", at(99_999)), ("b", at(99_999))])) == [1, 1, None]
    store.materialize(None, NOW)
    answer = store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "a"}, {"hcp_id": "b"}])
    assert answer.to_dict()["trx_count"] == [1, None]
    assert [s.name for s in answer.statuses["hcp_stats:trx_count"]] == ["PRESENT", "NOT_FOUND"]


_ANSWER = """
import sys, pyarrow as pa, e2i_fs as fs
store = fs.connect({"backend": "duckdb", "path": sys.argv[1]})
frame = pa.table({"hcp_id": ["a", "b", "a"], "event_timestamp": pa.array([1710000000000000 + i for i in range(3)], pa.timestamp("us"))})
print(store.get_historical_features(frame, ["hcp_stats:trx_count"]).to_arrow().to_pydict())
print(store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "a"}]).event_timestamps["hcp_stats:trx_count"])
"""


@pytest.mark.rule("T-4")
def test_another_process_in_another_zone_with_another_hash_seed_and_folder_answers_the_same(tmp_path, clock) -> None:
    start = datetime.fromtimestamp(1_710_000_000, UTC)
    rows = [("a", start, n) for n in range(9)] + [("b", start + US, 1), ("b", start + US, 2)]
    with fs.connect(config("duckdb", tmp_path / "store"), clock=clock) as store:
        store.apply([view(tmp_path, rows)])
        store.materialize(None, NOW)
    said = set()
    for number, zone in enumerate(["America/New_York", "Asia/Kolkata", "UTC"]):
        folder = tmp_path / f"cwd{number}"
        folder.mkdir()
        env = {**os.environ, "TZ": zone, "PYTHONHASHSEED": str(number)}
        command = [sys.executable, "-c", _ANSWER, str(tmp_path / "store")]
        said.add(subprocess.run(command, env=env, cwd=folder, check=True, capture_output=True, text=True).stdout)
    assert len(said) == 1
    assert "[8, 2, 8]" in said.pop()


@pytest.mark.rule("T-5")
def test_only_the_injected_clock_says_what_now_is(store, tmp_path, clock: FakeClock) -> None:
    store.apply([view(tmp_path, [("a", NOW, 1), ("a", NOW + timedelta(minutes=1), 2)], ttl=timedelta(hours=1))])
    store.materialize_incremental()
    refs = ["hcp_stats:trx_count"]
    assert store.get_online_features(refs, [{"hcp_id": "a"}]).to_dict()["trx_count"] == [1]
    clock.advance(timedelta(minutes=1))
    store.materialize_incremental()
    assert store.get_online_features(refs, [{"hcp_id": "a"}]).to_dict()["trx_count"] == [2]
    clock.advance(timedelta(hours=1))
    assert statuses(store.get_online_features(refs, [{"hcp_id": "a"}])) == ["PRESENT"]
    clock.advance(US)
    assert statuses(store.get_online_features(refs, [{"hcp_id": "a"}])) == ["OUTSIDE_MAX_AGE"]


@pytest.mark.rule("T-5")
def test_nothing_but_the_clock_module_reads_the_wall_clock() -> None:
    import ast

    package = Path(fs.__file__).parent
    backends = package.parent / "backends"
    readers = {
        "time.time",
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "date.today",
        "time.time_ns",
        "dt.datetime.now",
    }
    found = []
    for path in [*package.rglob("*.py"), *backends.rglob("*.py")]:
        if path == package / "clock.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in readers:
                found.append(f"{path.name}:{node.lineno} {ast.unparse(node.func)}")
    assert not found
