"""X-8: reads tried once more within a budget, and, where configured, asked of a second backend while the first is slow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.failover.budget import Budget
from e2i_fs.testing import FakeClock
from tests.kit import at, batch, view
from tests.unit.test_rules_failover import connect


class Slow:
    """Makes the reads of a backend wait until it is let go, as one on a network may."""

    def __init__(self, breakable: Any) -> None:
        self.go = threading.Event()
        self.go.set()
        self.waiting = threading.Event()
        inner = breakable.inner
        read, can = inner.online_read, replace(inner.capabilities, local=False)

        def online_read(*args: Any, **more: Any) -> Any:
            self.waiting.set()
            assert self.go.wait(30)
            return read(*args, **more)

        inner.online_read = online_read
        type(breakable).capabilities = property(lambda own: can if own is breakable else own.inner.capabilities)


@pytest.fixture
def slow(tmp_path, clock, monkeypatch) -> Iterator[tuple[Any, Slow]]:
    from e2i_fs.testing.faults import Breakable

    monkeypatch.setattr(Breakable, "capabilities", Breakable.capabilities)  # put back after the test
    pair = connect(tmp_path, clock, "memory", hedge={"after": 0.01, "ratio": 1.0}, deadline=20)
    with pair.store:
        pair.store.apply([view(tmp_path, [])])
        pair.store.write("hcp_stats", batch(("a", at(1), 1)))
        made = Slow(pair.primary)
        yield pair, made
        made.go.set()


def served(pair) -> tuple[Any, str, bool]:
    answer = pair.online()
    return answer.to_dict()["trx_count"], answer.provenance.served_by, answer.provenance.degraded


@pytest.mark.rule("X-3", "X-8")
def test_a_slow_backend_does_not_hold_up_a_hedged_read(slow) -> None:
    pair, primary = slow
    assert served(pair) == ([1], "primary", False)
    primary.go.clear()
    answer = pair.online()
    assert (answer.to_dict()["trx_count"], answer.provenance.served_by, answer.provenance.degraded) == (
        [1],
        "standby",
        False,
    )
    assert [a.outcome for a in answer.provenance.attempts] == ["slow", "answered"]
    hedged = {h.name: h.hedged for h in pair.store.health()}
    assert hedged["standby"] == pytest.approx(0.5) and hedged["primary"] == 0
    primary.go.set()
    assert served(pair)[1] in ("primary", "standby")


@pytest.mark.rule("X-3", "X-4")
def test_a_hedged_read_never_gets_the_answer_of_a_backend_that_is_behind(slow) -> None:
    pair, primary = slow
    pair.standby.break_("online_write")
    pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    pair.standby.heal()
    primary.go.clear()
    threading.Timer(0.2, primary.go.set).start()
    assert served(pair) == ([2], "primary", False)
    hedged = {h.name: h.hedged for h in pair.store.health()}
    assert hedged["standby"] == 1.0, "it was asked, though its answer was of no use: that is load too"


@pytest.mark.rule("X-8")
def test_extra_reads_keep_to_their_budget(slow) -> None:
    pair, primary = slow
    hedge = pair.store._router._reader._hedge
    hedge._config = hedge._config.model_copy(update={"ratio": 0.25})
    answers = []
    for _ in range(8):
        primary.go.clear()
        threading.Timer(0.05, primary.go.set).start()
        answers.append(served(pair)[1])
    assert answers.count("standby") <= 1 + 8 * 0.25


@pytest.mark.rule("X-8", "X-9")
def test_a_read_that_failed_at_once_is_tried_once_more_within_the_budget(tmp_path, clock) -> None:
    pair = connect(
        tmp_path, clock, "memory", retries={"ratio": 0.0, "burst": 2}, breaker={"failures": 1000, "calls": 1000}
    )
    with pair.store:
        pair.store.apply([view(tmp_path, [])])
        pair.store.write("hcp_stats", batch(("a", at(1), 1)))
        for breakable in (pair.primary, pair.standby):
            breakable.break_("online_read")
        before = pair.primary.calls.get("online_read", 0)
        for _ in range(4):
            with pytest.raises(fs.NoEligibleBackendError) as caught:
                pair.online()
            assert [a.backend for a in caught.value.attempts] == ["primary", "standby"]
        assert pair.primary.calls["online_read"] - before == 4 + 2


def test_a_budget_is_filled_by_shares_and_by_time() -> None:
    clock = FakeClock()
    earned = Budget(2)
    assert [earned.spend() for _ in range(3)] == [True, True, False]
    for _ in range(4):
        earned.earn(0.25)
    assert [earned.spend(), earned.spend()] == [True, False]
    timed = Budget(1, clock.monotonic, 0.5)
    assert [timed.spend(), timed.spend()] == [True, False]
    clock.advance(timedelta(seconds=2))
    assert [timed.spend(), timed.spend()] == [True, False]
