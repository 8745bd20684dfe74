"""X-1 to X-10: failover, rule by rule; what brings a backend up to date is in test_rules_replay.py."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

import e2i_fs as fs
from e2i_fs.backend import Capabilities
from e2i_fs.config import BreakerConfig, FailoverConfig
from e2i_fs.entries import Entry
from e2i_fs.failover.breaker import Breaker, Liveness
from e2i_fs.testing.faults import Breakable
from e2i_fs.testing.oracle import Row, by_key
from e2i_fs.testing.oracle import online as oracle_online
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, ask, at, batch, online, values, view

REF = "hcp_stats:trx_count"
KEYS = [{"hcp_id": "a"}]


class Pair:
    """A store over two breakable backends, the primary and the standby."""

    def __init__(self, store, primary: Breakable, standby: Breakable) -> None:
        self.store, self.primary, self.standby = store, primary, standby

    def online(self, **more):
        return self.store.get_online_features([REF], KEYS, **more)


def connect(tmp_path, clock, inner: str = "memory", **failover) -> Pair:
    backends = [
        {
            "name": name,
            "backend": "breakable",
            "inner": inner,
            **({"path": str(tmp_path / name)} if inner != "memory" else {}),
        }
        for name in ("primary", "standby")
    ]
    config = {
        "backends": backends,
        "failover": {"shadow_rate": 0, "deadline": 30, "background": False, **failover},
        "state": str(tmp_path / "state"),
    }
    store = fs.connect(config, clock=clock, plugins=[BreakablePlugin()])
    return Pair(store, OPENED["primary"], OPENED["standby"])


@pytest.fixture(params=["memory", "duckdb"])
def pair(request, tmp_path, clock):
    found = connect(tmp_path, clock, request.param)
    found.store.apply([view(tmp_path, [("a", at(1), 1)])])
    found.store.materialize(None, NOW)
    with found.store:
        yield found


# ---- X-1 ------------------------------------------------------------------------------------------------------

LIVENESS = {
    "closed": lambda breaker: None,
    "open": lambda breaker: [breaker.failure(breaker.allow()) for _ in range(5)],
    "isolated": lambda breaker: breaker.isolate(),
    "observe-only": lambda breaker: breaker.observe(),
}
PARITY = {
    "verified": lambda router: None,
    "lagging": lambda router: router.journal.end(
        "hcp_stats", router.journal.begin(Entry("hcp_stats", "write", "lost", "content"), ["standby"])[0]
    ),
    "diverged": lambda router: router.journal.quarantine("standby", "hcp_stats", "differs", "a sampled read differed"),
    "unverified": lambda router: _forget_definitions(router.backend("standby")),
}


@pytest.mark.rule("X-1")
def test_a_backend_that_is_observed_is_called_whatever_happens_until_it_is_released(pair) -> None:
    pair.store.observe("primary")
    pair.primary.break_()
    for _ in range(9):
        assert pair.online().provenance.attempts[0].outcome == "failed"
    assert pair.store.health()[0].liveness == "observe-only"
    pair.store.release("primary")
    for _ in range(9):
        pair.online()
    assert pair.store.health()[0].liveness == "open"
    with pytest.raises(fs.RequestError, match="Did you mean 'primary'"):
        pair.store.observe("primry")


def test_an_only_backend_may_be_observed_for_it_is_always_called(store) -> None:
    store.observe(store.health()[0].name)
    assert store.health()[0].liveness == "closed"


def _forget_definitions(backend) -> None:
    from e2i_fs.catalog import Catalog

    assert backend.apply(Catalog(), expected=backend.definitions().revision)


@pytest.mark.rule("X-1")
@pytest.mark.parametrize("parity", PARITY)
@pytest.mark.parametrize("liveness", [*LIVENESS, "half-open"])
def test_a_backend_answers_only_when_it_is_up_and_would_answer_the_same(pair, clock, liveness, parity) -> None:
    """The table of liveness and parity, cell by cell, for the only backend that is left."""
    router = pair.store._router
    member = router._members[1]
    pair.primary.break_()
    PARITY[parity](router)
    LIVENESS["open" if liveness == "half-open" else liveness](member.breaker)
    if liveness == "half-open":
        clock.advance(timedelta(seconds=10))
    if liveness in ("open", "isolated") or parity == "unverified":
        with pytest.raises(fs.NoEligibleBackendError):
            pair.online()
        return
    answer = pair.online()
    assert answer.provenance.served_by == "standby"
    assert answer.provenance.degraded is (parity != "verified")


@pytest.mark.rule("X-1")
def test_a_half_open_backend_that_fails_its_probe_is_open_again(clock) -> None:
    breaker = Breaker(BreakerConfig(jitter=0), clock.monotonic)
    for _ in range(5):
        breaker.failure(breaker.allow())
    assert breaker.state is Liveness.OPEN and breaker.allow() is None
    clock.advance(timedelta(seconds=5))
    assert breaker.state is Liveness.HALF_OPEN
    probe = breaker.allow()
    assert probe is not None and breaker.allow() is None
    breaker.failure(probe)
    assert breaker.state is Liveness.OPEN and breaker.retry_after() == 10
    clock.advance(timedelta(seconds=10))
    for _ in range(3):
        breaker.success(breaker.allow())
    assert breaker.state is Liveness.CLOSED


@pytest.mark.rule("X-1")
def test_half_of_twenty_calls_that_fail_open_it_though_no_five_in_a_row_do(clock) -> None:
    breaker = Breaker(BreakerConfig(), clock.monotonic)
    for number in range(20):
        assert breaker.state is Liveness.CLOSED
        permit = breaker.allow()
        (breaker.failure if number % 2 else breaker.success)(permit)
    assert breaker.state is Liveness.OPEN


# ---- X-2 ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("X-2")
@pytest.mark.parametrize("error", [fs.BackendUnavailableError, fs.DeadlineExceededError, fs.ThrottledError])
def test_what_means_unavailable_moves_on(pair, error) -> None:
    pair.primary.break_(error=lambda: error("gone"))
    answer = pair.online()
    assert answer.to_dict()["trx_count"] == [1]
    assert (answer.provenance.served_by, answer.provenance.degraded) == ("standby", False)
    historical = ask(pair.store, [("a", at(1))])
    assert (values(historical), historical.provenance.served_by) == ([1], "standby")


@pytest.mark.rule("X-2")
@pytest.mark.parametrize(
    "error", [fs.BackendDataError, fs.UnsupportedError, fs.LeakageError, fs.SchemaMismatchError, fs.UnknownFeatureError]
)
def test_any_other_error_is_the_answer(pair, error) -> None:
    pair.primary.break_("online_read", "scan", error=lambda: error("no"))
    pair.standby.calls.clear()
    for call in (pair.online, lambda: ask(pair.store, [("a", at(1))])):
        with pytest.raises(error):
            call()
    assert not {"online_read", "scan"} & set(pair.standby.calls)


@pytest.mark.rule("X-2")
def test_a_callers_mistake_and_not_found_ask_nobody_else(pair) -> None:
    pair.standby.calls.clear()
    with pytest.raises(fs.UnknownFeatureError):
        pair.store.get_online_features(["hcp_stats:nope"], KEYS)
    with pytest.raises(fs.InvalidEntityFrameError):
        pair.store.get_online_features([REF], [{"hcp": "a"}])
    assert online(pair.store, "nobody") == [(None, "NOT_FOUND")]
    assert not {"online_read", "scan"} & set(pair.standby.calls)


# ---- X-5 ----------------------------------------------------------------------------------------------


@pytest.mark.rule("X-3", "X-4")
def test_a_primary_that_missed_a_write_is_not_asked_unmarked_after_it_is_back(pair, clock) -> None:
    """Kill, write, heal, read: ordered fallback with a breaker alone would now give the old value, unmarked."""
    pair.primary.break_()
    receipt = pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    assert receipt.applied == ("standby",) and "primary" in receipt.missed
    pair.primary.heal()
    clock.advance(timedelta(minutes=10))
    for _ in range(5):
        answer = pair.online()
        assert answer.to_dict()["trx_count"] == [2]
        assert (answer.provenance.served_by, answer.provenance.degraded) == ("standby", False)
        historical = ask(pair.store, [("a", at(2))])
        assert (values(historical), historical.provenance.served_by) == ([2], "standby")
    pair.standby.break_()
    answer = pair.online()
    assert answer.to_dict()["trx_count"] == [1]  # the old value, and said to be so
    assert answer.provenance.degraded and "missed 1 write" in answer.provenance.reason
    with pytest.raises(fs.DegradedAnswerError):
        pair.online(strict=True)


@pytest.mark.rule("X-4")
def test_a_standby_that_missed_a_write_answers_degraded_though_its_newest_time_is_the_same(pair) -> None:
    """Comparing the newest timestamps would find nothing: the missed write is older than what is there."""
    pair.standby.break_()
    pair.store.write("hcp_stats", batch(("b", at(0), 7)))
    pair.standby.heal()
    pair.primary.break_()
    answer = pair.store.get_online_features([REF], [{"hcp_id": "b"}])
    assert (answer.to_dict()["trx_count"], answer.provenance.degraded) == ([None], True)


@pytest.mark.rule("X-4")
def test_a_write_whose_answer_was_lost_counts_as_missed(pair) -> None:
    pair.primary.break_(after=True)
    pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    pair.primary.heal()
    assert pair.online().to_dict()["trx_count"] == [2]
    assert pair.online().provenance.served_by == "standby"


@pytest.mark.rule("X-4")
def test_only_the_views_that_missed_a_write_are_affected(pair, tmp_path) -> None:
    pair.store.apply([view(tmp_path, [("a", at(1), 5)], name="other")])
    pair.store.materialize(None, NOW)
    pair.primary.break_()
    pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    pair.primary.heal()
    assert pair.store.get_online_features(["other:trx_count"], KEYS).provenance.served_by == "primary"
    assert pair.store.get_online_features([REF], KEYS).provenance.served_by == "standby"


@pytest.mark.rule("X-3", "X-4", "W-3")
def test_a_missed_run_is_made_good_only_by_one_that_did_all_of_its_work(pair) -> None:
    """A later run of a shorter window does not bring what the missed run would have brought."""
    view_rows = batch(("a", at(100), 2))
    pair.store.write("hcp_stats", view_rows, to="offline")
    pair.primary.break_("online_write")
    pair.store.materialize(None, NOW)  # the primary misses the row of at(100)
    pair.primary.heal()
    pair.store.materialize(None, at(50))  # both do this one
    answer = pair.online()
    assert answer.to_dict()["trx_count"] == [2] or answer.provenance.degraded
    pair.store.materialize(None, NOW)
    answer = pair.online()
    assert (answer.to_dict()["trx_count"], answer.provenance.served_by) == ([2], "primary")


@pytest.mark.rule("X-5")
def test_what_a_backend_missed_is_known_to_the_next_process(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock, "duckdb")
    with pair.store:
        pair.store.apply([view(tmp_path, [("a", at(1), 1)])])
        pair.store.materialize(None, NOW)
        pair.primary.break_()
        pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    again = connect(tmp_path, clock, "duckdb")
    with again.store:
        answer = again.online()
        assert (answer.to_dict()["trx_count"], answer.provenance.served_by) == ([2], "standby")
        again.standby.break_()
        assert again.online().provenance.degraded


@pytest.mark.rule("X-5")
def test_a_write_that_nobody_took_is_not_acknowledged(pair) -> None:
    pair.primary.break_("append", "online_write")
    pair.standby.break_("append", "online_write")
    with pytest.raises(fs.NoEligibleBackendError, match="not acknowledged"):
        pair.store.write("hcp_stats", batch(("a", at(2), 2)), idempotency_key="k")
    pair.primary.heal()
    pair.standby.heal()
    pair.store.write("hcp_stats", batch(("a", at(2), 2)), idempotency_key="k")
    answer = pair.online()
    assert (answer.to_dict()["trx_count"], answer.provenance.degraded) == ([2], False)


@pytest.mark.rule("X-3")
@pytest.mark.parametrize("seed", range(60))
def test_in_every_interleaving_an_unmarked_answer_is_the_right_one(seed: int, tmp_path, clock) -> None:
    """Random outages, lost answers, writes, runs, deletions and reads; the oracle knows the acknowledged writes."""
    rng = Random(seed)
    pair = connect(tmp_path, clock, "memory")
    definition = view(tmp_path, [], name="hcp_stats")
    history: list[Row] = []
    written: list[Row] = []
    unmarked = 0
    with pair.store as store:
        store.apply([definition])
        for _ in range(40):
            backends = [pair.primary, pair.standby]
            action = rng.choice(["break", "heal", "write", "write", "late", "run", "tick", "read", "read", "read"])
            down = [b for b in backends if b._broken is not None]
            if action == "break" and not down:
                rng.choice(backends).break_(
                    *rng.choice([(), ("online_write",), ("online_read", "scan")]), after=rng.random() < 0.3
                )
            elif action == "heal":
                for backend in backends:
                    backend.heal()
            elif action in ("write", "late"):
                row = Row((rng.choice("ab"),), at(rng.randint(0, 60)), None, (rng.randint(0, 9),))
                target = rng.choice(["both", "online", "offline"])
                rows = batch((row.key[0], row.event, row.values[0]))
                try:
                    store.write("hcp_stats", rows, to=target)
                except fs.NoEligibleBackendError:  # not acknowledged: written again when all is well, as the error says
                    _all_is_well(pair, clock)
                    store.write("hcp_stats", rows, to=target)
                history += [row] if target != "online" else []
                written += [row] if target != "offline" else []
            elif action == "run":
                start, end = sorted([at(rng.randint(0, 60)), at(rng.randint(0, 60))])
                start, end = rng.choice([(start, end), (None, end), (None, NOW)])
                # The backend that takes the run has all of history only if it missed no write to it.
                whole = all(not store._router.journal.standing(n, "hcp_stats").missed for n in ("primary", "standby"))
                try:
                    report = store.materialize(start, end)
                except fs.NoEligibleBackendError:
                    _all_is_well(pair, clock)
                    report = store.materialize(start, end)
                if whole or any(
                    r.outcome == "succeeded" and not store._router.journal.standing(r.backend, "hcp_stats").missed
                    for r in report.runs
                ):
                    written += [r for r in history if (start is None or start <= r.event) and r.event <= end]
            elif action == "tick":
                clock.advance(timedelta(seconds=rng.choice([1, 30])))
            try:
                answer = store.get_online_features([REF], [{"hcp_id": "a"}, {"hcp_id": "b"}])
            except fs.NoEligibleBackendError:
                continue
            unmarked += not answer.provenance.degraded
            if not answer.provenance.degraded:
                right = oracle_online(
                    by_key(written, [fs.String]), [("a",), ("b",)], clock.now(), [fs.String], [fs.Int64]
                )
                assert answer.to_dict()["trx_count"] == [a.values[0] for a in right], f"{seed}: {answer.provenance}"
    assert unmarked >= 5


def _all_is_well(pair: Pair, clock) -> None:
    """Give both backends back, and let their breakers find out."""
    pair.primary.heal()
    pair.standby.heal()
    clock.advance(timedelta(minutes=10))


# ---- X-6 to X-10 -------------------------------------------------------------------------------------------------


@pytest.mark.rule("X-6")
def test_one_retrieval_is_answered_by_one_backend_whole(pair, tmp_path) -> None:
    pair.store.apply([view(tmp_path, [("a", at(1), 5)], name="other")])
    scans = []
    real = pair.primary.inner.scan

    def scan(view, *args, **more):
        scans.append(view)
        if len(scans) == 2:
            raise fs.BackendUnavailableError("gone between two views")
        return real(view, *args, **more)

    pair.primary.inner.scan = scan
    pair.standby.calls.clear()
    result = ask(pair.store, [("a", at(1))], [REF, "other:trx_count"], full_feature_names=True)
    assert len(scans) == 2 and pair.standby.calls["scan"] == 2
    assert result.provenance.served_by == "standby"


@pytest.mark.rule("X-7")
def test_every_answer_says_where_it_is_from(pair, clock) -> None:
    clock.advance(timedelta(hours=1))
    pair.primary.break_("online_read")
    p = pair.online().provenance
    assert (p.served_by, p.role, p.degraded, p.reason) == ("standby", "standby", False, None)
    assert [(a.backend, a.outcome) for a in p.attempts] == [("primary", "failed"), ("standby", "answered")]
    assert "Taken away by the test" in p.attempts[0].error and p.attempts[0].duration >= 0
    assert list(p.fingerprints) == ["hcp_stats"] and len(p.fingerprints["hcp_stats"]) == 32
    assert p.position["hcp_stats"] >= 1
    assert p.age == clock.now() - at(1)


@pytest.mark.rule("X-7")
def test_strict_raises_instead_of_degrading(pair) -> None:
    pair.standby.break_()
    pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    pair.standby.heal()
    assert pair.online(strict=True).provenance.served_by == "primary"
    pair.primary.break_()
    assert pair.online().provenance.degraded
    with pytest.raises(fs.DegradedAnswerError, match="missed"):
        pair.online(strict=True)
    with pytest.raises(fs.DegradedAnswerError, match="missed"):
        ask(pair.store, [("a", at(1))], strict=True)


class _Hanging(Breakable):
    """A backend on a network that answers nothing until it is let go."""

    def __init__(self, inner) -> None:
        super().__init__(inner)
        self.released = threading.Event()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(local=False, persistent=False)

    def online_read(self, view, keys, *, at_us):
        self.calls["online_read"] = self.calls.get("online_read", 0) + 1
        self.released.wait(30)
        raise fs.BackendUnavailableError("let go")


@pytest.mark.rule("X-8")
def test_a_hung_backend_costs_at_most_the_deadline_and_a_dead_one_nothing(tmp_path) -> None:
    from e2i_fs.clock import SystemClock
    from e2i_fs.failover.router import Failover
    from e2i_fs.ops.ledger import Ledger
    from e2i_fs.question import PlainQuestion
    from e2i_fs.testing.memory import MemoryBackend

    clock = SystemClock()
    hanging = _Hanging(MemoryBackend("primary", clock))
    standby = MemoryBackend("standby", clock)
    config = FailoverConfig(
        deadline=0.3, shadow_rate=0, breaker=BreakerConfig(failures=3, open_for=1_000, longest=1_000)
    )
    ledger = Ledger(None)
    router = Failover(
        {"primary": lambda: hanging, "standby": lambda: standby}, config, ledger, clock, lambda event: None
    )
    router.open_all()
    router.change(lambda catalog: catalog.planned([view(tmp_path, [])], "/")[0])
    question = PlainQuestion(
        "online", lambda c: c, lambda _: ["hcp_stats"], lambda b, c, q: b.online_read("hcp_stats", [("a",)], at_us=0)
    )
    took = []
    for _ in range(6):
        begun = time.monotonic()
        with contextlib.suppress(fs.NoEligibleBackendError):
            router.ask(question)
        took.append(time.monotonic() - begun)
    hanging.released.set()
    router.close()
    ledger.close()
    assert all(t < 1 for t in took)
    assert hanging.calls["online_read"] == 3  # then its breaker was open
    assert all(t < 0.1 for t in took[3:])


@pytest.mark.rule("X-8")
def test_at_most_one_probe_is_in_flight_while_half_open(clock) -> None:
    breaker = Breaker(BreakerConfig(jitter=0), clock.monotonic)
    early = [breaker.allow() for _ in range(8)]  # let through while closed, and still on their way
    for permit in early[:5]:
        breaker.failure(permit)
    clock.advance(timedelta(seconds=5))
    start, allowed = threading.Barrier(8), []

    def probe() -> None:
        start.wait()
        allowed.append(breaker.allow())

    threads = [threading.Thread(target=probe) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(permit is not None for permit in allowed) == 1
    for permit in early[5:]:  # the late ends of calls from before say nothing of the probe
        breaker.success(permit)
    assert breaker.allow() is None and breaker.state is Liveness.HALF_OPEN


@pytest.mark.rule("X-9")
def test_when_nobody_may_answer_the_error_names_every_attempt_and_when_to_retry(pair) -> None:
    pair.primary.break_()
    pair.standby.break_(error=lambda: fs.ThrottledError("too much"))
    for _ in range(5):
        with pytest.raises(fs.NoEligibleBackendError) as caught:
            pair.online()
    assert [a.backend for a in caught.value.attempts] == ["primary", "standby"]
    assert "Taken away by the test" in str(caught.value) and "too much" in str(caught.value)
    with pytest.raises(fs.NoEligibleBackendError) as caught:
        pair.online()
    assert caught.value.retry_after > 0 and "open" in str(caught.value)


@pytest.mark.rule("X-9")
def test_an_isolated_backend_is_nobody_to_try_again(pair) -> None:
    """Only those that come back by themselves say when; if there are none, what is to be done is said instead."""
    primary, standby = (m.breaker for m in pair.store._router._members)
    primary.isolate()
    LIVENESS["open"](standby)
    for call in (pair.online, lambda: pair.store.write("hcp_stats", batch(("a", at(2), 2))), pair.store.list_entities):
        with pytest.raises(fs.NoEligibleBackendError, match=r"Try again in \d\.\d s\.") as caught:
            call()
        assert caught.value.retry_after == standby.retry_after() > 0
    standby.isolate()
    for call in (pair.online, lambda: pair.store.write("hcp_stats", batch(("a", at(2), 2))), pair.store.list_entities):
        with pytest.raises(fs.NoEligibleBackendError, match="release") as caught:
            call()
        assert caught.value.retry_after is None and "at once" not in str(caught.value)


def _counted(store, backend: str) -> dict[str, int]:
    """Return the shadow's counts once a comparison is counted; it runs beside the reads."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = next(h for h in store.health() if h.name == backend).shadow
        if sum(found.values()):
            return dict(found)
    raise AssertionError("no comparison was made within 20 s")


@pytest.mark.rule("X-10")
@pytest.mark.parametrize("case", ["matched", "mismatched", "incomparable"])
def test_a_share_of_reads_is_compared_with_the_standby(tmp_path, clock, case) -> None:
    pair = connect(tmp_path, clock, "memory", shadow_rate=1.0)
    with pair.store as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None, NOW)
        if case == "mismatched":  # the standby's rows are tampered with behind its back
            _, rows = next(iter(pair.standby.inner._views["hcp_stats"].online.items()))
            pair.standby.inner._views["hcp_stats"].online[("a",)] = (rows[0]._replace(values={"trx_count": 99}),)
        if case == "incomparable":
            pair.standby.break_("online_read")
        assert pair.online().to_dict()["trx_count"] == [1]
        counts = _counted(store, "standby")
        assert [name for name, count in counts.items() if count] == [case]
        pair.standby.heal()
        pair.primary.break_()
        answer = pair.online()
        assert answer.provenance.degraded is (case == "mismatched")
        if case == "mismatched":
            assert "differ" in answer.provenance.reason


@pytest.mark.rule("X-3", "X-10")
def test_a_standby_is_not_blamed_for_what_a_primary_lost(tmp_path, clock) -> None:
    """While a primary is known to be wrong, its answers say nothing of those of the standby that answers in its place."""
    pair = connect(tmp_path, clock, "memory", shadow_rate=1.0)
    with pair.store as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None, NOW)
        store._router.journal.quarantine(
            "primary", "hcp_stats", "lost", "it had taken 4 writes and has 2: its rows were lost"
        )
        pair.primary.inner._views["hcp_stats"].online.clear()
        answer = pair.online()
        assert (answer.to_dict()["trx_count"], answer.provenance.served_by) == ([1], "standby")
        assert _counted(store, "primary") == {"matched": 0, "mismatched": 0, "incomparable": 1}
        assert {h.name: h.parity["hcp_stats"] for h in store.health()} == {"primary": "diverged", "standby": "verified"}
        assert pair.online().provenance.degraded is False


@pytest.mark.rule("X-4", "X-10")
def test_a_standby_with_other_definitions_is_not_compared(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock, "memory", shadow_rate=1.0)
    with pair.store as store:
        given = view(tmp_path, [("a", at(1), 1)])
        store.apply([given])
        store.materialize(None, NOW)
        inner = pair.standby.inner
        older, _ = inner.definitions().planned([replace(given, ttl=timedelta(days=1))], "", allow_breaking=True)
        assert inner.apply(older, expected=inner.definitions().revision)
        inner._views["hcp_stats"].online.clear()
        assert pair.online().to_dict()["trx_count"] == [1]
        assert _counted(store, "standby") == {"matched": 0, "mismatched": 0, "incomparable": 1}


# ---- X-6 ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("X-6", "X-9")
@pytest.mark.parametrize("any_level", [False, True])
def test_a_training_set_moves_only_between_backends_of_one_certificate_level(
    tmp_path, clock, monkeypatch, any_level: bool
) -> None:
    pair = connect(tmp_path, clock, "memory", historical_any_level=any_level)
    with pair.store:
        pair.store.apply([view(tmp_path, [("a", at(1), 1)])])
        can = replace(pair.standby.inner.capabilities, certified="partial")
        monkeypatch.setattr(
            Breakable,
            "capabilities",
            property(lambda own: replace(can, certified="full") if own is pair.primary else can),
        )
        assert ask(pair.store, [("a", at(1))]).provenance.served_by == "primary"
        pair.primary.break_()
        if any_level:
            assert values(ask(pair.store, [("a", at(1))])) == [1]
            return
        with pytest.raises(
            fs.NoEligibleBackendError, match="certificate level is 'partial' and the primary's 'full'"
        ) as caught:
            ask(pair.store, [("a", at(1))])
        assert [a.backend for a in caught.value.attempts] == ["primary", "standby"]
        assert pair.online().provenance.served_by == "standby"  # a lookup is not a training set


def test_a_backend_is_not_opened_again_by_what_is_under_way_when_the_store_is_closed(pair) -> None:
    member = pair.store._router._members[0]
    pair.store.close()
    with pytest.raises(fs.BackendUnavailableError, match="closed"):
        member.call(lambda backend: backend.definitions(), None)
