"""The record of materialisation runs (W-4), of audits and the like, and small notes: durable, in the store's own file."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from e2i_fs.errors import RunOverlapError
from e2i_fs.ops.records import Records

__all__ = ["Ledger"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, backend TEXT NOT NULL, view TEXT NOT NULL, mode TEXT NOT NULL, start_us INTEGER, end_us INTEGER,
    outcome TEXT NOT NULL, rows_read INTEGER NOT NULL, rows_written INTEGER NOT NULL, newest_event_us INTEGER,
    started_us INTEGER NOT NULL, duration REAL NOT NULL, error TEXT, snapshot TEXT, chunks INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS runs_by_view ON runs (backend, view, started_us);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Ledger:
    """Records below ``folder``, shared by all processes that open it; in memory when ``folder`` is None."""

    def __init__(self, folder: str | None) -> None:
        self.records = Records(folder, _SCHEMA)
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

    def save_run(self, run: Mapping[str, Any]) -> None:
        """Write or rewrite one run's record."""
        names = ", ".join(run)
        marks = ", ".join("?" for _ in run)
        with self.records.transaction() as db:
            db.execute(f"INSERT OR REPLACE INTO runs ({names}) VALUES ({marks})", tuple(run.values()))

    def runs(self, view: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest runs first, of one view or of all."""
        where, values = ("WHERE view = ?", (view,)) if view else ("", ())
        names = [
            "id",
            "backend",
            "view",
            "mode",
            "start_us",
            "end_us",
            "outcome",
            "rows_read",
            "rows_written",
            "newest_event_us",
            "started_us",
            "duration",
            "error",
            "snapshot",
            "chunks",
        ]
        found = self.records.query(
            f"SELECT {', '.join(names)} FROM runs {where} ORDER BY started_us DESC, rowid DESC LIMIT {int(limit)}",
            values,
        )
        return [dict(zip(names, row, strict=True)) for row in found]

    def close(self) -> None:
        """Let go of the file."""
        self.records.close()
