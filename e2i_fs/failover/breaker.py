"""Liveness: is a backend up? One small state machine on an injected clock; no call is made under its lock."""

from __future__ import annotations

import enum
import random
import threading
from collections import deque
from collections.abc import Callable

from e2i_fs.config import BreakerConfig

__all__ = ["Breaker", "Liveness"]


class Liveness(enum.StrEnum):
    """Whether calls are let through: all, none, one probe at a time, none by hand, or all without judging."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    ISOLATED = "isolated"
    OBSERVE_ONLY = "observe-only"


class Breaker:
    """Counts the failures that mean unavailable (X-2) and says whether a call may be tried (X-8).

    ``monotonic`` tells seconds; ``moved`` is called, outside the lock, with the state before and after.
    """

    def __init__(
        self,
        config: BreakerConfig,
        monotonic: Callable[[], float],
        moved: Callable[[Liveness, Liveness], None] = lambda before, after: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._monotonic = monotonic
        self._moved = moved
        self._chance = chance
        self.renew()
        self._state = Liveness.CLOSED
        self._in_a_row = 0
        self._recent: deque[tuple[float, bool]] = deque()
        self._openings = 0
        self._until = 0.0
        self._good_probes = 0
        self._spell = 1  # grows with every move, so that a call of an earlier spell is told apart

    def renew(self) -> None:
        """Begin anew what a forked child does not share: a probe under way is the parent's."""
        self._lock = threading.Lock()
        self._probing = False

    @property
    def state(self) -> Liveness:
        """The state now; an opening that is over reads as half-open."""
        with self._lock:
            if self._state is Liveness.OPEN and self._monotonic() >= self._until:
                return Liveness.HALF_OPEN
            return self._state

    def retry_after(self) -> float | None:
        """Return in how many seconds a call may be let through again; 0 when it may now, None when only `reset` lets one."""
        with self._lock:
            if self._state is Liveness.ISOLATED:
                return None
            return max(0.0, self._until - self._monotonic()) if self._state is Liveness.OPEN else 0.0

    def allow(self) -> int | None:
        """Return a permit if a call may be made now, else None.

        A permit must be given back with `success`, `failure` or `release`; one of an earlier spell (the breaker moved
        while the call was under way) says nothing of the present one and is ignored.
        """
        before = None
        with self._lock:
            if self._state in (Liveness.CLOSED, Liveness.OBSERVE_ONLY):
                return self._spell
            if self._state is Liveness.ISOLATED:
                return None
            if self._state is Liveness.OPEN:
                if self._monotonic() < self._until:
                    return None
                before = self._state
                self._move(Liveness.HALF_OPEN)
            permit = None if self._probing else self._spell
            self._probing = True
        if before is not None:
            self._moved(before, Liveness.HALF_OPEN)
        return permit

    def release(self, permit: int | None) -> None:
        """Say that the allowed call ended in a way that tells nothing of liveness."""
        with self._lock:
            if permit == self._spell:
                self._probing = False

    def success(self, permit: int | None) -> None:
        """Say that the allowed call was answered."""
        with self._lock:
            if permit != self._spell:
                return
            self._in_a_row = 0
            self._probing = False
            if self._state is not Liveness.HALF_OPEN:
                self._note(failed=False)
                return
            self._good_probes += 1
            if self._good_probes < self._config.successes:
                return
            self._openings = 0
            self._move(Liveness.CLOSED)
        self._moved(Liveness.HALF_OPEN, Liveness.CLOSED)

    def failure(self, permit: int | None) -> None:
        """Say that the allowed call found the backend unavailable."""
        with self._lock:
            if permit != self._spell:
                return
            before = self._state
            self._in_a_row += 1
            self._note(failed=True)
            if before is not Liveness.HALF_OPEN and not (before is Liveness.CLOSED and self._tripped()):
                return
            self._openings += 1
            self._move(Liveness.OPEN)
            wait = min(self._config.open_for * self._openings, self._config.longest)
            self._until = self._monotonic() + wait * (1 + self._config.jitter * (2 * self._chance() - 1))
        self._moved(before, Liveness.OPEN)

    def _move(self, state: Liveness) -> None:
        self._state = state
        self._spell += 1
        self._in_a_row = self._good_probes = 0
        self._probing = False
        self._recent.clear()

    def _note(self, *, failed: bool) -> None:
        now = self._monotonic()
        self._recent.append((now, failed))
        while self._recent and self._recent[0][0] < now - self._config.window:
            self._recent.popleft()

    def _tripped(self) -> bool:
        if self._in_a_row >= self._config.failures:
            return True
        failed = sum(1 for _, bad in self._recent if bad)
        return len(self._recent) >= self._config.calls and failed >= self._config.rate * len(self._recent)

    def isolate(self) -> None:
        """Let no call through until `reset`."""
        self._force(Liveness.ISOLATED)

    def observe(self) -> None:
        """Let every call through whatever happens, until `reset`."""
        self._force(Liveness.OBSERVE_ONLY)

    def reset(self) -> None:
        """Start anew, closed."""
        self._force(Liveness.CLOSED)

    def _force(self, state: Liveness) -> None:
        with self._lock:
            before = self._state
            self._openings = 0
            self._move(state)
        if before is not state:
            self._moved(before, state)
