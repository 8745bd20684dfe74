"""What `e2i_fs.testing` gives to users: a clock, a store in memory, worlds; and that importing it is cheap."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import e2i_fs as fs
from e2i_fs.backend import Backend
from e2i_fs.clock import Clock
from e2i_fs.testing import FakeClock, make_world, memory_store
from e2i_fs.testing.compare import same_value
from e2i_fs.testing.memory import MemoryBackend
from e2i_fs.testing.oracle import Row, answer, batch_problems, natural_order
from tests.kit import NOW, US, at, batch, online

VIEW = fs.FeatureView("hcp_stats", entities=[fs.Entity("hcp_id")], schema=[fs.Field("trx_count", fs.Int64)])


@pytest.mark.rule("G-1")
def test_importing_the_kit_imports_nothing_heavy() -> None:
    code = "import sys, e2i_fs.testing.plugin; print([m for m in ('pyarrow', 'duckdb', 'pandas', 'hypothesis') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.rule("T-5")
def test_the_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(datetime(2024, 1, 1, tzinfo=UTC))
    assert isinstance(clock, Clock)
    clock.advance(timedelta(seconds=90))
    assert (clock.now(), clock.monotonic()) == (datetime(2024, 1, 1, 0, 1, 30, tzinfo=UTC), 90.0)
    clock.set(datetime(2023, 1, 1))  # noqa: DTZ001 - naive is read as UTC
    assert (clock.now(), clock.monotonic()) == (datetime(2023, 1, 1, tzinfo=UTC), 90.0)
    with pytest.raises(ValueError, match="set"):
        clock.advance(timedelta(seconds=-1))


def test_a_store_in_memory_is_ready_and_forgets(clock) -> None:
    with memory_store(VIEW, clock=clock) as store:
        assert isinstance(store, fs.FeatureStore)
        store.write("hcp_stats", batch(("a", at(1), 1)))
        assert online(store, "a") == [(1, "PRESENT")]
    with memory_store(VIEW, clock=clock) as store:
        assert online(store, "a") == [(None, "NOT_FOUND")]


def test_the_memory_backend_is_a_backend_and_says_so_when_closed(clock) -> None:
    backend = MemoryBackend("memory", clock)
    assert isinstance(backend, Backend)
    backend.close()
    backend.close()
    with pytest.raises(fs.BackendUnavailableError, match="closed"):
        backend.definitions()


@pytest.mark.rule("P-1", "P-2", "P-3", "P-4")
def test_the_oracle_itself_on_cases_worked_out_by_hand() -> None:
    rows = [
        Row(("a",), at(10), at(10), (1,)),
        Row(("a",), at(10), at(30), (2,)),
        Row(("a",), at(10), None, (9,)),
        Row(("a",), None, at(1), (9,)),
        Row(("a",), at(20), at(20), (None,)),
    ]
    types, ttl = [fs.Int64], timedelta(minutes=15)

    def ask(t: datetime, **form: object) -> tuple[object, str]:
        found = answer(rows, t, types, ttl=ttl, **form)
        return found.values[0], found.statuses[0]

    assert ask(at(10) - US) == (None, "NOT_FOUND")
    assert ask(at(10)) == (2, "PRESENT")
    assert ask(at(10), filter_by_created=True) == (1, "PRESENT")
    assert ask(at(10), as_of=at(9)) == (None, "NOT_FOUND")
    assert ask(at(20)) == (None, "NULL_VALUE")
    assert ask(at(35)) == (None, "NULL_VALUE")
    assert ask(at(35) + US) == (None, "OUTSIDE_MAX_AGE")
    assert ask(at(19), as_of=at(30)) == (2, "PRESENT")


def test_natural_order_and_sameness_see_what_equality_does_not() -> None:
    floats = [float("nan"), 0.0, None, float("-inf"), -0.0, float("inf")]
    ordered = sorted(floats, key=lambda v: natural_order(v, fs.Float64))
    assert [repr(v) for v in ordered] == ["None", "-inf", "-0.0", "0.0", "inf", "nan"]
    lists = [[1, 2], None, [1], [None], [], [1, None]]
    assert sorted(lists, key=lambda v: natural_order(v, fs.Array(fs.Int64))) == [
        None,
        [],
        [None],
        [1],
        [1, None],
        [1, 2],
    ]
    assert not same_value(0.0, -0.0, fs.Float64)
    assert same_value([float("nan")], [float("nan")], fs.Array(fs.Float64))


@pytest.mark.rule("W-1", "O-4")
def test_the_oracle_knows_which_rows_a_batch_may_not_hold() -> None:
    limit = NOW + timedelta(seconds=60)
    rows = [
        Row(("a",), limit, None, ()),
        Row(("a",), limit + US, None, ()),
        Row((None,), None, None, ()),
        Row((7,), NOW, None, ()),
    ]
    assert batch_problems(rows, NOW, [fs.String]) == [
        (1, "future event time"), (2, "missing key"), (2, "missing event time"), (3, "missing key"),
    ]  # fmt: skip


def test_a_world_keeps_to_the_dtypes_it_is_given() -> None:
    for seed in range(50):
        world = make_world(seed, kinds=["int64", "bool"], key_kinds=["date"])
        assert {t.kind for v in world.views for t in v.types} <= {"int64", "bool"}
        assert {t.kind for v in world.views for t in v.key_types} == {"date"}
