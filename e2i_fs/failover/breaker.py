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
        self._lock = threading.Lock()
        self._state = Liveness.CLOSED
        self._in_a_row = 0
        self._recent: deque[tuple[float, bool]] = deque()
        self._openings = 0
        self._until = 0.0
        self._probing = False
        self._good_probes = 0

    @property
    def state(self) -> Liveness:
        """The state now; an opening that is over reads as half-open."""
        with self._lock:
            if self._state is Liveness.OPEN and self._monotonic() >= self._until:
                return Liveness.HALF_OPEN
            return self._state

    def retry_after(self) -> float:
        """Return in how many seconds a call may be let through again; 0 when it may now."""
        with self._lock:
            return max(0.0, self._until - self._monotonic()) if self._state is Liveness.OPEN else 0.0

    def allow(self) -> bool:
        """Return whether a call may be made now. A True must be followed by `success`, `failure` or `release`."""
        before = after = None
        with self._lock:
            if self._state in (Liveness.CLOSED, Liveness.OBSERVE_ONLY):
                return True
            if self._state is Liveness.ISOLATED:
                return False
            if self._state is Liveness.OPEN:
                if self._monotonic() < self._until:
                    return False
                before, after = self._state, Liveness.HALF_OPEN
                self._state, self._good_probes, self._probing = after, 0, False
            allowed = not self._probing
            self._probing = True
        if before is not None and after is not None:
            self._moved(before, after)
        return allowed

    def release(self) -> None:
        """Say that the allowed call ended in a way that tells nothing of liveness."""
        with self._lock:
            self._probing = False

    def success(self) -> None:
        """Say that the allowed call was answered."""
        closed = False
        with self._lock:
            self._in_a_row = 0
            self._probing = False
            if self._state is Liveness.HALF_OPEN:
                self._good_probes += 1
                if self._good_probes >= self._config.successes:
                    self._state, self._openings = Liveness.CLOSED, 0
                    self._recent.clear()
                    closed = True
            else:
                self._note(failed=False)
        if closed:
            self._moved(Liveness.HALF_OPEN, Liveness.CLOSED)

    def failure(self) -> None:
        """Say that the allowed call found the backend unavailable."""
        before = None
        with self._lock:
            self._probing = False
            self._in_a_row += 1
            self._note(failed=True)
            if self._state is Liveness.HALF_OPEN or (self._state is Liveness.CLOSED and self._tripped()):
                before = self._state
                self._state = Liveness.OPEN
                self._openings += 1
                self._in_a_row = 0
                self._recent.clear()
                wait = min(self._config.open_for * self._openings, self._config.longest)
                self._until = self._monotonic() + wait * (1 + self._config.jitter * (2 * self._chance() - 1))
        if before is not None:
            self._moved(before, Liveness.OPEN)

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
            before, self._state = self._state, state
            self._in_a_row = self._openings = 0
            self._probing = False
            self._recent.clear()
        if before is not state:
            self._moved(before, state)
