"""The record of materialisation runs (W-4), of audits and the like, and small notes: durable, in the store's own file."""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from e2i_fs.errors import RunOverlapError
from e2i_fs.forks import renew_after_fork
from e2i_fs.ops.records import Records

__all__ = ["Ledger"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, backend TEXT NOT NULL, view TEXT NOT NULL, mode TEXT NOT NULL, start_us INTEGER, end_us INTEGER,
    outcome TEXT NOT NULL, rows_read INTEGER NOT NULL, rows_written INTEGER NOT NULL, newest_event_us INTEGER,
    started_us INTEGER NOT NULL, duration REAL NOT NULL, error TEXT, chunks INTEGER NOT NULL,
    job TEXT);
CREATE INDEX IF NOT EXISTS runs_by_view ON runs (backend, view, started_us);
CREATE TABLE IF NOT EXISTS work (
    backend TEXT NOT NULL, view TEXT NOT NULL, mode TEXT NOT NULL, work BLOB NOT NULL, chunks INTEGER NOT NULL,
    PRIMARY KEY (backend, view, mode)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    backend TEXT NOT NULL, view TEXT NOT NULL, seen BLOB NOT NULL, PRIMARY KEY (backend, view)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reach (
    backend TEXT NOT NULL, view TEXT NOT NULL, until_us INTEGER NOT NULL, PRIMARY KEY (backend, view)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Ledger:
    """Records below ``folder``, shared by all processes that open it; in memory when ``folder`` is None."""

    def __init__(self, folder: str | None) -> None:
        self.records = Records(folder, _SCHEMA)
        columns = "SELECT name FROM pragma_table_info('runs')"
        if ("job",) not in self.records.query(columns):  # a file from before there were jobs
            with self.records.transaction() as db:
                if ("job",) not in db.execute(columns).fetchall():  # nobody else has added it meanwhile
                    db.execute("ALTER TABLE runs ADD COLUMN job TEXT")
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Have no run under way here."""
        self._locks: dict[str, threading.Lock] = {}

    # ---- notes: small named texts -------------------------------------------------------------------------

    def note(self, name: str) -> Any:
        """Return the JSON value kept under ``name``, or None."""
        found = self.records.query("SELECT value FROM notes WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else None

    def set_notes(self, notes: Mapping[str, Any]) -> None:
        """Keep JSON values under their names, all at once."""
        with self.records.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", [(n, json.dumps(v)) for n, v in notes.items()])

    # ---- materialisation runs (W-4) -----------------------------------------------------------------------

    @contextmanager
    def run_lock(self, backend: str, view: str, timeout: float) -> Iterator[None]:
        """Hold the right to materialise one view on one backend; raise `RunOverlapError` after ``timeout`` seconds."""
        message = (
            f"Another materialisation of view {view!r} has been running for over {timeout:g} s (W-4); try again later."
        )
        name = f"{backend}-{view}"
        if self.records.folder is None:
            with self.records.lock:
                lock = self._locks.setdefault(name, threading.Lock())
            if not lock.acquire(timeout=timeout):
                raise RunOverlapError(message)
            try:
                yield
            finally:
                lock.release()
            return
        path = self.records.folder / "locks" / (uuid.uuid5(uuid.NAMESPACE_OID, name).hex + ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        file_lock = FileLock(path)
        try:
            file_lock.acquire(timeout=timeout)
        except Timeout as error:
            raise RunOverlapError(message) from error
        try:
            yield
        finally:
            file_lock.release()

    def begin_run(self, run: Mapping[str, Any], now_us: int, leeway_us: int) -> bool:
        """Write the record of a run that begins now, for whoever holds the view's `run_lock`; return whether the clock went back.

        Runs that seem to go on have ended with their process, and their records say so. When an earlier run reached
        further than now, by more than ``leeway_us``, the clock was set back since: that run may have replaced rows that
        answer now by ones whose time is yet to come, so nothing that was read is remembered, and all is read again.
        """
        of = (run["backend"], run["view"])
        reach_us = max(now_us, run["end_us"])
        with self.records.transaction() as db:
            db.execute(
                "UPDATE runs SET outcome = 'failed', error = ? WHERE backend = ? AND view = ? AND outcome = 'running'",
                ("The process ended while it ran; the next run takes it up.", *of),
            )
            before = db.execute("SELECT until_us FROM reach WHERE backend = ? AND view = ?", of).fetchone()
            went_back = before is not None and before[0] > now_us + leeway_us
            if went_back:
                for table in ("seen", "work"):
                    db.execute(f"DELETE FROM {table} WHERE backend = ? AND view = ?", of)
            elif before is not None:
                reach_us = max(reach_us, before[0])
            db.execute("INSERT OR REPLACE INTO reach VALUES (?, ?, ?)", (*of, reach_us))
            _save(db, run)
        return went_back

    def save_run(self, run: Mapping[str, Any]) -> None:
        """Write or rewrite one run's record."""
        with self.records.transaction() as db:
            _save(db, run)

    def forget(self, views: Iterable[str]) -> None:
        """Remember nothing of what was read for ``views``: their online rows go, and the next runs read everything."""
        names = [(view,) for view in views]
        if names:
            with self.records.transaction() as db:
                for table in ("seen", "work"):
                    db.executemany(f"DELETE FROM {table} WHERE view = ?", names)

    def end_run(self, run: Mapping[str, Any], seen: bytes | None) -> None:
        """Write the record of a run that succeeded: nothing is left of its work. ``seen`` is what it covered, if that is all."""
        of = (run["backend"], run["view"])
        with self.records.transaction() as db:
            _save(db, run)
            db.execute("DELETE FROM work WHERE backend = ? AND view = ? AND mode = ?", (*of, run["mode"]))
            if seen is not None:
                db.execute("DELETE FROM work WHERE backend = ? AND view = ? AND mode = 'incremental'", of)
                db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (*of, seen))

    def save_work(
        self, run: Mapping[str, Any], chunks: int, work: bytes | None = None, seen: bytes | None = None
    ) -> None:
        """Write a run's record, how many ``chunks`` of its step are done, and what else changed: its ``work``, what it covered."""
        of = (run["backend"], run["view"])
        with self.records.transaction() as db:
            _save(db, run)
            if work is None:
                db.execute(
                    "UPDATE work SET chunks = ? WHERE backend = ? AND view = ? AND mode = ?", (chunks, *of, run["mode"])
                )
            else:
                db.execute("INSERT OR REPLACE INTO work VALUES (?, ?, ?, ?, ?)", (*of, run["mode"], work, chunks))
            if seen is not None:
                db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (*of, seen))

    def work(self, backend: str, view: str, mode: str) -> tuple[bytes, int] | None:
        """Return how far the last run of this mode came, if it did not succeed."""
        sql = "SELECT work, chunks FROM work WHERE backend = ? AND view = ? AND mode = ?"
        found = self.records.query(sql, (backend, view, mode))
        return found[0] if found else None

    def seen(self, backend: str, view: str) -> bytes | None:
        """Return what the last run over everything had covered."""
        found = self.records.query("SELECT seen FROM seen WHERE backend = ? AND view = ?", (backend, view))
        return found[0][0] if found else None

    def runs(self, view: str | None = None, limit: int = 100, *, job: str | None = None) -> list[dict[str, Any]]:
        """Return the newest runs first, of one view or of all, of one job or whatever they belong to."""
        given = [(n, v) for n, v in (("view", view), ("job", job)) if v]
        where = "WHERE " + " AND ".join(f"{n} = ?" for n, _ in given) if given else ""
        values = [v for _, v in given]
        found = self.records.query(
            f"SELECT {', '.join(_RUN)} FROM runs {where} ORDER BY started_us DESC, rowid DESC LIMIT {int(limit)}",
            values,
        )
        return [dict(zip(_RUN, row, strict=True)) for row in found]

    def close(self) -> None:
        """Let go of the file."""
        self.records.close()


_RUN = (
    "id", "backend", "view", "mode", "start_us", "end_us", "outcome", "rows_read", "rows_written", "newest_event_us",
    "started_us", "duration", "error", "chunks", "job",
)  # fmt: skip


def _save(db: sqlite3.Connection, run: Mapping[str, Any]) -> None:
    marks = ", ".join("?" for _ in _RUN)
    db.execute(f"INSERT OR REPLACE INTO runs ({', '.join(_RUN)}) VALUES ({marks})", tuple(run[name] for name in _RUN))
