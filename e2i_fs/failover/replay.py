"""Bringing a backend up to date: what it lost is made anew, what it missed is replayed in order (X-4, X-5).

Only then does it answer unmarked again. This happens by itself, in one thread off the hot path, as soon as a read or
a write sees that a backend that is behind is up; `Recovery.catch_up` does it in the caller's.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from filelock import FileLock, Timeout

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock
from e2i_fs.config import FailoverConfig
from e2i_fs.entries import Perform
from e2i_fs.errors import BackendUnavailableError, E2IError, RequestError, RunOverlapError, ThrottledError
from e2i_fs.failover.authority import as_it_counts
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.facts import Fault
from e2i_fs.failover.journal import Journal, Missed
from e2i_fs.failover.member import UNAVAILABLE, Member
from e2i_fs.failover.rebuild import Rebuilder
from e2i_fs.forks import renew_after_fork
from e2i_fs.ops.records import Records
from e2i_fs.pool import DaemonPool
from e2i_fs.telemetry.events import Event, ParityMoved, Replayed

__all__ = ["CatchUp", "Recovery"]

T = TypeVar("T")

_log = logging.getLogger("e2i_fs.failover")
_PATIENCE = 2.0  # seconds that closing waits for the write under way


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The outcome of bringing one backend up to date.

    ``replayed`` is the number of missed writes it has now taken, ``rebuilt`` the views rebuilt from scratch, ``left``
    the number of writes still missed, and ``diverged`` the views whose rows are still in quarantine. ``error`` says
    what stopped it, None when nothing is left.

    >>> from e2i_fs.testing import example_store
    >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
    >>> with example_store(two) as store:
    ...     told = store.catch_up("standby")["standby"]
    >>> told.replayed, told.left, told.done
    (0, 0, True)
    """

    backend: str
    replayed: int
    rebuilt: tuple[str, ...]
    left: int
    diverged: tuple[str, ...]
    error: str | None = None

    @property
    def done(self) -> bool:
        """True when the backend has every write."""
        return not self.left and not self.diverged


class _StoppedError(Exception):
    """Nothing more can be done now, and why."""


class _WaitsError(Exception):
    """The view cannot go on now, and why: its backend has another definition of it, or its source cannot be read."""


class Recovery:
    """Brings members up to date, each by one thread of one process at a time."""

    def __init__(
        self, members: Sequence[Member], journal: Journal, records: Records, perform: Perform, rebuilder: Rebuilder,
        config: FailoverConfig, clock: Clock, emit: Callable[[Event], None], authority: Callable[[], Catalog | None],
    ) -> None:  # fmt: skip
        self._members = members
        self._authority = authority
        self._journal = journal
        self._records = records
        self._perform = perform
        self._rebuilder = rebuilder
        self._config = config
        self._clock = clock
        self._emit = emit
        self._pool = DaemonPool("e2i_fs recovery", max(1, len(members)))
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin anew in a forked child: whoever was at it is in the parent."""
        self._locks = {member.name: threading.Lock() for member in self._members}
        self._nudged: set[str] = set()
        self._closing = threading.Event()
        self._begun: dict[str, concurrent.futures.Future[None]] = {}

    # ---- seeing that something is to be done --------------------------------------------------------------

    def look(self, member: Member, backend: Backend, views: Iterable[str]) -> bool:
        """Look, once after it was opened or was down, whether the backend still has what it once took.

        Returns whether there was a view not yet looked at.
        """
        looked = False
        for view in views:
            if view not in member.looked_at:
                reached = self._journal.reached(member.name, view)  # read first: the backend's own count only grows
                if reached:
                    self.compare(member, view, reached, backend.position(view).sequence)
                member.looked_at.add(view)
                looked = True
        return looked

    def look_safely(self, member: Member, backend: Backend, views: Iterable[str]) -> None:
        """Look at those of ``views`` that the backend knows: one that it has lost altogether is found by its definitions."""
        own = backend.definitions()
        self.look(member, backend, [view for view in views if own.has(view)])

    def compare(self, member: Member, view: str, reached: int, now: int) -> bool:
        """Quarantine a backend whose own count of writes went back; return whether it did."""
        if now >= reached:
            return False
        # A count below zero is none: by it the backend says that it has seen itself emptied.
        had = f"it had taken {reached} writes" + (f" and has {now}" if now >= 0 else "")
        self.quarantine(member, view, "lost", f"{had if reached > 0 else 'it was emptied again'}: its rows were lost")
        return True

    def quarantine(self, member: Member, view: str, fault: Fault, why: str) -> None:
        """Believe the backend's rows of this view no more."""
        before = str(self._journal.standing(member.name, view).parity)
        if self._journal.quarantine(member.name, view, fault, why):
            _log.warning("backend %r is in quarantine for view %r: %s", member.name, view, why)
            self._emit(ParityMoved(self._clock.now(), member.name, view, before, "diverged"))

    def nudge(self, member: Member) -> None:
        """Have it brought up to date in the background, if there is something to do and nobody is at it. Never waits."""
        if not self._config.background or member.name in self._nudged or self._locks[member.name].locked():
            return
        if member.breaker.state in (Liveness.OPEN, Liveness.ISOLATED):
            return  # nothing can be done before it is called again
        if self._closing.is_set():
            return
        self._nudged.add(member.name)
        try:
            self._begun[member.name] = self._pool.submit(partial(self._in_background, member))
        except ThrottledError:
            self._nudged.discard(member.name)

    def _in_background(self, member: Member) -> None:
        try:
            self._nudged.discard(member.name)
            self.catch_up(member, wait=0)
        except E2IError as error:
            # Files that were closed under it are no fault: the journal knows what is left.
            level = logging.DEBUG if self._closing.is_set() else logging.WARNING
            _log.log(level, "backend %r could not be brought up to date: %s", member.name, error)
        except Exception:  # a defect, in a thread that nobody waits for
            _log.exception("bringing backend %r up to date ended with what is no error of e2i_fs", member.name)

    # ---- doing it -----------------------------------------------------------------------------------------

    def catch_up(
        self, member: Member, views: Sequence[str] | None = None, *, limit: float | None = None, wait: float = 60.0,
        rebuild: bool | None = False,
    ) -> CatchUp:  # fmt: skip
        """Make anew what ``member`` lost and replay what it missed, until nothing is left or something stops it.

        ``limit`` seconds at most; ``wait`` seconds for another thread or process that is at it. ``rebuild`` makes rows anew
        that were found to differ, too: without it only those that are known to be lost or never all there; None makes none.
        """
        until = None if limit is None else self._clock.monotonic() + limit
        replayed = 0
        rebuilt: list[str] = []
        error: str | None = None
        waiting: dict[str, str] = {}
        lock = self._locks[member.name]
        if not (lock.acquire(timeout=wait) if wait > 0 else lock.acquire(blocking=False)):
            return self._report(member, 0, [], "another thread is at it")
        try:
            with self._alone(member, wait):
                self._look_at_all(member)
                rebuilt += [] if rebuild is None else self._rebuild(member, views, rebuild)
                for missed in self._journal.missed(member.name):
                    if until is not None and self._clock.monotonic() >= until:
                        raise _StoppedError("the time for it was over")
                    if (views is None or missed.view in views) and missed.view not in waiting:
                        try:
                            replayed += self._replay(member, missed)
                        except _WaitsError as waits:
                            waiting[missed.view] = str(waits)  # in order: what comes after it waits too
                rebuilt += (
                    [] if rebuild is None else self._rebuild(member, views, rebuild)
                )  # what a replay has found to be beyond it
        except (_StoppedError, *UNAVAILABLE) as stop:
            error = str(stop)
        finally:
            lock.release()
        return self._report(member, replayed, rebuilt, error or "; ".join(waiting.values()) or None)

    def rebuild(self, member: Member, views: Sequence[str], *, from_sources: bool, wait: float = 60.0) -> CatchUp:
        """Make the rows of ``views`` anew, whatever is known of them, then replay what was missed meanwhile."""
        lock = self._locks[member.name]
        done: list[str] = []
        error: str | None = None
        if not lock.acquire(timeout=wait):
            return self._report(member, 0, [], "another thread is at it")
        try:
            with self._alone(member, wait):
                for view in views:
                    fault: Fault = self._journal.quarantined(member.name).get(view, ("differs", ""))[0]
                    self._journal.quarantine(member.name, view, fault, "a rebuild of it was begun and has not ended")
                    if from_sources:
                        problem = self._called(
                            member, partial(self._rebuilder.from_sources, member, view), self._config.run_deadline
                        )
                    else:
                        problem = self._called(
                            member, partial(self._rebuilder.rebuild, member, view, fault), self._config.run_deadline
                        )
                    if problem is None:
                        done.append(view)
                        self._emit(ParityMoved(self._clock.now(), member.name, view, "diverged", "verified"))
                    else:
                        error = str(problem)
        except (_StoppedError, *UNAVAILABLE) as stop:
            error = str(stop)
        finally:
            lock.release()
        after = self.catch_up(member, views, wait=wait)
        return replace(after, rebuilt=tuple(done), error=after.error and (error or after.error))

    def _report(self, member: Member, replayed: int, rebuilt: list[str], error: str | None) -> CatchUp:
        left = sum(self._journal.facts().missed(member.name).values())
        quarantined = tuple(sorted(self._journal.quarantined(member.name)))
        if error is None and (left or quarantined):
            reasons = self._journal.quarantined(member.name)
            error = "; ".join(f"{view}: {why}" for view, (_, why) in sorted(reasons.items())) or "writes are under way"
        return CatchUp(member.name, replayed, tuple(rebuilt), left, quarantined, error if left or quarantined else None)

    def _alone(self, member: Member, wait: float) -> _Alone:
        return _Alone(self._records, member.name, wait)

    def _look_at_all(self, member: Member) -> None:
        """See whether rows were lost, before a replay makes it hard to tell."""
        views = sorted({*self._journal.written()} - member.looked_at)
        if views:
            self._called(member, lambda backend: self.look_safely(member, backend, views))

    def _rebuild(self, member: Member, views: Sequence[str] | None, asked: bool) -> list[str]:
        done: list[str] = []
        for view, (fault, _) in sorted(self._journal.quarantined(member.name).items()):
            if (fault == "differs" and not asked) or (views is not None and view not in views):
                continue  # rows that are wrong without a known cause are a person's to look at
            try:
                problem = self._called(
                    member, partial(self._rebuilder.rebuild, member, view, fault), self._config.run_deadline
                )
            except UNAVAILABLE:
                raise
            except E2IError as error:
                problem = f"{type(error).__name__}: {error}"
            if problem is None:
                done.append(view)
                self._emit(ParityMoved(self._clock.now(), member.name, view, "diverged", "verified"))
            else:
                _log.warning("backend %r, view %r cannot be rebuilt: %s", member.name, view, problem)
        return done

    def _replay(self, member: Member, missed: Missed) -> int:
        """Do one missed write; return 1 if it was done. A view that cannot go on is quarantined, or left for later."""
        journal, name, view = self._journal, member.name, missed.view
        if missed.busy or view in journal.quarantined(name):
            return 0
        if not journal.still_missed(name, missed):
            return 0  # struck off with a later run, or by another process
        if missed.entry is None:
            self.quarantine(
                member, view, "late", f"the journal no longer has the rows of write {missed.seq}, which it missed"
            )
            return 0
        entry = missed.entry
        if journal.facts().older_busy(name, view, missed.seq):
            return 0  # in order: a write before it is still under way

        def work(backend: Backend) -> tuple[int, int, int]:
            if not as_it_counts(self._authority(), backend.definitions(), view):
                raise _WaitsError(f"{view}: backend {name!r} has another definition of it; apply it.")
            quarantines = journal.standing(name, view).quarantines
            before = journal.reached(name, view)  # read first: others may write meanwhile
            self._perform(entry, name, backend)
            return before, backend.position(view).sequence, quarantines

        try:
            before, reached, quarantines = self._called(
                member, work, self._config.run_deadline if entry.is_run else self._config.write_deadline
            )
        except UNAVAILABLE:
            journal.doubt(missed.seq)  # it may have it in part
            raise
        except RunOverlapError as busy:
            raise _StoppedError(str(busy)) from busy
        except RequestError as error:
            if journal.forget(view, missed.seq):
                _log.warning("write %s to view %r was taken by nobody, and is forgotten: %s", missed.seq, view, error)
            else:
                self.quarantine(member, view, "late", f"write {missed.seq} could not be replayed: {error}")
            return 0
        except E2IError as error:
            if entry.is_run and journal.is_missed_by_all(missed.seq):  # nobody is ahead: its source is what is at fault
                raise _WaitsError(f"{view}: run {missed.seq} cannot be done yet: {error}") from error
            self.quarantine(member, view, "late", f"write {missed.seq} could not be replayed: {error}")
            return 0
        if self.compare(member, view, before, reached):
            return 0
        journal.applied(name, view, missed.seq, reached, quarantines)
        if entry.is_run:
            journal.strike_runs(name, view, entry.kind, missed.seq)
        self._emit(Replayed(self._clock.now(), name, view, missed.seq))
        if not journal.standing(name, view).missed:
            self._emit(ParityMoved(self._clock.now(), name, view, "lagging", "verified"))
        return 1

    def _called(self, member: Member, work: Callable[[Backend], T], limit: float = 30.0) -> T:
        """Call the backend, and tell its breaker how that ended. Raises `_StoppedError` while it is not called."""
        if self._closing.is_set():
            raise _StoppedError("the store is closed")
        permit = member.breaker.allow()
        if permit is None:
            raise _StoppedError(f"backend {member.name!r} is not called while its breaker is {member.breaker.state}")
        try:
            done = member.call(work, limit, writes=True)
        except UNAVAILABLE:
            member.breaker.failure(permit)
            raise
        except BaseException:
            member.breaker.release(permit)
            raise
        member.breaker.success(permit)
        return done

    def close(self) -> None:
        """Stop before the next write, and wait briefly for that: what is left is done by whoever opens the store next."""
        self._closing.set()
        concurrent.futures.wait(list(self._begun.values()), timeout=_PATIENCE)
        self._pool.close()


class _Alone:
    """The right to bring one backend up to date, among all processes that share the records."""

    def __init__(self, records: Records, name: str, wait: float) -> None:
        self._wait = wait
        self._lock: FileLock | None = None
        if records.folder is not None:
            path = records.folder / "locks" / f"recovery-{uuid.uuid5(uuid.NAMESPACE_OID, name).hex}.lock"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path)

    def __enter__(self) -> None:
        if self._lock is not None:
            try:
                self._lock.acquire(timeout=self._wait)
            except Timeout:
                raise _StoppedError("another process is at it") from None
            except OSError as error:
                raise BackendUnavailableError(f"The store's records cannot be locked: {error}.") from error

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
