"""When something runs: every so often, or as a cron line says. Two values and one meaning, whoever runs it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from e2i_fs.clock import from_us, to_us
from e2i_fs.errors import did_you_mean
from e2i_fs.ops.cron import Cron, parse_cron

__all__ = ["ANCHOR", "At", "Every", "Trigger", "counted_from", "longest_gap", "trigger_of", "zone_named"]

ANCHOR = datetime(1970, 1, 4, tzinfo=UTC)  # a Sunday, 0:00 UTC
_SET_BACK = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Every:
    """Every ``period``, counted from Sunday 0:00 UTC, and ``offset`` after it; whenever a process began.

    So six hours are 0:00, 6:00, 12:00 and 18:00 UTC, whatever the time zone and its summer time.

    >>> Every(timedelta(hours=6)).next_after(datetime(2024, 3, 10, 7, tzinfo=UTC))
    datetime.datetime(2024, 3, 10, 12, 0, tzinfo=datetime.timezone.utc)
    """

    period: timedelta
    offset: timedelta = timedelta(0)

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after ``moment``, in UTC."""
        period, first = self.period // _MICROSECOND, to_us(ANCHOR) + self.offset // _MICROSECOND
        return from_us(first + ((to_us(moment) - first) // period + 1) * period)

    def __str__(self) -> str:
        return f"every {_told(self.period)}"


@dataclass(frozen=True, slots=True)
class At:
    """When a cron line says, on the clocks of the time zone called ``zone``."""

    cron: Cron
    zone: str = "UTC"

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after ``moment``, in UTC."""
        return self.cron.next_after(moment, zone_named(self.zone))

    def __str__(self) -> str:
        return f"{self.cron.text} ({self.zone})"


Trigger = Every | At


def trigger_of(period: timedelta, cron: str | None, zone: str) -> Trigger:
    """Return the trigger of a cron line on the clocks of ``zone``, or, without one, of a period.

    >>> str(trigger_of(timedelta(hours=6), None, "UTC")), str(trigger_of(timedelta(hours=6), "0 2 * * *", "Europe/Zurich"))
    ('every 6 h', '0 2 * * * (Europe/Zurich)')
    """
    return Every(period) if cron is None else At(parse_cron(cron), zone)


def counted_from(last: datetime, now: datetime) -> datetime:
    """Return from when the next time counts, for what last was at ``last``: the trigger's first time after it is due.

    That is ``last`` itself, so however many times have passed since, it is due once. Where that is more than a minute after
    ``now``, the clock was set back, and it is ``now``: keep it, or it moves on with the clock, and nothing is ever due.

    >>> counted_from(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC)).day
    1
    """
    return now if last - now > _SET_BACK else last


def longest_gap(trigger: Trigger) -> timedelta:
    """Return the longest time between two of the next times, as far as fifty of them tell."""
    if isinstance(trigger, Every):
        return trigger.period
    times = list(_first(trigger, 50))
    return max(after - before for before, after in itertools.pairwise(times))


def zone_named(name: str) -> tzinfo:
    """Return a time zone by its IANA name. Raises `ValueError` with the nearest names.

    >>> zone_named("UTC")
    datetime.timezone.utc
    """
    if name == "UTC":
        return UTC
    known = available_timezones()
    if name not in known:
        advice = did_you_mean(name, known).strip() if known else "This machine has none: pip install tzdata."
        raise ValueError(f"no time zone is called {name!r} ({advice})")
    return ZoneInfo(name)


def _first(trigger: Trigger, count: int) -> Iterator[datetime]:
    moment = ANCHOR
    for _ in range(count):
        moment = trigger.next_after(moment)
        yield moment


def _told(period: timedelta) -> str:
    seconds = period.total_seconds()
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit and (seconds / unit).is_integer():
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"
