"""Which backend answers, and what is said of it. Read `Failover.ask` first.

A backend answers unmarked only when it is up (its breaker lets a call through) and would answer the same: its
definitions have the expected fingerprints, it has missed no write to the views asked, and no comparison has found
it wrong. When nobody can, one that is up but may have missed a write answers *degraded*. Nothing else answers.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.clock import Clock
from e2i_fs.config import FailoverConfig
from e2i_fs.errors import (
    BackendUnavailableError,
    DegradedAnswerError,
    E2IError,
    NoEligibleBackendError,
    RequestError,
    RunOverlapError,
    UnsupportedError,
)
from e2i_fs.failover.breaker import Breaker, Liveness
from e2i_fs.failover.member import UNAVAILABLE, Member
from e2i_fs.failover.shadow import Shadow
from e2i_fs.ops.ledger import Ledger
from e2i_fs.results import Attempt, Provenance
from e2i_fs.routing import Answered, BackendHealth, Outcome, Question, change_catalog, check_capabilities, stored_kind
from e2i_fs.telemetry.events import BreakerMoved, Event, FailedOver, ParityMoved

__all__ = ["Failover"]

Q = TypeVar("Q")
T = TypeVar("T")


class _NotTheSame(Exception):
    """The backend would not answer as the contract says: ``reason``. ``usable`` if it may answer degraded."""

    def __init__(self, reason: str, *, usable: bool) -> None:
        self.reason = reason
        self.usable = usable
        super().__init__(reason)


class Failover:
    """The router of a store with several backends, the primary first."""

    def __init__(
        self,
        openers: dict[str, Callable[[], Backend]],
        config: FailoverConfig,
        ledger: Ledger,
        clock: Clock,
        emit: Callable[[Event], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._clock = clock
        self._emit = emit
        self._remembered: Catalog | None = None
        self._apply_lock = threading.Lock()
        self._members = [
            Member(name, "standby" if i else "primary", opener, self._breaker(name), config.workers)
            for i, (name, opener) in enumerate(openers.items())
        ]
        self._shadow = Shadow(self._members, ledger, config, clock, emit, chance)

    def open_all(self) -> None:
        """Open every backend now; one that is down is left for later, any other fault is raised (X-2)."""
        for member in self._members:
            permit = member.breaker.allow()
            try:
                member.call(lambda backend: None, None)
            except UNAVAILABLE:
                member.breaker.failure(permit)
            else:
                member.breaker.release(permit)

    def _breaker(self, name: str) -> Breaker:
        def moved(before: Liveness, after: Liveness) -> None:
            self._emit(BreakerMoved(self._clock.now(), name, before, after))

        return Breaker(self._config.breaker, self._clock.monotonic, moved)

    @property
    def names(self) -> tuple[str, ...]:
        """The backends' names, the primary first."""
        return tuple(m.name for m in self._members)

    # ---- reading ------------------------------------------------------------------------------------------

    def ask(self, question: Question[Q, T]) -> Answered[Q, T]:
        """Return the answer of the first backend that may give it; all attempts share one deadline (X-8).

        Raises the caller's own mistakes as they are (X-2), `DegradedAnswerError` when ``strict`` and only a
        degraded answer is to be had, `NoEligibleBackendError` when nobody answers (X-9).
        """
        limit = self._config.deadline if question.kind == "online" else self._config.historical_deadline
        started = self._clock.monotonic()
        attempts: list[Attempt] = []
        behind: list[tuple[Member, str]] = []
        for member in self._members:
            try:
                return self._try(member, question, attempts, limit, started, degraded_because=None)
            except _NotTheSame as refused:
                if refused.usable:
                    behind.append((member, refused.reason))
            except UNAVAILABLE:
                continue
        for member, reason in behind:
            if question.strict:
                raise DegradedAnswerError(
                    f"Only a degraded answer is to be had, from {member.name!r}: {reason}. "
                    f"{_listed(attempts)} Ask without strict=True to get it, marked."
                )
            try:
                return self._try(member, question, attempts, limit, started, degraded_because=reason)
            except (*UNAVAILABLE, _NotTheSame):
                continue
        retry = min((m.breaker.retry_after() for m in self._members), default=0.0)
        raise NoEligibleBackendError(f"No backend may answer. {_listed(attempts)} {_when(retry)}", attempts, retry)

    def _try(
        self,
        member: Member,
        question: Question[Q, T],
        attempts: list[Attempt],
        limit: float | None,
        started: float,
        *,
        degraded_because: str | None,
    ) -> Answered[Q, T]:
        """Ask one backend. Whatever happens is added to ``attempts`` and told to the breaker."""
        permit = member.breaker.allow()
        if permit is None:
            attempts.append(Attempt(member.name, str(member.breaker.state)))
            raise _NotTheSame("it is not called while its breaker is open", usable=False)
        begun = self._clock.monotonic()
        left = None if limit is None else self._share(member, limit - (begun - started))
        try:
            catalog, query, value = member.call(
                lambda backend: self._answer(member, backend, question, degraded=degraded_because is not None), left
            )
        except UNAVAILABLE as error:
            member.breaker.failure(permit)
            member.looked_at.clear()
            attempts.append(
                Attempt(member.name, "failed", self._clock.monotonic() - begun, f"{type(error).__name__}: {error}")
            )
            raise
        except _NotTheSame as refused:
            member.breaker.success(permit)
            attempts.append(Attempt(member.name, "not the same", self._clock.monotonic() - begun, refused.reason))
            raise
        except BaseException:
            member.breaker.release(permit)  # the caller's mistake, or a fault in the data: no sign of being down
            raise
        member.breaker.success(permit)
        attempts.append(Attempt(member.name, "answered", self._clock.monotonic() - begun))
        views = list(question.views(query))
        reason = degraded_because
        if member.role != "primary":
            why = reason or "; ".join(f"{a.backend}: {a.error or a.outcome}" for a in attempts[:-1])
            self._emit(FailedOver(self._clock.now(), member.name, why))
        provenance = Provenance(
            served_by=member.name,
            role=member.role,
            degraded=reason is not None,
            reason=reason,
            attempts=tuple(attempts),
            fingerprints={view: catalog.fingerprint(view) for view in views},
            position={view: self._ledger.position(member.name, view) for view in views},
        )
        if reason is None and question.same is not None:
            self._shadow.maybe_compare(member, question, catalog, query, value, views)
        return Answered(value, query, catalog, member.name, provenance)

    def _share(self, member: Member, left: float) -> float:
        """Return how much of the time left ``member`` may take: later ones that may wait on a network get as much."""
        later = self._members[self._members.index(member) + 1 :]
        return left / (1 + sum(not other.local for other in later))

    def _answer(
        self, member: Member, backend: Backend, question: Question[Q, T], *, degraded: bool
    ) -> tuple[Catalog, Q, T]:
        """Check that ``backend`` would answer the same, then let it answer. Runs within the deadline."""
        own = backend.definitions()
        authority = self._authority(member, own)
        query = question.prepare(authority)
        views = list(question.views(query))
        differ = _differing(own, authority, views)
        if differ:
            raise _NotTheSame(
                f"its definitions of {', '.join(differ)} are not the expected ones; apply them", usable=False
            )
        if not degraded:
            self._check_not_lost(member, backend, [v for v in views if v in authority.views])
            self._check_parity(member, views)
        return authority, query, question.answer(backend, authority, query)

    def _check_not_lost(self, member: Member, backend: Backend, views: Iterable[str]) -> None:
        """Look, once after it was opened or was down, whether the backend still has what it once took."""
        for view in views:
            if view not in member.looked_at:
                reached = self._ledger.reached(member.name, view)  # read first: the backend's own count only grows
                now = backend.position(view).sequence
                if now < reached:
                    why = f"it had taken {reached} writes and has {now}: its rows were lost"
                    self._ledger.set_diverged(member.name, view, why)
                    self._emit(ParityMoved(self._clock.now(), member.name, view, "verified", "diverged"))
                member.looked_at.add(view)

    def _check_parity(self, member: Member, views: Iterable[str]) -> None:
        for view in views:
            missed = self._ledger.missed(member.name, view)
            if missed:
                raise _NotTheSame(f"it may have missed {missed} write(s) to {view!r}", usable=True)
            diverged = self._ledger.diverged(member.name, view)
            if diverged:
                raise _NotTheSame(f"it was found to differ on {view!r}: {diverged}", usable=True)

    def _authority(self, member: Member, own: Catalog) -> Catalog:
        """Return the catalogue that counts: the primary's, or the last that was seen of it."""
        if member.role == "primary" and (own.views or not self._ledger.note("catalog views")):
            self._remember(own)
            return own
        # A standby, or a primary that has lost everything: what was last seen of a whole primary counts.
        revision = self._ledger.note("catalog revision")
        if revision is None:
            return own
        if self._remembered is None or self._remembered.revision != revision:
            self._remembered = Catalog.from_json(self._ledger.note("catalog"))
        return self._remembered

    def _remember(self, catalog: Catalog) -> None:
        if self._remembered is None or self._remembered.revision != catalog.revision:
            self._ledger.set_notes(
                {
                    "catalog": catalog.to_json(),
                    "catalog revision": catalog.revision,
                    "catalog views": len(catalog.views),
                }
            )
            self._remembered = catalog

    def catalog(self) -> Catalog:
        """Return the primary's definitions, or what was last seen of them when it is down."""
        attempts: list[Attempt] = []
        for member in self._members:
            permit = member.breaker.allow()
            if permit is None:
                attempts.append(Attempt(member.name, str(member.breaker.state)))
                continue
            try:
                own = member.call(lambda backend: backend.definitions(), self._config.deadline)
            except UNAVAILABLE as error:
                member.breaker.failure(permit)
                attempts.append(Attempt(member.name, "failed", 0.0, f"{type(error).__name__}: {error}"))
                continue
            except BaseException:
                member.breaker.release(permit)
                raise
            member.breaker.release(permit)
            return self._authority(member, own)
        retry = min((m.breaker.retry_after() for m in self._members), default=0.0)
        raise NoEligibleBackendError(
            f"No backend can say what is registered; nothing was done. {_listed(attempts)} {_when(retry)}",
            attempts,
            retry,
        )

    # ---- writing ------------------------------------------------------------------------------------------

    def write(self, view: str, kind: str, key: str, content: str, work: Callable[[str, Backend], Any]) -> list[Outcome]:
        """Do ``work`` on every backend; who fails to take it is known, durably, to have missed it (X-4).

        Raises the error of the first backend when it fails for another reason than being down,
        `NoEligibleBackendError` when nobody took the write.
        """
        limit = None if kind.startswith("materialize:") else self._config.write_deadline
        seq, new = self._ledger.begin_write(view, kind, key, content, self.names)
        outcomes: list[Outcome] = []
        try:
            for member in self._members:
                first = not any(o.error is None for o in outcomes)
                outcome, reached = self._write_one(member, view, work, first=first, limit=limit)
                outcomes.append(outcome)
                if outcome.error is None:
                    self._ledger.applied(member.name, view, seq, reached)
                    if reached < self._ledger.reached(member.name, view):
                        member.looked_at.discard(view)  # another writer was later, or rows were lost: look again
                    if kind.startswith("materialize:"):
                        self._ledger.caught_up(member.name, view, kind, seq)
        except (RequestError, UnsupportedError, RunOverlapError):
            if new and not outcomes:
                self._ledger.forget_write(view, seq)  # refused before any backend was touched
            raise
        finally:
            self._ledger.end_write(view, seq)
        if all(o.error is not None for o in outcomes):
            attempts = [Attempt(o.backend, "failed", 0.0, f"{type(o.error).__name__}: {o.error}") for o in outcomes]
            retry = min(m.breaker.retry_after() for m in self._members)
            raise NoEligibleBackendError(
                f"No backend took the write to {view!r}, which is not acknowledged. {_listed(attempts)} Write it again, "
                f"with the same idempotency key. {_when(retry)}",
                attempts,
                retry,
            ) from outcomes[0].error
        return outcomes

    def _write_one(
        self, member: Member, view: str, work: Callable[[str, Backend], Any], *, first: bool, limit: float | None
    ) -> tuple[Outcome, int]:
        """Write to one backend; return what became of it and how far the backend's own count has come."""
        permit = member.breaker.allow()
        if permit is None:
            why = f"Backend {member.name!r} is not called while its breaker is open."
            return Outcome(member.name, error=BackendUnavailableError(why)), 0
        try:
            value, reached = member.call(
                lambda backend: (work(member.name, backend), backend.position(view).sequence), limit
            )
        except UNAVAILABLE as error:
            member.breaker.failure(permit)
            member.looked_at.clear()
            return Outcome(member.name, error=error), 0
        except E2IError as error:
            member.breaker.release(permit)
            if first:
                raise
            return Outcome(member.name, error=error), 0
        except BaseException:
            member.breaker.release(permit)
            raise
        member.breaker.success(permit)
        return Outcome(member.name, value), reached

    def change(self, to: Callable[[Catalog], Catalog], *, removed: tuple[str, str] | None = None) -> None:
        """Change the catalogue of every backend. All must be up and able to keep it, else nothing is changed.

        The standbys are changed first: whatever stops the work half way, the primary's catalogue still counts, and
        a standby whose definitions are ahead of it does not answer. Doing it again completes it.
        """
        with self._apply_lock:
            for member in self._members:
                limit = max(1.0, self._config.deadline)
                member.call(lambda backend, limit=limit: backend.ping(limit), limit)  # type: ignore[misc]
            primary = self._members[0]
            known = self._authority(primary, primary.backend.definitions())

            def changed(own: Catalog) -> Catalog:
                return to(own if own.views else own.holding(known))  # a primary that lost everything gets it back

            gone = [v for v in known.views if v not in primary.backend.definitions().views]
            for view in gone:
                self._ledger.set_diverged(
                    primary.name, view, "it had lost the view, and its rows have not been rebuilt"
                )
            wanted = changed(primary.backend.definitions())
            for standby in self._members[1:]:
                own = standby.backend.definitions()
                check_capabilities(standby.backend.capabilities, own, own.holding(wanted))
            while True:
                before = primary.backend.definitions()
                for standby in self._members[1:]:
                    self._change_standby(standby, known, before, wanted, removed)
                change_catalog(primary.backend, changed)
                now = primary.backend.definitions()
                if now.revision == wanted.revision:
                    break
                wanted = now  # somebody else applied as well: the standbys take up theirs too
            self._ledger.start_anew(breaking_views(before, wanted))
            self._remember(wanted)
            if removed is not None and removed[0] == "view":
                self._ledger.forget_view(removed[1])

    def _change_standby(
        self, standby: Member, known: Catalog, before: Catalog, wanted: Catalog, removed: tuple[str, str] | None
    ) -> None:
        """Give a standby the wanted catalogue. Of a view that it gets late it lacks the rows, and that is noted."""
        own = standby.backend.definitions()
        gone = [("view", view) for view in wanted.views if own.has(view) and not known.has(view)]
        for kind, name in [*gone, *([removed] if removed else [])]:
            # Rows of a view that was deleted must not come back with a view of its name.
            change_catalog(standby.backend, lambda kept, k=kind, n=name: kept.dropping(k, n))  # type: ignore[misc]
        own = standby.backend.definitions()
        fresh = {*breaking_views(before, wanted), *(view for view in wanted.views if view not in before.views)}
        late = {view for view in wanted.views if view not in own.views} | set(breaking_views(own, wanted))
        for view in sorted(late - fresh):
            if self._holds_rows(view):
                self._ledger.set_diverged(standby.name, view, "it was added later and has not been rebuilt")
        change_catalog(standby.backend, lambda kept: kept.holding(wanted))

    def _holds_rows(self, view: str) -> bool:
        """Return whether the primary has rows of a view that do not lie in the view's own source."""
        backend = self._members[0].backend
        definition = backend.definitions().view(view)
        parts = backend.scan(view, [f.name for f in definition.schema])
        own = 0 if stored_kind(definition) is None else 1
        return backend.position(view).sequence > 0 or len(parts) > own

    def readmit(self, name: str, views: Iterable[str] | None = None) -> None:
        """Let a backend that was made whole by hand answer unmarked again."""
        member = next(m for m in self._members if m.name == name)
        chosen = list(self.catalog().views if views is None else views)
        self._ledger.readmit(name, chosen)
        member.looked_at.difference_update(chosen)

    # ---- the rest -----------------------------------------------------------------------------------------

    def backend(self, name: str) -> Backend:
        """Return one backend, opened."""
        return next(m for m in self._members if m.name == name).backend

    def health(self, deadline: float) -> list[BackendHealth]:
        """Ask each backend whether it is up; a dead one costs at most ``deadline`` seconds."""
        found = []
        for member in self._members:
            try:
                latency = member.call(lambda backend: backend.ping(deadline), deadline)
                own = member.call(lambda backend: backend.definitions(), deadline)
                parity = self._parity(member, own, self._authority(member, own))
                up, error = True, None
            except E2IError as problem:
                latency, up, error, parity = None, False, f"{type(problem).__name__}: {problem}", {}
            found.append(
                BackendHealth(
                    member.name,
                    member.role,
                    up,
                    latency,
                    error,
                    str(member.breaker.state),
                    parity,
                    self._shadow.counts(member.name),
                )
            )
        return found

    def _parity(self, member: Member, own: Catalog, authority: Catalog) -> dict[str, str]:
        states = {}
        for view in authority.views:
            if _differing(own, authority, [view]):
                states[view] = "unverified"
            elif self._ledger.diverged(member.name, view):
                states[view] = "diverged"
            else:
                states[view] = "lagging" if self._ledger.missed(member.name, view) else "verified"
        return states

    def close(self) -> None:
        """Close every backend, whatever one of them raises."""
        self._shadow.close()
        errors = []
        for member in self._members:
            try:
                member.close()
            except E2IError as error:
                errors.append(error)
        if errors:
            raise errors[0]


def _differing(own: Catalog, authority: Catalog, views: Iterable[str]) -> list[str]:
    return [v for v in views if not own.has(v) or own.fingerprint(v) != authority.fingerprint(v)]


def _listed(attempts: list[Attempt]) -> str:
    told = "; ".join(f"{a.backend}: {a.outcome}{f' ({a.error})' if a.error else ''}" for a in attempts)
    return f"Tried: {told or 'none'}."


def _when(retry: float) -> str:
    return f"Try again in {retry:.1f} s." if retry > 0 else "It may be tried again at once."
