"""A clock that moves only when told to (T-5)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock"]


class FakeClock:
    """A `e2i_fs.clock.Clock` that stands still until it is moved (T-5). Safe to share between threads.

    >>> from datetime import UTC, datetime, timedelta
    >>> from e2i_fs.testing import FakeClock
    >>> clock = FakeClock(datetime(2024, 3, 10, tzinfo=UTC))
    >>> clock.advance(timedelta(hours=1))
    >>> clock.now().hour, clock.monotonic()
    (1, 3600.0)
    """

    def __init__(self, start: datetime = datetime(2024, 1, 1, tzinfo=UTC)) -> None:
        self._lock = threading.Lock()
        self._now = start.astimezone(UTC) if start.tzinfo else start.replace(tzinfo=UTC)
        self._elapsed = timedelta(0)

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Return the seconds by which this clock has been advanced so far."""
        with self._lock:
            return self._elapsed.total_seconds()

    def advance(self, by: timedelta) -> None:
        """Move both clocks forward by ``by``. Raises ``ValueError`` for a negative duration."""
        if by < timedelta(0):
            raise ValueError(f"advance({by!r}): time does not run back; use set() to move the wall clock alone.")
        with self._lock:
            self._now += by
            self._elapsed += by

    def set(self, moment: datetime) -> None:
        """Set the wall clock to ``moment`` but not the monotonic one, as an operator or NTP would."""
        with self._lock:
            self._now = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
