"""The one clock (T-5). Nothing else in the package reads the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from e2i_fs.errors import BackendDataError, ConfigError

__all__ = ["Clock", "SystemClock", "as_clock", "from_us", "tells_us", "to_us"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Return a time as whole microseconds since the Unix epoch; a naive one is read as UTC (T-1).

    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Return microseconds since the Unix epoch as an aware UTC time.

    >>> from_us(1_000_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.timezone.utc)
    """
    try:
        return _EPOCH + microseconds * _MICROSECOND
    except OverflowError as error:
        raise BackendDataError(
            f"A stored time is {microseconds} microseconds from 1970, which lies outside the years 1 to 9999. Mend the "
            "source; a missing value says 'unknown' better than a far date."
        ) from error


@runtime_checkable
class Clock(Protocol):
    """The source of time: the present moment (aware, UTC), and for durations seconds that never go back (T-5).

    >>> from e2i_fs import Clock
    >>> from e2i_fs.clock import SystemClock
    >>> from e2i_fs.testing import FakeClock
    >>> isinstance(FakeClock(), Clock), isinstance(SystemClock(), Clock)
    (True, True)
    """

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never less than before."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since some fixed moment."""
        return time.monotonic()


def tells_us(clock: Clock) -> Callable[[], int]:
    """Return a function that gives the present moment of ``clock`` as whole microseconds since the Unix epoch.

    The machine's own clock counts from there anyway, so it is asked without making a date first.

    >>> tells_us(as_clock(lambda: datetime(1970, 1, 1, 0, 0, 1)))()
    1000000
    """
    if type(clock) is SystemClock:
        return lambda: time.time_ns() // 1000
    return lambda: to_us(clock.now())


class _CalledClock(SystemClock):
    def __init__(self, tell: Callable[[], datetime]) -> None:
        self._tell = tell

    def now(self) -> datetime:
        moment = self._tell()
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def as_clock(clock: Clock | Callable[[], datetime] | None) -> Clock:
    """Return ``clock`` as a `Clock`: one already, a function that tells the time, or None for the machine's."""
    if clock is None:
        return SystemClock()
    if isinstance(clock, Clock):
        return clock
    if callable(clock):
        return _CalledClock(clock)
    raise ConfigError(f"clock={clock!r}: give an object with now() and monotonic(), or a function that returns a time.")
