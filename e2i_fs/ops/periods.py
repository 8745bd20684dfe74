"""How far back a question about the past looks."""

from __future__ import annotations

from datetime import datetime

from e2i_fs.clock import to_us
from e2i_fs.errors import RequestError

__all__ = ["since_us"]

_LONGEST = 36_500.0  # a century


def since_us(now: datetime, days: float) -> int:
    """Return the moment ``days`` before ``now``, in microseconds since the Unix epoch.

    Raises `RequestError` unless ``days`` is a number above 0 and at most 36,500.

    >>> from datetime import UTC
    >>> since_us(datetime(1970, 1, 2, tzinfo=UTC), 0.5) // 1_000_000
    43200
    """
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= _LONGEST:
        raise RequestError(f"days is {days!r}; give a number of days above 0, and at most {_LONGEST:,.0f}.")
    return to_us(now) - round(days * 86_400_000_000)
