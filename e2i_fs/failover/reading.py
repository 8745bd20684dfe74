"""Which backend answers, and what is said of it. Read `Reader.ask` first.

A backend answers unmarked only when it is up (its breaker lets a call through) and would answer the same: its
definitions have the expected fingerprints, it has missed no write to the views asked, and no comparison has found
it wrong. When nobody can, one that is up but may have missed a write answers *degraded*. Nothing else answers.
The table of it is `e2i_fs.failover.table`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock
from e2i_fs.config import FailoverConfig
from e2i_fs.errors import (
    BackendUnavailableError,
    DegradedAnswerError,
    E2IError,
    NoEligibleBackendError,
    UnknownFeatureError,
    unstopped,
)
from e2i_fs.failover.authority import Authority, as_it_counts
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.budget import Budget
from e2i_fs.failover.facts import Facts
from e2i_fs.failover.hedge import Hedge
from e2i_fs.failover.journal import Journal
from e2i_fs.failover.member import UNAVAILABLE, Member
from e2i_fs.failover.parity import Standing
from e2i_fs.failover.replay import Recovery
from e2i_fs.failover.said import listed, retry_after, when
from e2i_fs.failover.shadow import Shadow
from e2i_fs.failover.table import ROUTING, Verdict
from e2i_fs.ops.ledger import Ledger
from e2i_fs.question import Answered, Question
from e2i_fs.results import Attempt, Provenance
from e2i_fs.telemetry.events import Event, FailedOver

__all__ = ["Reader", "standing_of"]

Q = TypeVar("Q")
T = TypeVar("T")


class _NotTheSame(Exception):
    """The backend would not answer as the contract says: ``reason``. ``usable`` if it may answer degraded, ``called`` if it was."""

    def __init__(self, reason: str, *, usable: bool, called: bool = True) -> None:
        self.reason = reason
        self.usable = usable
        self.called = called
        super().__init__(reason)


def _refusal(view: str, standing: Standing, *, degraded: bool) -> _NotTheSame | None:
    """Return why a backend that is up may not answer for ``view``, None if it may."""
    verdict = ROUTING[Liveness.CLOSED, standing.parity]
    if verdict is Verdict.ANSWERS or (verdict is Verdict.DEGRADED and degraded):
        return None
    return _NotTheSame(f"{view}: {standing.reason}", usable=verdict is Verdict.DEGRADED)


def standing_of(known: Standing, view: str, own: Catalog, authority: Catalog) -> Standing:
    """Return what is known of a backend with the definitions ``own``."""
    same = own is authority or as_it_counts(authority, own, view)
    return known if same else known.redefined(same=False)


class Reader:
    """Asks the backends in their order, the primary first, until one answers."""

    def __init__(
        self,
        members: Sequence[Member],
        journal: Journal,
        authority: Authority,
        recovery: Recovery,
        shadow: Shadow,
        config: FailoverConfig,
        ledger: Ledger,
        clock: Clock,
        emit: Callable[[Event], None],
    ) -> None:
        self._members = list(members)
        self._journal = journal
        self._authority = authority
        self._recovery = recovery
        self._shadow = shadow
        self._config = config
        self._ledger = ledger
        self._level: str | None = ledger.note("primary level")
        self._clock = clock
        self._emit = emit
        self._retries = Budget(config.retries.burst)
        self._hedge = None if config.hedge is None else Hedge(config.hedge, clock.monotonic)

    def ask(self, question: Question[Q, T]) -> Answered[Q, T]:
        """Return the answer of the first backend that may give it; all attempts share one deadline (X-8).

        Raises the caller's own mistakes as they are (X-2), `DegradedAnswerError` when ``strict`` and only a
        degraded answer is to be had, `NoEligibleBackendError` when nobody answers (X-9).
        """
        asked = _Asked(question, self._limit(question), self._clock.monotonic())
        self._retries.earn(self._config.retries.ratio)
        while True:
            found = self._ask_all(asked)
            if found is not None:
                return found
            if not self._may_retry(asked):
                break
        retry = retry_after(m.breaker for m in self._members)
        raise NoEligibleBackendError(
            f"No backend may answer. {listed(asked.attempts)} {when(retry)}", asked.attempts, retry
        )

    def _limit(self, question: Question[Any, Any]) -> float | None:
        return self._config.deadline if question.kind == "online" else self._config.historical_deadline

    def _ask_all(self, asked: _Asked) -> Answered[Any, Any] | None:
        """Ask each backend for an unmarked answer, then those that are behind for a marked one; None if nobody answered."""
        question = asked.question
        behind: list[tuple[Member, str]] = []
        facts: Facts | None = None
        for member in self._members:
            facts = facts or self._journal.facts()  # raises when the records are away, which is no backend's fault
            try:
                return self._try(member, asked, facts, degraded_because=None)
            except _NotTheSame as refused:
                if refused.usable:
                    behind.append((member, refused.reason))
                if refused.called:
                    facts = None  # that took its time
            except UNAVAILABLE:
                facts = None
        for member, reason in behind:
            if question.strict:
                raise DegradedAnswerError(
                    f"Only backend {member.name!r} can answer, and its answer may be wrong: {unstopped(reason)}. "
                    f"{listed(asked.attempts)} Ask without strict=True to get it, marked as degraded."
                )
            facts = self._journal.facts()
            try:
                return self._try(member, asked, facts, degraded_because=reason)
            except (*UNAVAILABLE, _NotTheSame):
                continue
        return None

    def _may_retry(self, asked: _Asked) -> bool:
        """Return whether to ask everybody once more: a read changes nothing, there is time, a budget, and somebody to ask.

        Only where calls failed at once: one that ran into the deadline, or was throttled, would only do so again.
        """
        if asked.question.kind != "online" or asked.retried or asked.left(self._clock) <= 0:
            return False
        if not asked.errors or not all(type(error) is BackendUnavailableError for error in asked.errors):
            return False
        if not any(m.breaker.state in (Liveness.CLOSED, Liveness.OBSERVE_ONLY) for m in self._members):
            return False
        asked.retried = self._retries.spend()
        if asked.retried:
            asked.attempts.clear()  # what the second round finds is told
        return asked.retried

    def _check_level(self, member: Member, backend: Backend) -> None:
        """Refuse to have a training set made by a backend of another certificate level than the primary's (X-6)."""
        own = backend.capabilities.certified
        if member.role == "primary":
            if self._level != own:
                self._level = own
                self._ledger.set_notes({"primary level": own})
        elif self._level is not None and own != self._level and not self._config.historical_any_level:
            raise _NotTheSame(
                f"its certificate level is {own!r} and the primary's {self._level!r}; historical_any_level lets it answer",
                usable=False,
            )

    def _try(self, member: Member, asked: _Asked, facts: Facts, *, degraded_because: str | None) -> Answered[Any, Any]:
        """Ask one backend. Whatever happens is added to the attempts and told to the breaker."""
        attempts, question = asked.attempts, asked.question
        permit = member.breaker.allow()
        if permit is None:
            attempts.append(Attempt(member.name, str(member.breaker.state)))
            raise _NotTheSame("it is not called while its breaker is open", usable=False, called=False)
        begun = self._clock.monotonic()
        try:
            known = self._known(member, asked, facts) if degraded_because is None else None
        except BaseException:
            member.breaker.release(permit)
            raise
        if known is not None:
            member.breaker.release(permit)
            attempts.append(Attempt(member.name, "not the same", 0.0, known.reason))
            self._recovery.nudge(member)
            known.called = False
            raise known
        left = None if asked.limit is None else self._share(member, asked.limit - (begun - asked.started))

        def work(backend: Backend) -> tuple[Catalog, Any, Any, dict[str, Standing]]:
            return self._answer(member, backend, asked, facts, degraded=degraded_because is not None)

        try:
            if self._hedge is not None and asked.may_hedge and self._hedge.applies(member, self._after(member)):
                found, beside = self._hedge.ask(member, permit, work, lambda: self._beside(member, asked), left)
                if beside is not None:
                    return beside
                assert found is not None
                catalog, query, value, standings = found
            else:
                catalog, query, value, standings = member.call(work, left)
        except UNAVAILABLE as error:
            member.breaker.failure(permit)
            asked.errors.append(error)
            attempts.append(
                Attempt(member.name, "failed", self._clock.monotonic() - begun, f"{type(error).__name__}: {error}")
            )
            raise
        except _NotTheSame as refused:
            member.breaker.release(permit)  # it may have been found out by its definitions alone, which lie elsewhere
            attempts.append(Attempt(member.name, "not the same", self._clock.monotonic() - begun, refused.reason))
            self._recovery.nudge(member)
            raise
        except BaseException:
            member.breaker.release(permit)  # the caller's mistake, or a fault in the data: no sign of being down
            raise
        member.breaker.success(permit)
        attempts.append(Attempt(member.name, "answered", self._clock.monotonic() - begun))
        for other in self._after(member):
            if facts.against(other.name):
                self._recovery.nudge(other)  # nobody asks it, so nobody else would see that it is up and behind
        if member.role != "primary" and question.told:
            why = degraded_because or "; ".join(f"{a.backend}: {a.error or a.outcome}" for a in attempts[:-1])
            first = attempts[0]
            self._emit(FailedOver(self._clock.now(), member.name, why, first.backend, first.cause))
        provenance = Provenance(
            served_by=member.name,
            role=member.role,
            degraded=degraded_because is not None,
            reason=degraded_because,
            attempts=tuple(attempts),
            fingerprints={view: catalog.fingerprint(view) for view in standings},
            position={view: standing.position for view, standing in standings.items()},
        )
        if degraded_because is None and question.same is not None:
            self._shadow.maybe_compare(member, question, catalog, query, value, list(standings))
        return Answered(value, query, catalog, member.name, lambda: provenance)

    def _beside(self, slow: Member, asked: _Asked) -> Answered[Any, Any]:
        """Ask the backends after ``slow`` for an unmarked answer, while it is still at it (X-3)."""
        asked.may_hedge = False
        asked.attempts.append(Attempt(slow.name, "slow", self._clock.monotonic() - asked.started))
        assert self._hedge is not None
        for other in self._after(slow):
            if other.breaker.state is not Liveness.CLOSED:
                continue
            self._hedge.asked_beside(other)
            try:
                return self._try(other, asked, self._journal.facts(), degraded_because=None)
            except (_NotTheSame, *UNAVAILABLE):
                continue
        raise NoEligibleBackendError("Nobody else may answer.", asked.attempts, 0.0)

    def hedged(self, member: Member) -> float:
        """Return the share of a backend's reads that were asked of another beside it."""
        return 0.0 if self._hedge is None else self._hedge.share(member)

    def _after(self, member: Member) -> list[Member]:
        return self._members[self._members.index(member) + 1 :]

    def _share(self, member: Member, left: float) -> float:
        """Return how much of the time left ``member`` may take: later ones that may wait on a network get as much."""
        return left / (1 + sum(not other.local for other in self._after(member)))

    def _known(self, member: Member, asked: _Asked, facts: Facts) -> _NotTheSame | None:
        """Return why ``member`` would not answer the same, where the journal alone tells: then no call is spent on it."""
        if not facts.against(member.name):
            return None
        authority = self._authority.last(facts.version)
        if authority is None:
            return None
        try:
            query = asked.prepared(authority)
        except E2IError:
            return None  # the caller's mistake, or definitions that were changed since: the backend's own will tell
        for view in asked.question.views(query):
            refused = _refusal(view, facts.standing(member.name, view), degraded=False)
            if refused is not None:
                return refused
        return None

    def _answer(
        self, member: Member, backend: Backend, asked: _Asked, facts: Facts, *, degraded: bool
    ) -> tuple[Catalog, Any, Any, dict[str, Standing]]:
        """Check that ``backend`` would answer the same, then let it answer. Runs within the deadline."""
        question = asked.question
        if question.kind == "historical":
            self._check_level(member, backend)
        own = backend.definitions()
        authority = self._authority.of(member, own, facts.version)
        query = asked.prepared(authority)
        views = list(question.views(query))
        if not degraded and self._recovery.look(
            member, backend, [v for v in views if v in authority.views and own.has(v)]
        ):
            facts = self._journal.facts()
        standings = {view: standing_of(facts.standing(member.name, view), view, own, authority) for view in views}
        for view, standing in standings.items():
            refused = _refusal(view, standing, degraded=degraded)
            if refused is not None:
                raise refused
        try:
            value = question.answer(backend, authority, query)
        except UnknownFeatureError as error:  # every name was known a moment ago
            if not self._made_anew(member, standings):
                raise
            raise _NotTheSame(f"it has lost a view meanwhile: {error}", usable=False) from error
        if not degraded:
            self._check_still_whole(member, backend, standings)
        return authority, query, value, standings

    def _made_anew(self, member: Member, standings: dict[str, Standing]) -> bool:
        """Return whether the rows of a view are, or have meanwhile been, dropped and made anew."""
        now = {view: self._journal.standing(member.name, view) for view in standings}
        return any(now[v].diverged is not None or now[v].quarantines != was.quarantines for v, was in standings.items())

    def _check_still_whole(self, member: Member, backend: Backend, standings: dict[str, Standing]) -> None:
        """Refuse an answer during which the rows may have been lost, or made anew by another process.

        The connections of a backend on a network heal by themselves, so a store that was restarted empty may be found well
        by a reader while a writer has just begun to fill it again. Its count of writes tells, or that it was in quarantine
        meanwhile.
        """
        for view, before in standings.items():
            reached = 0 if member.local else self._journal.reached(member.name, view)
            lost = bool(reached) and self._recovery.compare(member, view, reached, backend.position(view).sequence)
            now = self._journal.standing(member.name, view)
            if lost or now.diverged is not None or now.quarantines != before.quarantines:
                raise _NotTheSame(f"{view}: {now.reason or 'its rows were made anew meanwhile'}", usable=False)


class _Asked:
    """One read under way: its question, the time it may take, and what was tried."""

    __slots__ = ("_prepared", "attempts", "errors", "limit", "may_hedge", "question", "retried", "started")

    def __init__(self, question: Question[Any, Any], limit: float | None, started: float) -> None:
        self.question = question
        self.limit = limit
        self.started = started
        self.attempts: list[Attempt] = []
        self.errors: list[E2IError] = []
        self.retried = False
        self.may_hedge = question.kind == "online"
        self._prepared: tuple[Catalog, Any] | None = None

    def prepared(self, catalog: Catalog) -> Any:
        """Return the question resolved against ``catalog``; raises the caller's mistakes."""
        known = self._prepared
        if known is None or known[0] is not catalog:
            self._prepared = known = (catalog, self.question.prepare(catalog))
        return known[1]

    def left(self, clock: Clock) -> float:
        """Return the seconds left; plenty when there is no limit."""
        return 1.0 if self.limit is None else self.limit - (clock.monotonic() - self.started)
