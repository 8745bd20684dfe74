"""Which alerts were told when, by any process of the store: so that the same one is not told over and over."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from e2i_fs.alerts.alert import RESOLVED, Alert
from e2i_fs.errors import BackendError
from e2i_fs.ops.records import Records

__all__ = ["Repeats", "Told"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts_told (
    key TEXT PRIMARY KEY, status TEXT NOT NULL, times TEXT NOT NULL, last_us INTEGER NOT NULL) WITHOUT ROWID;
"""
_FORGET = 8


@dataclass(frozen=True, slots=True)
class Told:
    """What was told last of one thing, and when each of its statuses was, in microseconds since the Unix epoch."""

    status: str = RESOLVED
    times: Mapping[str, int] = field(default_factory=dict)

    def due(self, status: str, now: int, repeat: int) -> int | None:
        """Return when ``status`` is to be told: now or later; None for never.

        A status that is another than the one told last is told once its own last time is ``repeat`` past, and the same
        again then too. That nothing is wrong is told only of what was told to be wrong.
        """
        if status == RESOLVED == self.status:
            return None
        last = self.times.get(status)
        if last is None or not 0 <= now - last < repeat:  # a clock that went back makes no alert wait
            return now
        return None if status == self.status else last + repeat

    def then(self, status: str, now: int) -> Told:
        """Return what is known after ``status`` was told."""
        latest = sorted({**self.times, status: now}.items(), key=lambda item: item[1])[-_FORGET:]
        return Told(status, dict(latest))


class Repeats:
    """Decides, with all processes that share ``records``, whether an alert is told now. ``repeat`` in microseconds."""

    def __init__(self, records: Records, repeat: int) -> None:
        self._records = records
        self._repeat = repeat
        self._known: dict[str, Told] = {}
        self._silent: dict[str, int] = {}
        self._made = False
        self._held: dict[str, tuple[int, Alert]] = {}

    def judged(self, alert: Alert, now: int) -> Alert | None:
        """Return the alert when it is told now, with how often it was not; else keep it for when it is due, if ever."""
        self._held.pop(alert.key, None)
        known = self._known.get(alert.key)
        if known is not None and not alert.resolved and known.due(alert.status, now, self._repeat) is None:
            self._count(alert)  # at no cost: it may be once for each read
            return None
        due = self._claimed(alert, now)
        if due is None:
            self._count(alert)
            return None
        if due > now:
            self._held[alert.key] = due, alert
            return None
        return replace(alert, repeats=alert.repeats + self._silent.pop(alert.key, 0))

    def _count(self, alert: Alert) -> None:
        if not alert.resolved:
            self._silent[alert.key] = self._silent.get(alert.key, 0) + alert.repeats + 1

    def due(self, now: int) -> list[Alert]:
        """Return the alerts that were kept and are told now."""
        ready = [alert for due, alert in self._held.values() if due <= now or due - now > self._repeat]
        return [told for alert in ready if (told := self.judged(alert, now)) is not None]

    @property
    def next_due(self) -> int | None:
        """When the next alert that is kept is due, None when there is none."""
        return min((due for due, _ in self._held.values()), default=None)

    def take_back(self, alert: Alert) -> None:
        """Say that an alert did not reach anybody, so that the next like it is told. Raises `BackendError`."""
        self._known.pop(alert.key, None)
        told = self._read(alert.key)
        if told is not None and told.status == alert.status:
            before = {status: at for status, at in told.times.items() if status != alert.status}
            last = max(before, key=lambda status: before[status], default=None)
            with self._records.transaction() as db:
                if last is None:
                    db.execute("DELETE FROM alerts_told WHERE key = ?", (alert.key,))
                else:
                    _write(db, alert.key, Told(last, before))

    def _claimed(self, alert: Alert, now: int) -> int | None:
        """Return when the alert is due; when that is now, note for all that it was told."""
        try:
            known = self._read(alert.key) or Told()
            due = known.due(alert.status, now, self._repeat)
            if due == now:
                with self._records.transaction() as db:
                    known = _found(db.execute(_SELECT, (alert.key,)).fetchall()) or Told()
                    due = known.due(alert.status, now, self._repeat)
                    if due == now:
                        known = known.then(alert.status, now)
                        _write(db, alert.key, known)
                    db.execute(
                        "DELETE FROM alerts_told WHERE status = ? AND last_us < ?", (RESOLVED, now - self._repeat)
                    )
        except BackendError:  # the records are why somebody should be told: what this process knows must do
            known = self._known.get(alert.key, Told())
            due = known.due(alert.status, now, self._repeat)
            if due == now:
                known = known.then(alert.status, now)
        self._known[alert.key] = known
        return due

    def _read(self, key: str) -> Told | None:
        if not self._made:
            self._records.extend(_SCHEMA)
            self._made = True
        return _found(self._records.query(_SELECT, (key,)))


_SELECT = "SELECT status, times FROM alerts_told WHERE key = ?"


def _found(rows: list[tuple[str, str]]) -> Told | None:
    return Told(rows[0][0], json.loads(rows[0][1])) if rows else None


def _write(db: sqlite3.Connection, key: str, told: Told) -> None:
    last = max(told.times.values())
    db.execute(
        "INSERT OR REPLACE INTO alerts_told VALUES (?, ?, ?, ?)", (key, told.status, json.dumps(told.times), last)
    )
