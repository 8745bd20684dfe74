"""The schedule as systemd units: one service that runs all the time, or a timer and a service for each entry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from e2i_fs.errors import RequestError
from e2i_fs.ops.cron import Cron
from e2i_fs.ops.crontab import weekly
from e2i_fs.ops.schedule import Entry
from e2i_fs.ops.triggers import At, Every

__all__ = ["Place", "service", "timers"]

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


@dataclass(frozen=True, slots=True)
class Place:
    """How the units run: the words of the command, absolute; the user; the folder; seconds that they get to end."""

    command: Sequence[str]
    user: str
    folder: str
    grace: float


def service(place: Place) -> dict[str, str]:
    """Return the unit of a service that runs the whole schedule, by its file's name."""
    text = f"""[Unit]
Description=e2i_fs: materialises features and checks their freshness by schedule
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={_words(place.command)}
{_common(place)}
Restart=on-failure
RestartSec=30
# A run that is under way may end first; one that could not is taken up again.
TimeoutStopSec={place.grace + 30:.0f}

[Install]
WantedBy=multi-user.target
"""
    return {"e2i-fs-schedule.service": text}


def timers(place: Place, schedule: Sequence[Entry]) -> dict[str, str]:
    """Return a service and a timer for each entry, by their files' names."""
    units: dict[str, str] = {}
    for entry in schedule:
        name = f"e2i-fs-{_unit_name(entry.name)}"
        units[f"{name}.service"] = f"""[Unit]
Description=e2i_fs: {_text(entry.name)}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={_words([*place.command, "--run", entry.name])}
{_common(place)}
"""
        units[f"{name}.timer"] = f"""[Unit]
Description=e2i_fs: {_text(entry.name)}, {_text(str(entry.trigger))}

[Timer]
{_when(entry)}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
    return units


def _common(place: Place) -> str:
    return f"User={_text(place.user)}\nWorkingDirectory={_text(place.folder)}"


def _when(entry: Entry) -> str:
    """Return the lines of a timer. What the calendar cannot say is counted from the run before."""
    if isinstance(entry.trigger, At):
        calendar = _calendar(entry.trigger.cron, entry.trigger.zone)
    else:
        calendar = [line for cron in weekly(entry.trigger) for line in _calendar(cron, "UTC")]
    if calendar:
        # One that was missed while the machine was off is made up for, once.
        return "\n".join([*(f"OnCalendar={line}" for line in calendar), "Persistent=true"])
    assert isinstance(entry.trigger, Every)
    return f"# No calendar says this: it counts from when the timer began, and then from each run.\nOnActiveSec={_span(entry.trigger.offset)}\nOnUnitActiveSec={_span(entry.trigger.period)}"


def _calendar(cron: Cron, zone: str) -> list[str]:
    """Return systemd's calendar lines for a cron line; two where either kind of day will do."""
    months = _numbers(cron.months, 12, 1)
    days = _numbers(cron.days, 31, 1)
    weekdays = "" if len(cron.weekdays) == 7 else ",".join(_WEEKDAYS[n] for n in sorted(cron.weekdays)) + " "
    at = f"{_numbers(cron.hours, 24, 0)}:{_numbers(cron.minutes, 60, 0)}:00 {zone}"
    if cron.either_day:
        return [f"*-{months}-{days} {at}", f"{weekdays}*-{months}-* {at}"]
    return [f"{weekdays}*-{months}-{days} {at}"]


def _numbers(values: Iterable[int], count: int, first: int) -> str:
    chosen = sorted(values)
    return "*" if chosen == list(range(first, first + count)) else ",".join(f"{n:02}" for n in chosen)


def _span(period: timedelta) -> str:
    return f"{period.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"


def _words(words: Iterable[str]) -> str:
    """Return an ExecStart: each word as systemd reads it back, its quotes, %-specifiers and variables escaped."""
    first, *rest = words
    if set(first) & set("\"'\\"):
        raise RequestError(f"systemd runs no program whose path has quotes or backslashes in it, as {first!r} has.")
    return " ".join([_quoted(first), *(_quoted(word).replace("$", "$$") for word in rest)])


def _quoted(word: str) -> str:
    escaped = _text(word).replace("\\", "\\\\").replace('"', '\\"')
    return escaped if re.fullmatch(r"[\w./:@=,+%-]+", escaped) else f'"{escaped}"'


def _text(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise RequestError(f"{text!r} has a line break in it, which a systemd unit cannot hold; use another path.")
    return text.replace("%", "%%")


def _unit_name(name: str) -> str:
    """Return a name as a part of a unit's; what may not stand there is escaped as systemd-escape does."""
    return "".join(c if re.fullmatch(r"[A-Za-z0-9_.]", c) else "-" if c == ":" else _escaped(c) for c in name)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
