"""X-8, X-10: what hangs, forks, is taken out by hand, or sees time go on, costs no more than it may and misleads nobody."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.backend import Position
from e2i_fs.clock import SystemClock
from e2i_fs.config import BreakerConfig, load_config
from e2i_fs.failover.breaker import Breaker, Liveness
from e2i_fs.pool import DaemonPool
from e2i_fs.testing import FakeClock
from e2i_fs.testing.faults import Breakable
from tests.kit import at, batch, view
from tests.unit.test_rules_failover import connect


@pytest.fixture
def pair(tmp_path, clock):
    found = connect(tmp_path, clock, "memory")
    found.store.apply([view(tmp_path, [])])
    found.store.write("hcp_stats", batch(("a", at(1), 1)))
    with found.store:
        yield found


@pytest.fixture
def remote(monkeypatch) -> Callable[..., None]:
    """Make backends say that their calls wait on a network."""
    own = Breakable.capabilities

    def say(*backends: Breakable) -> None:
        made = property(lambda b: replace(own.fget(b), local=own.fget(b).local and b not in backends))
        monkeypatch.setattr(Breakable, "capabilities", made)

    return say


def hang(breakable: Breakable, method: str) -> threading.Event:
    """Let one method wait until the event is set."""
    go, inner = threading.Event(), breakable.inner
    real = getattr(inner, method)

    def waits(*args: Any, **more: Any) -> Any:
        assert go.wait(30)
        return real(*args, **more)

    setattr(inner, method, waits)
    return go


def served(pair) -> tuple[Any, str, bool]:
    answer = pair.online()
    return answer.to_dict()["trx_count"], answer.provenance.served_by, answer.provenance.degraded


# ---- what hangs -----------------------------------------------------------------------------------------------


@pytest.mark.rule("X-8")
def test_one_deadline_covers_a_hedged_read_of_two_backends_that_hang(tmp_path, remote) -> None:
    pair = connect(tmp_path, SystemClock(), "memory", hedge={"after": 0.1, "ratio": 1.0}, deadline=1)
    with pair.store:
        pair.store.apply([view(tmp_path, [])])
        remote(pair.primary, pair.standby)
        held = [hang(b, "online_read") for b in (pair.primary, pair.standby)]
        begun = time.monotonic()
        with pytest.raises(fs.NoEligibleBackendError):
            pair.online()
        assert time.monotonic() - begun < 1.3
        for go in held:
            go.set()


def test_a_hedge_that_leaves_no_time_to_ask_another_is_a_mistake() -> None:
    backends = [{"name": n, "backend": "memory"} for n in "ab"]
    with pytest.raises(fs.ConfigError, match=r"hedge\.after is 0\.25, and the deadline 0\.25"):
        load_config({"backends": backends, "failover": {"hedge": {"after": 0.25}}})


@pytest.mark.rule("X-8")
def test_a_write_that_waits_for_a_stopped_process_costs_its_deadline_on_a_local_backend_too(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock, "memory", write_deadline=0.2)
    with pair.store:
        pair.store.apply([view(tmp_path, [])])
        assert pair.store._router._members[0].local
        go = hang(pair.primary, "online_write")
        receipt = pair.store.write("hcp_stats", batch(("a", at(1), 1)))
        assert (receipt.applied, list(receipt.missed)) == (("standby",), ["primary"])
        assert served(pair) == ([1], "standby", False)
        go.set()


@pytest.mark.rule("X-8")
def test_a_run_on_a_backend_that_hangs_ends_with_its_deadline_and_the_standby_does_it(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock, "memory", run_deadline=3)
    with pair.store:
        pair.store.apply([view(tmp_path, [("a", at(1), 1)])])
        pair.store.materialize(None, at(0))  # what a first run imports takes its time
        go = hang(pair.primary, "scan")
        pair.store.materialize(None)
        assert served(pair) == ([1], "standby", False)
        assert pair.store.journal().missed == {"primary": {"hcp_stats": 1}}
        go.set()


@pytest.mark.rule("X-8")
def test_health_takes_no_longer_than_its_deadline_for_all_that_it_asks_of_a_backend(pair, remote) -> None:
    remote(pair.primary)
    for method in ("ping", "definitions", "position"):
        real = getattr(pair.primary.inner, method)
        setattr(pair.primary.inner, method, lambda *a, real=real, **m: (time.sleep(0.2), real(*a, **m))[1])
    begun = time.monotonic()
    primary, standby = pair.store.health(0.3)
    assert time.monotonic() - begun < 0.55
    assert (primary.up, standby.up) == (False, True)


# ---- what is taken out by hand --------------------------------------------------------------------------------


def test_health_calls_no_isolated_backend(pair) -> None:
    pair.store.isolate("standby")
    pair.standby.calls.clear()
    found = pair.store.health()[1]
    assert (found.up, found.liveness, pair.standby.calls) == (False, "isolated", {})
    assert "release" in found.error


@pytest.mark.rule("X-3", "X-4")
@pytest.mark.parametrize("seen_by", ["a read", "health"])
def test_rows_put_back_from_an_older_copy_while_a_backend_was_isolated_are_noticed(pair, seen_by) -> None:
    assert served(pair) == ([1], "primary", False)
    pair.store.isolate("primary")
    pair.primary.inner.position = lambda view: Position(0, None, 0)
    pair.store.release("primary")
    if seen_by == "health":
        assert pair.store.health()[0].parity == {"hcp_stats": "diverged"}
    assert served(pair) == ([1], "standby", False)


@pytest.mark.rule("X-4")
def test_health_looks_at_the_rows_each_time(pair) -> None:
    assert pair.store.health()[0].parity == {"hcp_stats": "verified"}
    pair.primary.inner.position = lambda view: Position(0, None, 0)
    assert pair.store.health()[0].parity == {"hcp_stats": "diverged"}


# ---- what forks -----------------------------------------------------------------------------------------------


def in_a_child(work: Callable[[], bool]) -> bool:
    """Return whether ``work`` is true in a forked child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: forks beside threads, which this is about
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.rule("X-8")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_a_forked_child_counts_no_threads_and_waits_for_no_locks_of_its_parent(pair, clock) -> None:
    pool, busy, go = DaemonPool("test", 1), threading.Event(), threading.Event()
    pool.submit(lambda: (busy.set(), go.wait(30)))
    assert busy.wait(10)
    recovery, shadow, member = pair.store._router.recovery, pair.store._router._shadow, pair.store._router._members[0]
    with recovery._locks["primary"], shadow._lock, member._lock, pool._lock:
        assert in_a_child(lambda: pool.submit(lambda: 7).result(5) == 7)
        assert in_a_child(lambda: not recovery._locks["primary"].locked() and shadow.counts("standby") == {})
        assert in_a_child(lambda: member._lock.acquire(timeout=5))
    go.set()


@pytest.mark.rule("X-8")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_a_forked_child_probes_though_its_parent_is_at_it(pair, clock) -> None:
    breaker: Breaker = pair.store._router._members[0].breaker
    for _ in range(5):
        breaker.failure(breaker.allow())
    clock.advance(timedelta(minutes=10))
    assert breaker.allow() is not None and breaker.allow() is None
    assert breaker.state is Liveness.HALF_OPEN
    assert in_a_child(lambda: breaker.allow() is not None)
    assert Breaker(BreakerConfig(), clock.monotonic).allow() is not None


# ---- what sees time go on -------------------------------------------------------------------------------------


class _Ticking(FakeClock):
    """A clock that is later each time that it is asked."""

    def now(self) -> datetime:
        self.advance(timedelta(milliseconds=1))
        return super().now()


@pytest.mark.rule("X-10")
def test_answers_are_compared_for_one_moment(tmp_path, clock) -> None:
    """A row whose time comes between two moments is no difference."""
    pair = connect(tmp_path, _Ticking(clock.now()), "memory", shadow_rate=1.0)
    moments: dict[str, list[int]] = {"primary": [], "standby": []}
    with pair.store:
        pair.store.apply([view(tmp_path, [])])
        for name, backend in (("primary", pair.primary), ("standby", pair.standby)):
            real = backend.inner.online_read

            def read(*args: Any, at_us: int, name: str = name, real: Any = real) -> Any:
                moments[name].append(at_us)
                return real(*args, at_us=at_us)

            backend.inner.online_read = read
        pair.online()
        until = time.monotonic() + 20
        while not sum(pair.store.health()[1].shadow.values()):
            assert time.monotonic() < until
        assert moments["primary"] == moments["standby"]


# ---- what is no error of ours ---------------------------------------------------------------------------------


def test_a_defect_in_background_work_is_logged(pair, monkeypatch, caplog) -> None:
    def defect(*_: Any, **__: Any) -> None:
        raise ValueError("a defect in a plugin")

    recovery = pair.store._router.recovery
    monkeypatch.setattr(recovery, "catch_up", defect)
    recovery._in_background(pair.store._router._members[0])
    assert "a defect in a plugin" in caplog.text
