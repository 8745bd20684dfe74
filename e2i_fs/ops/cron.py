"""Cron lines: the five fields of crontab(5), checked when they are read, and the moments that they name.

As in crontab(5): Sunday is 0 or 7, and when both the day of the month and the day of the week are given (neither
begins with ``*``) a day needs to be one of them only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

__all__ = ["Cron", "parse_cron"]

_EXAMPLE = "such as '30 2 * * *', every day at 2:30"
_NAMES = {
    "month": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    "day of week": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
_FIELDS = {"minute": (0, 59), "hour": (0, 23), "day of month": (1, 31), "month": (1, 12), "day of week": (0, 7)}
_PART = re.compile(r"(\*|\w+(?:-\w+)?)(?:/(\w+))?")
_HOURS = frozenset(range(24))
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_LONGEST = 366 * 9  # days: from 29 February to the next one, where a century has none


@dataclass(frozen=True, slots=True)
class Cron:
    """One cron line: its text, and the numbers that each field names (days of the week from 0, Sunday, to 6).

    >>> parse_cron("30 2 * * mon-fri").next_after(datetime(2024, 3, 9, tzinfo=UTC), UTC)
    datetime.datetime(2024, 3, 11, 2, 30, tzinfo=datetime.timezone.utc)
    """

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool  # a day of the month or of the week will do

    def next_after(self, moment: datetime, zone: tzinfo) -> datetime:
        """Return the first time after ``moment`` that the line names on the clocks of ``zone``, in UTC.

        Where clocks are put forward, what is named in the missing hour comes when they are; where they are put back, it
        comes once, in the first of the two hours. A line of every hour (``*``) comes as often as the hours do.
        """
        after = moment.astimezone(UTC)
        if self.hours == _HOURS:
            return self._by_the_minute(after, zone)
        day = after.astimezone(zone).date() - _DAY
        for _ in range(_LONGEST):
            if self._names(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        found = _instant(datetime.combine(day, time(hour, minute)), zone)
                        if found > after:
                            return found
            day += _DAY
        raise ValueError(f"{self.text!r} never comes")

    def _by_the_minute(self, after: datetime, zone: tzinfo) -> datetime:
        """Return the first minute after ``after`` whose day and minute are named."""
        found = after.replace(second=0, microsecond=0) + _MINUTE
        last = found + _DAY * _LONGEST
        while found < last:
            local = found.astimezone(zone)
            if not self._names(local.date()):
                found = max(_instant(datetime.combine(local.date() + _DAY, time()), zone), found + _MINUTE)
            elif local.minute not in self.minutes:
                found += _MINUTE
            else:
                return found
        raise ValueError(f"{self.text!r} never comes")

    def _names(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week


def parse_cron(text: str) -> Cron:
    """Return a cron line read. Raises `ValueError` that says which field is wrong, and what could stand there.

    >>> parse_cron("0 25 * * *")
    Traceback (most recent call last):
    ValueError: in '0 25 * * *' the hour is '25'; give 0 to 23, * or a list, a range or a step of these, such as '*/6'
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(fields)} field{'s' * (len(fields) != 1)} and not five: minute, hour, day of month, month, day of "
            f"week; give a cron line {_EXAMPLE}"
        )
    minutes, hours, days, months, weekdays = (
        _numbers(text, name, said) for name, said in zip(_FIELDS, fields, strict=True)
    )
    either_day = not fields[2].startswith("*") and not fields[4].startswith("*")
    cron = Cron(" ".join(fields), minutes, hours, days, months, frozenset(day % 7 for day in weekdays), either_day)
    if not cron.either_day and not _ever(days, months):
        raise ValueError(f"{text!r} never comes, for none of its months has such a day; give a cron line {_EXAMPLE}")
    return cron


def _ever(days: frozenset[int], months: frozenset[int]) -> bool:
    longest = {4: 30, 6: 30, 9: 30, 11: 30, 2: 29}
    return any(min(days) <= longest.get(month, 31) for month in months)


def _numbers(text: str, name: str, said: str) -> frozenset[int]:
    low, high = _FIELDS[name]
    found: set[int] = set()
    for part in said.split(","):
        read = _PART.fullmatch(part)
        whole, step = (read[1], read[2]) if read else (None, None)
        if whole is None:
            raise _wrong(text, name, part)
        if whole == "*":
            first, last = low, min(high, 6) if name == "day of week" else high
        else:
            ends = [_number(text, name, part, word) for word in whole.split("-")]
            first, last = ends[0], ends[-1]
            if len(ends) == 1 and step is not None:
                raise ValueError(
                    f"in {text!r} the {name} {part!r} has a step without a range; give '{first}-{high}/{step}' or '*/{step}'"
                )
        if first > last:
            raise ValueError(
                f"in {text!r} the {name} {part!r} ends before it begins; give two ranges, with a comma between"
            )
        if step is not None and (not step.isdecimal() or not 0 < int(step) <= high):
            raise ValueError(
                f"in {text!r} the {name} {part!r} has the step {step!r}; give a whole number from 1 to {high}"
            )
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, name: str, part: str, word: str) -> int:
    low, high = _FIELDS[name]
    names = _NAMES.get(name, [])
    if word.lower() in names:
        return names.index(word.lower()) + (name == "month")
    if not (word.isascii() and word.isdecimal()) or not low <= int(word) <= high:
        raise _wrong(text, name, part)
    return int(word)


def _wrong(text: str, name: str, part: str) -> ValueError:
    low, high = _FIELDS[name]
    names = _NAMES.get(name)
    named = f" (or {names[0]} to {names[-1]})" if names else ""
    step = max(2, high // 4 + 1)
    return ValueError(
        f"in {text!r} the {name} is {part!r}; give {low} to {high}{named}, * or a list, a range or a step of these, such as '*/{step}'"
    )


def _instant(local: datetime, zone: tzinfo) -> datetime:
    """Return when the clocks of ``zone`` show ``local`` for the first time; where they never do, when they skip it."""
    found = local.replace(tzinfo=zone).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == local:
        return found
    earlier = local.replace(tzinfo=zone, fold=1).astimezone(UTC)  # by the offset of after the skip: still before it
    before = earlier.astimezone(zone).utcoffset()
    while found - earlier > timedelta(seconds=1):
        middle = (earlier + (found - earlier) / 2).replace(microsecond=0)
        if middle in (earlier, found):
            break
        if middle.astimezone(zone).utcoffset() == before:
            earlier = middle
        else:
            found = middle
    return found
