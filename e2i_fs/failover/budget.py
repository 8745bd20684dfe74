"""A token bucket: how much extra work may be done beside what is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from e2i_fs.forks import renew_after_fork

__all__ = ["Budget"]


class Budget:
    """Holds at most ``burst`` tokens and begins full.

    It is filled by ``earn`` (a share of a token for each request) or by time (``per_second``); `spend` takes one.
    """

    def __init__(
        self, burst: float, monotonic: Callable[[], float] = lambda: 0.0, per_second: float = 0.0
    ) -> None:  # fmt: skip
        self._burst = burst
        self._tokens = burst
        self._monotonic = monotonic
        self._per_second = per_second
        self._at = monotonic()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Have a lock that nobody holds."""
        self._lock = threading.Lock()

    def earn(self, share: float) -> None:
        """Add a share of a token."""
        with self._lock:
            self._tokens = min(self._burst, self._tokens + share)

    def spend(self) -> bool:
        """Take a token; False when there is none."""
        with self._lock:
            if self._per_second:
                now = self._monotonic()
                self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
                self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
