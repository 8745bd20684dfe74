"""The schedule as cron lines: exactly what it means, or an error, never nearly."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import timedelta

from e2i_fs.errors import RequestError
from e2i_fs.ops.cron import Cron, parse_cron
from e2i_fs.ops.schedule import Entry
from e2i_fs.ops.triggers import ANCHOR, At, Every

__all__ = ["crontab", "weekly"]

_WEEK = timedelta(days=7)
_MINUTE = timedelta(minutes=1)
_MOST = 60  # lines of one entry


def crontab(schedule: Sequence[Entry], command: Sequence[str]) -> str:
    """Return a crontab that runs ``command`` with ``--run NAME`` for each entry.

    Raises `RequestError` for what cron cannot do: a period that does not divide a week in whole minutes.
    """
    lines = [
        "# e2i_fs: the schedule of its configuration. cron makes up for no run that it missed while the machine was off.",
        "# CRON_TZ is read by cronie; Debian's cron takes the machine's own time zone, which must be this one there.",
    ]
    zone = ""
    for entry in sorted(schedule, key=_zone):
        if _zone(entry) != zone:
            zone = _zone(entry)
            lines.append(f"CRON_TZ={zone}")
        words = " ".join(shlex.quote(_one_line(word)) for word in [*command, "--run", entry.name])
        lines += [f"{cron.text} {words.replace('%', chr(92) + '%')}" for cron in _crons(entry)]
    return "\n".join(lines) + "\n"


def weekly(trigger: Every) -> list[Cron]:
    """Return the cron lines, in UTC, that together are ``trigger``; none when cron lines cannot say it.

    >>> [cron.text for cron in weekly(Every(timedelta(hours=6)))], weekly(Every(timedelta(hours=5)))
    (['0 */6 * * *'], [])
    """
    if _WEEK % trigger.period or trigger.period % _MINUTE or trigger.offset % _MINUTE:
        return []
    week: dict[int, dict[int, list[int]]] = {}
    moment = ANCHOR - timedelta(microseconds=1)
    while (moment := trigger.next_after(moment)) < ANCHOR + _WEEK:
        week.setdefault(moment.isoweekday() % 7, {}).setdefault(moment.hour, []).append(moment.minute)
    alike: dict[tuple[tuple[int, tuple[int, ...]], ...], list[int]] = {}
    for weekday, hours in week.items():
        alike.setdefault(tuple((hour, tuple(minutes)) for hour, minutes in hours.items()), []).append(weekday)
    lines = []
    for day, weekdays in alike.items():
        by_minutes: dict[tuple[int, ...], list[int]] = {}
        for hour, minutes in day:
            by_minutes.setdefault(minutes, []).append(hour)
        for minutes, hours_alike in by_minutes.items():
            days = "*" if len(weekdays) == 7 else ",".join(map(str, weekdays))
            lines.append(parse_cron(f"{_field(minutes, 60)} {_field(hours_alike, 24)} * * {days}"))
    return lines if len(lines) <= _MOST else []


def _crons(entry: Entry) -> list[Cron]:
    if isinstance(entry.trigger, At):
        return [entry.trigger.cron]
    lines = weekly(entry.trigger)
    if not lines:
        raise RequestError(
            f"{entry.name} runs {entry.trigger}, which cron lines cannot say: it does not divide a week in whole minutes. Give a "
            "period that does (such as 4 or 6 hours), or a cron line in the settings; or use `e2i-fs schedule`, "
            "`--print timers` or Celery, which can."
        )
    return lines


def _zone(entry: Entry) -> str:
    return entry.trigger.zone if isinstance(entry.trigger, At) else "UTC"


def _field(numbers: Iterable[int], count: int) -> str:
    """Return the shortest cron field that names ``numbers`` of ``count``."""
    values = sorted(numbers)
    if values == list(range(count)):
        return "*"
    step = values[1] - values[0] if len(values) > 1 else 0
    if len(values) < 3 or values != list(range(values[0], values[-1] + 1, step)):
        return ",".join(map(str, values))
    if values == list(range(0, count, step)):
        return f"*/{step}"
    return f"{values[0]}-{values[-1]}" + (f"/{step}" if step > 1 else "")


def _one_line(word: str) -> str:
    if "\n" in word or "\r" in word:
        raise RequestError(f"{word!r} has a line break in it, which a crontab cannot hold; use another path.")
    return word
