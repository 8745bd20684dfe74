"""Running the schedule in one process: one task after another, until told to stop. Needs nothing but this package.

A run that was missed, while the process was down or at other work, is made up for once. Two tasks never run at a time, so no
run of this process overlaps another of it.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Sequence
from datetime import datetime

import e2i_fs as fs  # by the door that users take: the store stands above this package
from e2i_fs.clock import Clock, SystemClock
from e2i_fs.config import brief_config
from e2i_fs.errors import E2IError
from e2i_fs.ops import tasks
from e2i_fs.ops.schedule import FRESHNESS_CHECK, Entry, entries
from e2i_fs.ops.tasks import Result, Settings
from e2i_fs.ops.triggers import ANCHOR, counted_from

__all__ = ["Scheduler", "last_runs"]

_LONGEST_WAIT = 30.0  # seconds, after which the clock is looked at again: it may have been set
_log = logging.getLogger("e2i_fs.schedule")


class Scheduler:
    """Runs the entries of a schedule as they become due; ``run`` does one.

    ``last`` says when each entry last ran, by name: what has been due since then runs at once. ``wait`` waits so many
    seconds, less when `stop` is called.
    """

    def __init__(
        self,
        schedule: Sequence[Entry],
        run: Callable[[Entry], Result],
        *,
        last: dict[str, datetime],
        clock: Clock | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._entries = list(schedule)
        self._run = run
        self._last = dict(last)
        self._clock = clock or SystemClock()
        self._begun = self._clock.now()
        self._stopped = False
        self._woken: queue.SimpleQueue[None] = (
            queue.SimpleQueue()
        )  # an Event's lock could stop a signal's handler for ever
        self._wait = wait or self._sleep

    def stop(self) -> None:
        """Make `serve` return when the task that is running, if any, has ended. May be called from a signal's handler."""
        self._stopped = True
        self._woken.put(None)

    def due(self) -> list[tuple[datetime, Entry]]:
        """Return when each entry is due, in the order in which they are to run.

        First those that are due already, whoever waits longest; those missed before this process began are in the order
        of the schedule, which has freshness checks last.
        """
        now = self._clock.now()
        self._last = {name: counted_from(last, now) for name, last in self._last.items()}
        times = [(entry.trigger.next_after(self._last[entry.name]), entry) for entry in self._entries]
        return sorted(times, key=lambda pair: (pair[0] > now, pair[0] if pair[0] > now else max(pair[0], self._begun)))

    def serve(self) -> None:
        """Run what is due, and wait for what will be, until `stop`. A task that fails is logged, and the others go on."""
        while not self._stopped:
            when, entry = self.due()[0]
            now = self._clock.now()
            if when <= now:
                self._last[entry.name] = now
                self._do(entry)
            else:
                self._wait(min((when - now).total_seconds(), _LONGEST_WAIT))

    def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._woken.get(timeout=seconds)

    def _do(self, entry: Entry) -> None:
        begun = self._clock.monotonic()
        _log.info("%s: begins", entry.name)
        try:
            result = self._run(entry)
        except E2IError as error:
            told = f"{type(error).__name__}: {error}"  # it says what to do, which a traceback does not
            _log.error("%s: failed after %.1f s: %s", entry.name, self._clock.monotonic() - begun, told)
        except Exception:  # a defect: told whole, and one task's defect is no reason that the others are not run
            _log.exception("%s: failed after %.1f s by a defect", entry.name, self._clock.monotonic() - begun)
        else:
            _log.info("%s: done in %.1f s%s", entry.name, self._clock.monotonic() - begun, _told(result))


def last_runs(config: Settings, *, clock: Clock | None = None) -> dict[str, datetime]:
    """Return when each entry of a configuration's schedule last ran, by name, as the store's records tell (W-4).

    An entry of several views ran when the one longest ago did. What never ran is long past. Freshness checks count as never.
    """
    found: dict[str, datetime] = {}
    with fs.connect(brief_config(config), clock=clock) as store:
        jobs = store.jobs()
        online = [view.name for view in store.list_feature_views() if view.online]
        for entry in entries(tasks.settings_of(config)):
            found[entry.name] = ANCHOR
            views = entry.views or [name for name in online if name not in entry.without]
            if entry.task != FRESHNESS_CHECK and views:
                found[entry.name] = min(jobs.last_started(view, entry.task) or ANCHOR for view in views)
    return found


def _told(result: Result) -> str:
    if result["task"] == FRESHNESS_CHECK:
        stale = ", ".join(f"{view} {status}" for view, status in result["stale"].items())
        return f": {len(result['views'])} views{f', not fresh: {stale}' if stale else ''}"
    overlapped = f", overlapped: {', '.join(result['overlapped'])}" if result["overlapped"] else ""
    return (
        f": {len(result['views'])} views, {result['rows_read']} rows read, {result['rows_written']} written{overlapped}"
    )
