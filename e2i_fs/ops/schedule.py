"""The schedule: what is to be done when, of the settings alone. Every scheduler derives from this one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from e2i_fs.errors import RequestError, did_you_mean
from e2i_fs.ops.settings import MaterializationConfig
from e2i_fs.ops.triggers import Every, Trigger, trigger_of

__all__ = ["FRESHNESS_CHECK", "FULL", "INCREMENTAL", "Entry", "entries", "entry_named"]

INCREMENTAL = "incremental"
FULL = "full"
FRESHNESS_CHECK = "freshness_check"

_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the schedule: a task of `e2i_fs.ops.tasks`, for which views, and when.

    ``task`` is ``incremental``, ``full`` or ``freshness_check``. ``views`` are those it is for; when empty, all that are
    online when it runs but for those in ``without``, so a view that is applied tomorrow is part of it.
    """

    name: str
    task: str
    trigger: Trigger
    views: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def entries(settings: MaterializationConfig) -> list[Entry]:
    """Return the schedule that ``settings`` say.

    Views with a schedule of their own have an entry each, named ``incremental:VIEW``; the others are one. Entries that
    run every so often begin at different minutes, so that they do not meet where they need not; cron lines stay as given.

    >>> for entry in entries(MaterializationConfig()):
    ...     print(entry.name, entry.trigger, entry.trigger.offset)
    incremental every 6 h 0:00:00
    full every 7 d 0:20:00
    freshness_check every 4 h 0:40:00
    """
    schedule, zone = settings.schedule, settings.schedule.timezone
    own = tuple(sorted(name for name, view in settings.freshness.views.items() if view.has_own_schedule))
    found = [Entry(INCREMENTAL, INCREMENTAL, settings.incremental_trigger(), without=own)]
    found += [Entry(f"{INCREMENTAL}:{v}", INCREMENTAL, settings.incremental_trigger(v), views=(v,)) for v in own]
    found.append(Entry(FULL, FULL, trigger_of(timedelta(days=schedule.full_every_days), schedule.full_cron, zone)))
    check = trigger_of(timedelta(hours=schedule.freshness_check_every_hours), schedule.freshness_check_cron, zone)
    found.append(Entry(FRESHNESS_CHECK, FRESHNESS_CHECK, check))
    return [replace(entry, trigger=_apart(entry.trigger, n, len(found))) for n, entry in enumerate(found)]


def entry_named(found: Sequence[Entry], name: str) -> Entry:
    """Return the entry called ``name``. Raises `RequestError` with the nearest names."""
    for entry in found:
        if entry.name == name:
            return entry
    raise RequestError(f"No entry of the schedule is called {name!r}.{did_you_mean(name, [e.name for e in found])}")


def _apart(trigger: Trigger, place: int, places: int) -> Trigger:
    """Return ``trigger`` at its place within the hour, or within its period if that is shorter; on a whole minute if it can."""
    if not isinstance(trigger, Every):
        return trigger
    offset = min(trigger.period, _HOUR) * place / places
    if not trigger.period % _MINUTE:
        offset -= offset % _MINUTE
    return replace(trigger, offset=offset)
