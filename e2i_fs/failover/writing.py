"""Writing to several backends: journalled first, then done wherever it can be done in order (X-4, X-5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from e2i_fs.backend import Backend
from e2i_fs.catalog import Catalog
from e2i_fs.config import FailoverConfig
from e2i_fs.entries import Entry, Perform
from e2i_fs.errors import (
    BackendUnavailableError,
    E2IError,
    NoEligibleBackendError,
    RequestError,
    RunOverlapError,
    UnsupportedError,
)
from e2i_fs.failover.authority import as_it_counts
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.journal import Journal
from e2i_fs.failover.member import UNAVAILABLE, Member
from e2i_fs.failover.parity import Parity
from e2i_fs.failover.replay import Recovery
from e2i_fs.failover.said import listed, retry_after, when
from e2i_fs.results import Attempt
from e2i_fs.routing import Outcome

__all__ = ["Writer"]


class _Behind(Exception):
    """The backend gets this write by replay, after those it has not yet taken: why."""


class Writer:
    """Does entries on the members, each in its turn."""

    def __init__(
        self, members: Sequence[Member], journal: Journal, recovery: Recovery, perform: Perform, config: FailoverConfig,
        authority: Callable[[], Catalog | None],
    ) -> None:  # fmt: skip
        self._members = members
        self._journal = journal
        self._recovery = recovery
        self._perform = perform
        self._config = config
        self._authority = authority

    def write(self, entry: Entry) -> list[Outcome]:
        """Journal ``entry``, then do it on every backend that has all writes before it; the others get it by replay.

        One that is behind, while nobody has the write yet, is brought up to date first, as far as ``write_deadline`` allows;
        who must wait for another thread or process that is at it comes after those that need not. Raises the error of the
        first backend when it fails for another reason than being down, `NoEligibleBackendError` when nobody took the write.
        """
        names = [member.name for member in self._members]
        seq, new = self._journal.begin(entry, names)
        outcomes: dict[str, Outcome] = {}
        called = False
        try:
            for wait in (False, True):
                for member in self._members:
                    taken = any(o.error is None for o in outcomes.values())
                    if wait and (taken or not self._is_behind(member, entry.view, seq)):
                        continue  # it was asked already, or gets the write by replay
                    try:
                        value = self._write_one(member, entry, seq, taken=taken, wait=wait)
                    except _Behind as behind:
                        outcomes[member.name] = Outcome(member.name, error=BackendUnavailableError(str(behind)))
                        continue
                    except UNAVAILABLE as error:
                        called = True
                        self._journal.doubt(seq)
                        outcomes[member.name] = Outcome(member.name, error=error)
                        continue
                    except E2IError as error:
                        if not taken:
                            raise
                        outcomes[member.name] = Outcome(member.name, error=error)
                        continue
                    outcomes[member.name] = Outcome(member.name, value)
        except (RequestError, UnsupportedError, RunOverlapError):
            if new and not called and not any(o.error is None for o in outcomes.values()):
                self._journal.forget(entry.view, seq)  # refused before any backend took any of it
            raise
        finally:
            self._end(entry.view, seq)
        told = [outcomes[name] for name in names]
        if all(o.error is not None for o in told):
            gone = new and not called and self._journal.forget(entry.view, seq)
            raise self._refused(entry, told, called=not gone)
        return told

    def _end(self, view: str, seq: int) -> None:
        try:
            self._journal.end(view, seq)
        except BackendUnavailableError as error:
            raise BackendUnavailableError(
                f"The write to {view!r} is not acknowledged, though it may have arrived, and is then done everywhere: "
                f"{error} Write it again, with the same idempotency key."
            ) from error

    def _refused(self, entry: Entry, outcomes: Sequence[Outcome], *, called: bool) -> NoEligibleBackendError:
        attempts = [Attempt(o.backend, "failed", 0.0, f"{type(o.error).__name__}: {o.error}") for o in outcomes]
        retry = retry_after(m.breaker for m in self._members)
        done = (
            "is not acknowledged, though it may have arrived and is then done everywhere"
            if called
            else "was not done anywhere"
        )
        made = NoEligibleBackendError(
            f"No backend took the write to {entry.view!r}, which {done}. {listed(attempts)} Write it again, "
            f"with the same idempotency key. {when(retry)}",
            attempts,
            retry,
        )
        made.__cause__ = outcomes[0].error
        return made

    def _write_one(self, member: Member, entry: Entry, seq: int, *, taken: bool, wait: bool) -> object:
        """Write to one backend, note that it has it, and return what the receipt needs.

        One that is behind raises `_Behind`: at once when the write is ``taken`` elsewhere, else when it cannot be brought
        up to date in time, with ``wait`` also by whoever is at it.
        """
        view = entry.view
        limit = self._config.run_deadline if entry.is_run else self._config.write_deadline
        if self._is_behind(member, view, seq):
            if taken:  # this one gets it in its turn
                self._recovery.nudge(member)
                raise _Behind(
                    f"Backend {member.name!r} has missed earlier writes; this one is replayed to it after them."
                )
            if member.breaker.state in (Liveness.OPEN, Liveness.ISOLATED):
                raise _Behind(f"Backend {member.name!r} has missed earlier writes, and is not called now.")
            patience = min(limit, 60.0) if wait else 0
            came = self._recovery.catch_up(member, [view], limit=limit, wait=patience, rebuild=None)
            if self._is_behind(member, view, seq):
                why = f" {came.error}" if came.error else ""
                raise _Behind(f"Backend {member.name!r} has missed earlier writes.{why}")
        permit = member.breaker.allow()
        if permit is None:
            raise _Behind(f"Backend {member.name!r} is not called while its breaker is {member.breaker.state}.")

        def work(backend: Backend) -> tuple[object, int, int, int]:
            self._check_defined(member, backend, entry)
            self._recovery.look(member, backend, [view])
            quarantines = self._journal.standing(member.name, view).quarantines
            if self._is_behind(member, view, seq):
                raise _Behind(f"Backend {member.name!r} has lost its rows; it gets this write when it was rebuilt.")
            # Read before the write: what others take meanwhile is then no reason to think that rows were lost.
            before = self._journal.reached(member.name, view)
            value = self._perform(entry, member.name, backend)
            return value, before, backend.position(view).sequence, quarantines

        try:
            value, before, reached, quarantines = member.call(work, limit, writes=True)
        except UNAVAILABLE:
            member.breaker.failure(permit)
            raise
        except _Behind:
            member.breaker.success(permit)
            self._recovery.nudge(member)
            raise
        except BaseException:
            member.breaker.release(permit)
            raise
        member.breaker.success(permit)
        self._journal.applied(member.name, view, seq, reached, quarantines)
        if self._recovery.compare(member, view, before, reached):
            member.looked_at.discard(view)
        elif entry.is_run:
            self._journal.strike_runs(member.name, view, entry.kind, seq)
        return value

    def _check_defined(self, member: Member, backend: Backend, entry: Entry) -> None:
        """Raise `_Behind` for a backend whose definition is not the one that counts: it gets the write when it is applied."""
        authority = self._authority()
        if authority is None or entry.view not in authority.views:
            return
        expected = authority.fingerprint(entry.view)
        if entry.details.get("fingerprint", expected) != expected:
            return  # the batch was checked against another one, which is for the caller to know
        if not as_it_counts(authority, backend.definitions(), entry.view):
            raise _Behind(
                f"Backend {member.name!r} has another definition of the view; apply it, and it gets this write."
            )

    def _is_behind(self, member: Member, view: str, seq: int) -> bool:
        facts = self._journal.facts()
        return facts.standing(member.name, view).parity is Parity.DIVERGED or facts.missed_before(
            member.name, view, seq
        )
