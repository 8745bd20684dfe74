"""A fork waits for threads that are within a library of C, and whoever enters then waits for the fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from e2i_fs import forks
from e2i_fs.forks import AtWork


def _started(job: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=job, daemon=True)
    thread.start()
    return thread


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_waits_until_no_thread_is_within_and_who_comes_meanwhile_waits_for_it() -> None:
    gate, told = AtWork(), []
    within, leave = threading.Event(), threading.Event()

    def first() -> None:
        with gate, gate:  # entered again, as a transaction does that asks
            within.set()
            leave.wait(30)
            told.append("left")

    def second() -> None:
        while not gate._forking:
            os.sched_yield()
        late = _started(third)
        while not gate._lock.locked() or not late.is_alive():
            os.sched_yield()
        leave.set()

    def third() -> None:
        with gate:
            told.append("entered")

    others = [_started(first)]
    within.wait(30)
    others.append(_started(second))
    child = os.fork()
    if child == 0:
        with gate:  # nobody is in the way of a child
            os._exit(0 if told == ["left"] else 1)
    told.append("forked")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for other in others:
        other.join(30)
    assert told[0] == "left"
    assert gate._forking == 0


def test_a_fork_waits_neither_for_its_own_thread_nor_keeps_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_PAUSE", 1e9)  # one look too many, and it would not come back
    gate = AtWork()
    with gate:
        gate._wait()
        gate._go_on()
    gate._wait()
    with gate:  # as a handler of signals might that runs in the thread that forks
        pass
    gate._go_on()
    assert gate._marks == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_does_not_wait_for_ever_and_a_child_forked_within_can_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_LOOKS", 3)
    gate = AtWork()
    with gate:
        child = os.fork()
        if child == 0:
            gate.__exit__(None, None, None)
            with gate:
                pass
            grandchild = os.fork()  # for which the child's own lock must be free
            if grandchild:
                os.waitpid(grandchild, 0)
            os._exit(len(gate._marks))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gate._marks == []
