"""Counting what happens and writing it down from time to time, in a thread of its own: whoever caused it never waits."""

from __future__ import annotations

import logging
import threading

from e2i_fs.clock import Clock, to_us
from e2i_fs.errors import BackendError
from e2i_fs.forks import renew_after_fork
from e2i_fs.ops.event_history import Counted, EventHistory
from e2i_fs.ops.records import Records
from e2i_fs.pool import DaemonPool
from e2i_fs.telemetry.events import Event
from e2i_fs.telemetry.kept import About, about

__all__ = ["EventRecorder"]

_log = logging.getLogger("e2i_fs")
_MINUTE = 60_000_000
_MOST = 1_000
_SLOWEST = 60.0
_OFTEN = 500

_Key = tuple[int, str, About]


class EventRecorder:
    """Keeps what happens in ``records``, within ``delay`` seconds and at the latest when it is closed.

    While the records cannot be written (a full disk, a folder that is read-only by now) at most 1,000 different things
    are held in memory; that is told once, and what was lost when they can be written again.
    """

    def __init__(self, records: Records, clock: Clock, *, delay: float = 1.0) -> None:
        self._records = records
        self._clock = clock
        self._delay = delay
        self._history: EventHistory | None = None
        self._pool = DaemonPool("e2i_fs events", 1)
        self._closed = False
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """In a forked child: the parent writes down what it counted."""
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._news = threading.Event()
        self._end = threading.Event()
        self._counted: dict[_Key, Counted] = {}
        self._begun = False
        self._lost = 0
        self._failed = False
        self._flushes = 0

    def notice(self, event: Event) -> None:
        """Count an event, if its kind is kept."""
        what = about(event)
        if what is None:
            return
        at = to_us(event.at)
        with self._lock:
            if self._closed:
                return
            self._count((at // _MINUTE, type(event).__name__, what), Counted(at, at))
            begun, self._begun = self._begun, True
        if not begun:
            self._pool.submit(self._work)
        self._news.set()

    def _count(self, key: _Key, seen: Counted) -> None:
        known = self._counted.get(key)
        if known is not None:
            known.add(seen)
        elif len(self._counted) < _MOST:
            self._counted[key] = seen
        else:
            self._lost += seen.count

    def _work(self) -> None:
        delay = self._delay
        while not self._closed:
            if not self._counted:
                self._news.wait()
            self._news.clear()
            self._end.wait(delay)  # what happens meanwhile is written down with it
            try:
                delay = self._delay if self.flush() else min(2 * delay, _SLOWEST)
            except Exception:  # a defect of ours: it is told, and later events are kept
                _log.exception("Writing down what happened to the store failed")

    def flush(self) -> bool:
        """Write down what was counted until now; return whether that could be done."""
        with self._writing:
            with self._lock:
                counted, self._counted = self._counted, {}
            if not counted:
                return True
            try:
                self._write(counted)
            except BackendError as error:
                with self._lock:
                    for key, seen in counted.items():
                        self._count(key, seen)
                self._tell_failed(error)
                return False
            self._tell_written()
            return True

    def _write(self, counted: dict[_Key, Counted]) -> None:
        if self._history is None:
            self._history = EventHistory(self._records)
        self._history.add((kind, what, seen) for (_, kind, what), seen in counted.items())
        if self._flushes % _OFTEN == 0:
            self._history.forget(to_us(self._clock.now()))
        self._flushes += 1

    def _tell_failed(self, error: BackendError) -> None:
        if not self._failed:
            self._failed = True
            _log.warning("What happens to the store is not kept for now, reads and writes go on. %s", error)

    def _tell_written(self) -> None:
        if self._failed:
            self._failed = False
            with self._lock:
                lost, self._lost = self._lost, 0
            _log.warning("What happens to the store is kept again; %d events were lost meanwhile.", lost)

    def close(self) -> None:
        """Write down what is left, and let the thread end."""
        with self._lock:
            self._closed = True
        self._end.set()
        self._news.set()
        if not self.flush():
            _log.warning("The store was closed with %d kinds of events not written down.", len(self._counted))
        self._pool.close()
