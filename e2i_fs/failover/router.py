"""A store's several backends as one: reads, writes, changes, and what is known of each backend.

How a read finds who may answer it is in `e2i_fs.failover.reading`, how a write reaches all in `e2i_fs.failover.writing`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, to_us
from e2i_fs.config import FailoverConfig
from e2i_fs.entries import Entry, Perform, performer
from e2i_fs.errors import (
    BackendUnavailableError,
    E2IError,
    NoEligibleBackendError,
)
from e2i_fs.failover.authority import Authority
from e2i_fs.failover.breaker import Breaker, Liveness
from e2i_fs.failover.change import Changer
from e2i_fs.failover.journal import Journal, JournalState
from e2i_fs.failover.member import UNAVAILABLE, Member
from e2i_fs.failover.parity import Parity
from e2i_fs.failover.reading import Reader, standing_of
from e2i_fs.failover.rebuild import Rebuilder
from e2i_fs.failover.replay import CatchUp, Recovery
from e2i_fs.failover.said import listed, retry_after, when
from e2i_fs.failover.shadow import Shadow
from e2i_fs.failover.traced import TracedReader, TracedWriter
from e2i_fs.failover.writing import Writer
from e2i_fs.ops.ledger import Ledger
from e2i_fs.question import Answered, Question
from e2i_fs.results import Attempt
from e2i_fs.routing import BackendHealth, Outcome, end_loss, loss_of
from e2i_fs.telemetry.events import BreakerMoved, Event
from e2i_fs.telemetry.spans import Spans

__all__ = ["Failover"]

Q = TypeVar("Q")
T = TypeVar("T")


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
        spans: Spans | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._emit = emit
        self._members = [
            Member(name, "standby" if i else "primary", opener, self._breaker(name), config)
            for i, (name, opener) in enumerate(openers.items())
        ]
        self.journal = Journal(ledger.records, config.journal.max_bytes)
        self._authority = Authority(ledger, self.journal)
        self.journal.enlist(self.names, list((self._authority.last() or Catalog()).views))
        perform: Perform = performer(ledger, clock)
        self._rebuilder = Rebuilder(
            self._members, self.journal, perform, self._last_authority, lambda: to_us(clock.now())
        )
        self.recovery = Recovery(
            self._members, self.journal, ledger.records, perform, self._rebuilder, config, clock, emit, self._authority.last
        )  # fmt: skip
        writes = Writer if spans is None else partial(TracedWriter, spans)
        self._writer = writes(self._members, self.journal, self.recovery, perform, config, self._authority.last)
        self._changer = Changer(self._members, self.journal, self._authority, self.recovery, config)
        self._shadow = Shadow(self._members, self.journal, self.recovery, config, clock, chance)
        reads = Reader if spans is None else partial(TracedReader, spans)
        self._reader = reads(
            self._members, self.journal, self._authority, self.recovery, self._shadow, config, ledger, clock, emit
        )

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
        """Return the answer of the first backend that may give it; see `Reader.ask`."""
        return self._reader.ask(question)

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
            return self._authority.of(member, own)
        retry = retry_after(m.breaker for m in self._members)
        raise NoEligibleBackendError(
            f"No backend can say what is registered; nothing was done. {listed(attempts)} {when(retry)}",
            attempts,
            retry,
        )

    def _last_authority(self) -> Catalog | None:
        primary = self._members[0]
        if primary.breaker.state is Liveness.CLOSED:
            try:
                own = primary.call(lambda backend: backend.definitions(), self._config.deadline)
                return self._authority.of(primary, own)
            except UNAVAILABLE:
                pass  # what was last seen of it counts while it is away
        return self._authority.last()

    # ---- writing ------------------------------------------------------------------------------------------

    def write(self, entry: Entry, perform: Perform) -> list[Outcome]:
        """Do ``entry`` on every backend; see `Writer.write`."""
        return self._writer.write(entry)

    def change(self, to: Callable[[Catalog], Catalog], *, removed: tuple[str, str] | None = None) -> None:
        """Change the catalogue of every backend. All must be up and able to keep it, else nothing is changed."""
        self._changer.change(to, removed)

    # ---- bringing backends up to date ---------------------------------------------------------------------

    def catch_up(
        self, names: Sequence[str], *, views: Sequence[str] | None, limit: float | None, rebuild: bool
    ) -> dict[str, CatchUp]:
        """Make anew what these backends lost, and replay what they missed."""
        return {
            m.name: self.recovery.catch_up(m, views, limit=limit, rebuild=rebuild)
            for m in self._members
            if m.name in names
        }

    def rebuild(self, name: str, views: Sequence[str], *, from_sources: bool) -> CatchUp:
        """Make a backend's rows of ``views`` anew, whatever is known of them."""
        if from_sources:
            self._rebuilder.check_last_resort(name, views)
        return self.recovery.rebuild(self._member(name), views, from_sources=from_sources)

    def readmit(self, name: str, views: Iterable[str] | None = None) -> None:
        """Let a backend that was made whole by hand answer unmarked again."""
        member = self._member(name)
        chosen = list(self.catalog().views if views is None else views)
        for view in chosen:
            end_loss(member.backend, view, loss_of(member.backend, view))
        self.journal.readmit(name, chosen)
        member.looked_at.difference_update(chosen)

    def isolate(self, name: str) -> None:
        """Call this backend no more, until `release`."""
        self._member(name).breaker.isolate()
        self._member(name).looked_at.clear()

    def observe(self, name: str) -> None:
        """Call this backend whatever happens, until `release`."""
        self._member(name).breaker.observe()

    def release(self, name: str) -> None:
        """Call this backend again, as if it had never failed; what was done to it meanwhile is looked at."""
        self._member(name).looked_at.clear()
        self._member(name).breaker.reset()

    def journal_state(self) -> JournalState:
        """Return what the journal holds."""
        return self.journal.state()

    # ---- the rest -----------------------------------------------------------------------------------------

    def _member(self, name: str) -> Member:
        return next(m for m in self._members if m.name == name)

    def backend(self, name: str) -> Backend:
        """Return one backend, opened."""
        return self._member(name).backend

    def health(self, deadline: float) -> list[BackendHealth]:
        """Ask each backend whether it is up and has its rows; a dead one costs at most ``deadline`` seconds, an isolated none."""
        found = []
        for member in self._members:
            name = member.name

            def work(backend: Backend, member: Member = member) -> tuple[float, Catalog, Catalog]:
                latency = backend.ping(deadline)
                own = backend.definitions()
                authority = self._authority.of(member, own)
                self.recovery.look(member, backend, [view for view in authority.views if own.has(view)])
                return latency, own, authority

            try:
                if member.breaker.state is Liveness.ISOLATED:
                    raise BackendUnavailableError("It was isolated and is not called; release it.")
                member.looked_at.clear()
                latency, own, authority = member.call(work, deadline)
                up, error = True, None
                facts = self.journal.facts()
                parity = {
                    v: str(standing_of(facts.standing(name, v), v, own, authority).parity) for v in authority.views
                }
            except E2IError as problem:
                latency, up, error = None, False, f"{type(problem).__name__}: {problem}"
                parity = self._last_known(name)
            shadow, missed = self._shadow.counts(name), self.journal.facts().missed(name)
            state = str(member.breaker.state)
            found.append(
                BackendHealth(
                    name, member.role, up, latency, error, state, parity, shadow, missed, self._reader.hedged(member)
                )
            )
        return found

    def _last_known(self, name: str) -> dict[str, str]:
        """Return what the journal holds against a backend that is down; nobody knows now how its other views are defined."""
        authority, facts = self._authority.last(), self.journal.facts()
        found = {} if authority is None else {view: facts.standing(name, view).parity for view in authority.views}
        return {v: str(Parity.UNVERIFIED if parity is Parity.VERIFIED else parity) for v, parity in found.items()}

    def close(self) -> None:
        """Close every backend, whatever one of them raises."""
        self._shadow.close()
        self.recovery.close()
        errors = []
        for member in self._members:
            try:
                member.close()
            except E2IError as error:
                errors.append(error)
        if errors:
            raise errors[0]
