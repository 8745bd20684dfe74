"""Hedged reads: while the first backend is slow, the next one is asked too, and the faster answer is given. Opt-in.

Only a backend that would answer unmarked is asked in this way, so the answer is the same whoever gives it (X-3).
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from e2i_fs.config import HedgeConfig
from e2i_fs.errors import E2IError
from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.budget import Budget
from e2i_fs.failover.member import UNAVAILABLE, Member
from e2i_fs.forks import renew_after_fork

__all__ = ["Hedge"]

T = TypeVar("T")
A = TypeVar("A")


class Hedge:
    """The budget of extra questions, and how many there were."""

    def __init__(self, config: HedgeConfig, monotonic: Callable[[], float]) -> None:
        self._config = config
        self._monotonic = monotonic
        self._budget = Budget(1.0)
        self._asked = 0
        self._twice: dict[str, int] = {}
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Have a lock that nobody holds."""
        self._lock = threading.Lock()

    def share(self, member: Member) -> float:
        """Return for what share of the reads this backend was asked beside another."""
        with self._lock:
            return self._twice.get(member.name, 0) / self._asked if self._asked else 0.0

    def applies(self, member: Member, others: list[Member]) -> bool:
        """Return whether a read of ``member`` may be hedged: it may be slow, and another is up."""
        if member.local:
            return False
        with self._lock:
            self._asked += 1
        self._budget.earn(self._config.ratio)
        return any(other.breaker.state is Liveness.CLOSED for other in others)

    def ask(
        self, member: Member, permit: int | None, work: Callable[[Any], T], other: Callable[[], A], limit: float | None
    ) -> tuple[T | None, A | None]:
        """Return what ``work`` gives on ``member``, or what ``other`` gives if that takes too long; None for the one not given.

        Raises what ``work`` raises unless the other one answered; then the breaker of ``member`` is told later how its call
        ended.
        """
        begun = self._monotonic()
        after = self._config.after if limit is None else min(self._config.after, limit)
        future = member.start(work)
        try:
            return member.wait(future, after, give_up=False), None
        except concurrent.futures.TimeoutError:
            pass  # slow: another one is asked as well, if the budget has it
        if self._budget.spend():
            try:
                answer = other()
            except E2IError:
                pass  # then it is the first one's answer, or its error
            else:
                _settle(member, permit, future)
                return None, answer
        # What the other one has taken is over too: one deadline covers both.
        return member.wait(
            future, None if limit is None else max(0.0, limit - max(after, self._monotonic() - begun))
        ), None

    def asked_beside(self, member: Member) -> None:
        """Count a read for which this backend is asked beside one that is slow, whether it answers or not."""
        with self._lock:
            self._twice[member.name] = self._twice.get(member.name, 0) + 1


def _settle(member: Member, permit: int | None, future: concurrent.futures.Future[Any]) -> None:
    """Tell the breaker how a call ended that nobody waits for any more."""

    def done(ended: concurrent.futures.Future[Any]) -> None:
        error = None if ended.cancelled() else ended.exception()
        if isinstance(error, UNAVAILABLE):
            member.breaker.failure(permit)
            member.looked_at.clear()
        elif error is None and not ended.cancelled():
            member.breaker.success(permit)
        else:
            member.breaker.release(permit)

    future.add_done_callback(done)
