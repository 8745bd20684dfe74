"""What happened to a store, counted by the minute, in the store's own file: by all processes that use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from e2i_fs.clock import from_us
from e2i_fs.errors import RequestError, did_you_mean
from e2i_fs.frozen import FrozenMap
from e2i_fs.ops.records import Records
from e2i_fs.telemetry.kept import KINDS, About, sentence

__all__ = ["Counted", "EventHistory", "EventRecord"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS happened (
    minute INTEGER NOT NULL, kind TEXT NOT NULL, same TEXT NOT NULL, about TEXT NOT NULL, count INTEGER NOT NULL,
    first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, PRIMARY KEY (minute, kind, same)) WITHOUT ROWID;
"""
_MINUTE = 60_000_000
_DAYS, _MOST = 90, 50_000
_APART = 50  # so many different ones of a kind are listed apart in one minute
_LONGEST = 500
_NUMBER = re.compile(r"\d+")
_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One kind of event that happened ``count`` times within one minute: first at ``at``, last at ``last_at`` (UTC).

    ``kind`` is the name of the event's class. ``about`` has those of its fields that do not vary from one to the next
    (`e2i_fs.telemetry.kept.about`); it is empty when too many different events of that kind fell into that minute to be
    listed separately.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     (record,) = store.events()
    >>> record.kind, record.count, record.text
    ('Applied', 1, 'Definitions changed: created entity hcp, view hcp_stats, service hcp_model.')
    """

    kind: str
    at: datetime
    last_at: datetime
    count: int
    about: Mapping[str, Any]

    @property
    def text(self) -> str:
        """A sentence that says what happened."""
        return sentence(self.kind, self.about)


@dataclass(slots=True)
class Counted:
    """How often one thing happened, and when first and last, in microseconds since the Unix epoch."""

    first_us: int
    last_us: int
    count: int = 1

    def add(self, other: Counted) -> None:
        """Count what ``other`` counted."""
        self.first_us, self.last_us = min(self.first_us, other.first_us), max(self.last_us, other.last_us)
        self.count += other.count


class EventHistory:
    """The events in ``records``; at most 50,000 records of 90 days are kept, the newest."""

    def __init__(self, records: Records) -> None:
        self._records = records
        records.extend(_SCHEMA)

    def add(self, counted: Iterable[tuple[str, About, Counted]]) -> None:
        """Add what was counted of each kind, to what other processes have of the same minute."""
        with self._records.transaction() as db:
            for kind, about, seen in counted:
                kept = {name: _cut(value) for name, value in about}
                text = json.dumps(kept)
                same = _NUMBER.sub("#", text) if kind == "FailedOver" else text  # its reason names times and attempts
                minute = seen.first_us // _MINUTE
                if db.execute(
                    "UPDATE happened SET count = count + ?, first_us = min(first_us, ?), last_us = max(last_us, ?) "
                    "WHERE minute = ? AND kind = ? AND same = ?",
                    (seen.count, seen.first_us, seen.last_us, minute, kind, same),
                ).rowcount:
                    continue
                (apart,) = db.execute(
                    "SELECT count(*) FROM happened WHERE minute = ? AND kind = ?", (minute, kind)
                ).fetchone()
                if apart >= _APART:
                    same, text = "", "{}"
                db.execute(
                    "INSERT INTO happened VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "count = count + excluded.count, first_us = min(first_us, excluded.first_us), "
                    "last_us = max(last_us, excluded.last_us)",
                    (minute, kind, same, text, seen.count, seen.first_us, seen.last_us),
                )

    def forget(self, now_us: int) -> None:
        """Remove what is older than it is kept, or more than is kept."""
        with self._records.transaction() as db:
            db.execute("DELETE FROM happened WHERE minute < ?", (now_us // _MINUTE - _DAYS * 1440,))
            (rows,) = db.execute("SELECT count(*) FROM happened").fetchone()
            if rows > _MOST:
                db.execute(
                    "DELETE FROM happened WHERE (minute, kind, same) IN "
                    "(SELECT minute, kind, same FROM happened ORDER BY minute LIMIT ?)",
                    (rows - _MOST,),
                )

    def since(self, since_us: int, kinds: Sequence[str] | str | None, limit: int) -> list[EventRecord]:
        """Return what happened at ``since_us`` or later, the newest first, at most ``limit``, of these kinds or of all.

        Raises `RequestError` for an unknown kind, with the nearest, or another ``limit`` than 1 to 100,000.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LIMIT:
            raise RequestError(f"limit is {limit!r}; give a whole number from 1 to {_LIMIT:,}.")
        named = list(KINDS) if kinds is None else [kinds] if isinstance(kinds, str) else list(kinds)
        for kind in named:
            if kind not in KINDS:
                raise RequestError(f"No kind of event that is kept is called {kind!r}.{did_you_mean(str(kind), KINDS)}")
        found = self._records.query(
            "SELECT kind, first_us, last_us, count, about FROM happened WHERE minute >= ? AND last_us >= ? "
            f"AND kind IN ({', '.join('?' for _ in named)}) ORDER BY last_us DESC, first_us DESC, kind, same LIMIT ?",
            (since_us // _MINUTE, since_us, *named, limit),
        )
        return [
            EventRecord(kind, from_us(first), from_us(last), count, FrozenMap(json.loads(about)))
            for kind, first, last, count, about in found
        ]


def _cut(value: str | int) -> str | int:
    return value if isinstance(value, int) or len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
