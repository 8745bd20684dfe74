"""Exercising the standby while nothing is wrong: sampled reads repeated off the hot path and compared (X-10)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock
from e2i_fs.config import FailoverConfig
from e2i_fs.errors import E2IError, ThrottledError
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.budget import Budget
from e2i_fs.failover.journal import Journal
from e2i_fs.failover.member import Member
from e2i_fs.failover.replay import Recovery
from e2i_fs.forks import renew_after_fork
from e2i_fs.pool import DaemonPool
from e2i_fs.question import Question

__all__ = ["Shadow"]


class Shadow:
    """Compares a sampled share of answers with those of another backend, in one thread of its own.

    What cannot be compared fairly (a write in between, a backend that fails or lags) is counted apart from what
    is equal. A difference that stands when both are asked again quarantines the standby for the view.
    """

    def __init__(
        self,
        members: Sequence[Member],
        journal: Journal,
        recovery: Recovery,
        config: FailoverConfig,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._members = members
        self._journal = journal
        self._recovery = recovery
        self._config = config
        self._chance = chance
        self._budget = Budget(max(1.0, config.shadow_per_second), clock.monotonic, config.shadow_per_second)
        self._pool = DaemonPool("e2i_fs shadow", 1)
        self.renew()
        renew_after_fork(self)
        self._counts: dict[str, Counter[str]] = {}

    def renew(self) -> None:
        """Begin anew in a forked child."""
        self._lock = threading.Lock()

    def counts(self, backend: str) -> dict[str, int]:
        """Return how many comparisons with this backend matched, mismatched and were incomparable."""
        with self._lock:
            return dict(self._counts.get(backend, {}))

    def maybe_compare(
        self, served: Member, question: Question[Any, Any], catalog: Catalog, query: Any, value: Any, views: list[str]
    ) -> None:
        """Compare this answer with another backend's if chance has it so. Never waits, never raises."""
        if self._chance() >= self._config.shadow_rate or not self._budget.spend():
            return
        for other in self._members:
            if other is not served:
                try:
                    self._pool.submit(partial(self._compare, served, other, question, catalog, query, value, views))
                except ThrottledError:
                    return  # the last comparison is still running: this read is simply not sampled
                return

    def _compare(
        self,
        served: Member,
        other: Member,
        question: Question[Any, Any],
        catalog: Catalog,
        query: Any,
        value: Any,
        views: list[str],
    ) -> None:
        before = self._stand(served, other, views)
        if (
            before is None
            or other.breaker.state is not Liveness.CLOSED
            or question.same is None
            or question.again is None
        ):
            self._count(other, "incomparable")
            return
        try:
            own = other.backend.definitions()
            if any(not own.has(v) or own.fingerprint(v) != catalog.fingerprint(v) for v in views):
                self._count(other, "incomparable")
                return
            # Both for one moment: a row whose time comes between two moments is no difference.
            same = question.same(value, question.again(other.backend, catalog, query, value))
            if not same:
                # Ask both again: a write may have come between the first two answers.
                value = question.answer(served.backend, catalog, query)
                same = question.same(value, question.again(other.backend, catalog, query, value))
        except E2IError:
            self._count(other, "incomparable")
            return
        if before != self._stand(served, other, views):
            self._count(other, "incomparable")
        elif same:
            self._count(other, "matched")
        else:
            suspect = other if other.role != "primary" else served
            for view in views:
                why = f"a sampled read differed from {(served if suspect is other else other).name!r}'s"
                self._recovery.quarantine(suspect, view, "differs", why)
            self._count(other, "mismatched")

    def _stand(self, served: Member, other: Member, views: list[str]) -> tuple[Any, ...] | None:
        """Return where both backends stand on the views; None when a write is missed or under way, or rows are known to be wrong.

        A backend whose rows are known to be wrong says nothing of the other's.
        """
        facts = self._journal.facts()
        stand: list[int] = []
        for member in (served, other):
            for view in views:
                standing = facts.standing(member.name, view)
                if facts.pending(member.name, view) or standing.diverged is not None:
                    return None
                stand += standing.position, standing.quarantines
        return tuple(stand)

    def _count(self, member: Member, what: str) -> None:
        with self._lock:
            self._counts.setdefault(member.name, Counter({"matched": 0, "mismatched": 0, "incomparable": 0}))[what] += 1

    def close(self) -> None:
        """Let the thread end."""
        self._pool.close()
