"""Each fault does to a call what it says, to that call only, and the log tells of it."""

from __future__ import annotations

import threading
from datetime import timedelta

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.testing import FakeClock
from e2i_fs.testing.disk import Disk, Kept
from e2i_fs.testing.faults import (
    Breakable,
    Crash,
    Faulty,
    blocks,
    crashes,
    empty,
    fails,
    half,
    hangs,
    other_definitions,
    slow,
    stale,
)
from e2i_fs.testing.virtual_time import LeftBehind, VirtualTime
from tests.kit import NOW, STAMP

KEYS = [("a",), ("b",)]
ROWS = [OnlineRow(1, None, {"x": 1}), OnlineRow(1, None, {"x": 2})]
VIEW = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=fs.PushSource("p"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def disk(clock: FakeClock) -> Disk:
    made = Disk()
    backend = Kept("inner", clock, made)
    empty_one = backend.definitions()
    backend.apply(empty_one.planned([VIEW], "")[0], expected=empty_one.revision)
    return made


@pytest.fixture
def faulty(clock: FakeClock, disk: Disk) -> Faulty:
    return Faulty(Kept("inner", clock, disk), clock, "primary")


def read(backend, *keys) -> list:
    found = backend.online_read("v", list(keys or KEYS), at_us=10)
    return [None if row is None else row.values["x"] for row in found]


def write(backend) -> int:
    return backend.online_write("v", KEYS, ROWS, at_us=10)


def table(*values: int) -> pa.Table:
    times = pa.array([NOW] * len(values), STAMP)
    return pa.table({"k": ["a"] * len(values), "event_timestamp": times, "x": list(values)})


def test_an_error_is_raised_before_the_backend_is_reached_or_after(faulty: Faulty) -> None:
    faulty.put(fails(), "online_write", times=1)
    with pytest.raises(fs.BackendUnavailableError):
        write(faulty)
    assert read(faulty) == [None, None]
    faulty.put(fails(lambda: fs.ThrottledError("Too much."), after=True), "online_write", times=1)
    with pytest.raises(fs.ThrottledError):
        write(faulty)
    assert read(faulty) == [1, 2]


def test_a_fault_skips_calls_and_ends(faulty: Faulty) -> None:
    faulty.put(fails(), "ping", skip=1, times=2)
    outcomes = []
    for _ in range(4):
        try:
            faulty.ping(1.0)
        except fs.BackendUnavailableError:
            outcomes.append("failed")
        else:
            outcomes.append("answered")
    assert outcomes == ["answered", "failed", "failed", "answered"]
    assert faulty.well


def test_the_log_has_the_method_the_view_the_size_the_outcome_and_the_time(faulty: Faulty, clock: FakeClock) -> None:
    faulty.put(fails(), "online_read")
    faulty.put(slow(0.5), "online_write", "online_read")
    write(faulty)
    with pytest.raises(fs.BackendUnavailableError):
        read(faulty)
    told = [(c.of, c.method, c.view, c.size, c.outcome, c.seconds) for c in faulty.log]
    assert told == [
        ("primary", "online_write", "v", 2, "answered", 0.5),
        ("primary", "online_read", "v", 2, "BackendUnavailableError", 0.5),
    ]
    assert [c.at for c in faulty.log] == [NOW, NOW + timedelta(seconds=0.5)]
    assert clock.monotonic() == 1.0


@pytest.mark.parametrize(("arrives", "before", "after"), [("never", None, None), ("before", 1, 1), ("later", None, 1)])
def test_a_hang_costs_its_time_and_the_call_arrives_or_not(
    faulty: Faulty, clock: FakeClock, arrives, before, after
) -> None:
    faulty.put(hangs(30, arrives=arrives), "online_write", times=1)
    with pytest.raises(fs.DeadlineExceededError):
        write(faulty)
    assert clock.monotonic() == 30
    assert read(faulty, ("a",)) == [before]
    assert faulty.deliver() == (["answered"] if arrives == "later" else [])
    assert read(faulty, ("a",)) == [after]


def test_a_real_hang_holds_its_thread_until_it_is_let_go(faulty: Faulty) -> None:
    let_go, done = threading.Event(), threading.Event()
    faulty.put(blocks(let_go), "ping")
    thread = threading.Thread(target=lambda: (faulty.ping(1.0), done.set()), daemon=True)
    thread.start()
    assert not done.is_set()
    let_go.set()
    thread.join(10)
    assert done.is_set()


def test_an_empty_answer_has_no_rows_and_no_definitions(faulty: Faulty) -> None:
    write(faulty)
    faulty.append("v", table(1), batch_id="b")
    faulty.put(empty())
    assert read(faulty) == [None, None]
    assert list(faulty.scan("v", ["x"])) == []
    assert faulty.position("v").sequence == 0
    assert not faulty.definitions().views
    faulty.heal()
    assert read(faulty) == [1, 2]


def test_a_stale_answer_is_that_of_a_snapshot(faulty: Faulty, disk: Disk, clock: FakeClock) -> None:
    faulty.put(stale(Kept("snapshot", clock, disk.copy())))
    write(faulty)
    assert read(faulty) == [None, None]
    faulty.heal()
    assert read(faulty) == [1, 2]


def test_half_a_batch_arrives(faulty: Faulty, disk: Disk) -> None:
    faulty.put(half())
    for act in (lambda: write(faulty), lambda: faulty.append("v", table(1, 2, 3, 4), batch_id="b")):
        with pytest.raises(fs.BackendUnavailableError):
            act()
    faulty.heal()
    assert read(faulty) == [1, None]
    assert sum(len(batch) for batch in disk.views["v"].batches.values()) == 2
    assert faulty.append("v", table(1, 2, 3, 4), batch_id="b")


def test_other_definitions_have_another_fingerprint(faulty: Faulty) -> None:
    before = faulty.definitions().fingerprint("v")
    faulty.put(other_definitions(lambda kept: kept.dropping("view", "v")), "definitions", times=1)
    assert not faulty.definitions().has("v")
    assert faulty.definitions().fingerprint("v") == before


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_passes_everything_that_catches_exceptions(faulty: Faulty, after: bool) -> None:
    last: list[str] = []
    faulty.put(crashes(after=after, dying=lambda: last.append("dying")), "online_write", times=1)
    with pytest.raises(Crash):
        try:
            write(faulty)
        except Exception:
            last.append("caught")
    assert last == ["dying"]
    assert read(faulty) == ([1, 2] if after else [None, None])


def test_a_disk_forgets_what_is_online_or_everything(faulty: Faulty, disk: Disk) -> None:
    write(faulty)
    faulty.append("v", table(1), batch_id="b")
    disk.lose_online()
    assert read(faulty) == [None, None]
    assert faulty.position("v").sequence == 0
    assert disk.views["v"].batches
    disk.lose_everything()
    assert not faulty.definitions().views


def test_a_call_is_left_behind_at_its_deadline_and_not_before(clock: FakeClock, disk: Disk) -> None:
    time = VirtualTime(clock)
    faulty = Faulty(Kept("inner", clock, disk), clock, "primary", time.spend)
    faulty.put(slow(0.2))
    assert time.call(lambda: faulty.ping(1.0), 0.25) == 0.2
    with pytest.raises(TimeoutError):
        time.call(lambda: (faulty.ping(1.0), faulty.ping(1.0)), 0.25)
    assert clock.monotonic() == pytest.approx(0.45)
    assert faulty.log[-1].outcome == LeftBehind.__name__


def test_a_switch_takes_named_methods_away(disk: Disk, clock: FakeClock) -> None:
    backend = Breakable(Kept("inner", clock, disk))
    backend.break_("online_read")
    write(backend)
    with pytest.raises(fs.BackendUnavailableError):
        read(backend)
    backend.heal()
    assert read(backend) == [1, 2]
    assert backend.calls == {"online_write": 1, "online_read": 2}
