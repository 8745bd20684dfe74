"""The store's own durable records in one SQLite file: materialisation runs (W-4), and which backend missed which write.

A write is noted for every backend *before* it is sent (X-5) and struck off for each that took it, so what remains
after a crash is what may have been missed. Only integers and text are stored: other packages register global
sqlite3 adapters for times.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from e2i_fs.errors import BackendUnavailableError, InvalidBatchError, RunOverlapError

__all__ = ["Ledger"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, backend TEXT NOT NULL, view TEXT NOT NULL, mode TEXT NOT NULL, start_us INTEGER, end_us INTEGER,
    outcome TEXT NOT NULL, rows_read INTEGER NOT NULL, rows_written INTEGER NOT NULL, newest_event_us INTEGER,
    started_us INTEGER NOT NULL, duration REAL NOT NULL, error TEXT, snapshot TEXT, chunks INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS runs_by_view ON runs (backend, view, started_us);
CREATE TABLE IF NOT EXISTS writes (seq INTEGER PRIMARY KEY AUTOINCREMENT, view TEXT NOT NULL, key TEXT, kind TEXT NOT NULL, content TEXT NOT NULL,
    writer TEXT NOT NULL, UNIQUE (view, key));
CREATE TABLE IF NOT EXISTS heads (view TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS missed (backend TEXT NOT NULL, view TEXT NOT NULL, seq INTEGER NOT NULL, writer TEXT,
    PRIMARY KEY (backend, view, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS diverged (backend TEXT NOT NULL, view TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (backend, view)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reached (backend TEXT NOT NULL, view TEXT NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (backend, view)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


_KEPT_WRITES = 10_000  # how far back a retried write is still known by its key


class Ledger:
    """Records below ``folder``, shared by all processes that open it; in memory when ``folder`` is None."""

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._lock = threading.RLock()
        self._locks: dict[str, threading.Lock] = {}
        self._pid = -1
        self._writer = ""
        self._alive: FileLock | None = None
        self._version: tuple[int, int] = (-1, -1)
        self._changes = 0
        self._missed: dict[tuple[str, str], list[tuple[int, str | None]]] = {}
        self._diverged: dict[tuple[str, str], str] = {}
        self._heads: dict[str, int] = {}
        self._connect()

    def _connect(self) -> None:
        """Open the file; again in a forked child, since SQLite connections must not cross a fork."""
        try:
            if self._folder is not None:
                (self._folder / "writers").mkdir(parents=True, exist_ok=True)
            target = ":memory:" if self._folder is None else str(self._folder / "ledger.sqlite")
            self._db = sqlite3.connect(target, timeout=30.0, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._writer = uuid.uuid4().hex
            if self._folder is not None:
                # Held until the process ends, however it ends: so others can tell a crashed writer from a busy one.
                self._alive = FileLock(self._folder / "writers" / self._writer)
                self._alive.acquire(timeout=0)
        except (OSError, sqlite3.Error) as error:
            raise BackendUnavailableError(
                f"The store's records in {self._folder} cannot be opened: {error}. Make the folder writable, or name "
                "another with the configuration key 'state'."
            ) from error
        self._pid = os.getpid()
        self._version = (-1, -1)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if os.getpid() != self._pid:
                self._connect()
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
                self._changes += 1
            except sqlite3.Error as error:
                raise BackendUnavailableError(
                    f"The store's records in {self._folder} cannot be written: {error}."
                ) from error

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            if os.getpid() != self._pid:
                self._connect()
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise BackendUnavailableError(
                    f"The store's records in {self._folder} cannot be read: {error}."
                ) from error

    # ---- notes: small named texts -------------------------------------------------------------------------

    def note(self, name: str) -> Any:
        """Return the JSON value kept under ``name``, or None."""
        found = self._query("SELECT value FROM notes WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else None

    def set_notes(self, notes: Mapping[str, Any]) -> None:
        """Keep JSON values under their names, all at once."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", [(n, json.dumps(v)) for n, v in notes.items()])

    # ---- materialisation runs (W-4) -----------------------------------------------------------------------

    @contextmanager
    def run_lock(self, backend: str, view: str, timeout: float) -> Iterator[None]:
        """Hold the right to materialise one view on one backend; raise `RunOverlapError` after ``timeout`` seconds."""
        message = (
            f"Another materialisation of view {view!r} has been running for over {timeout:g} s (W-4); try again later."
        )
        name = f"{backend}-{view}"
        if self._folder is None:
            with self._lock:
                lock = self._locks.setdefault(name, threading.Lock())
            if not lock.acquire(timeout=timeout):
                raise RunOverlapError(message)
            try:
                yield
            finally:
                lock.release()
            return
        path = self._folder / "locks" / (uuid.uuid5(uuid.NAMESPACE_OID, name).hex + ".lock")
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
        with self._transaction() as db:
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
        found = self._query(
            f"SELECT {', '.join(names)} FROM runs {where} ORDER BY started_us DESC, rowid DESC LIMIT {int(limit)}",
            values,
        )
        return [dict(zip(names, row, strict=True)) for row in found]

    # ---- writes that a backend may have missed (X-4, X-5) -------------------------------------------------

    def begin_write(self, view: str, kind: str, key: str, content: str, backends: Sequence[str]) -> tuple[int, bool]:
        """Note a write to come and return its number, and whether it is new.

        Until `applied` strikes one off, each of ``backends`` may have missed a new write. The same key again with the
        same content (a retry) is the same write: who has it already has not missed it. With other content it is an
        `InvalidBatchError` (W-2).
        """
        with self._transaction() as db:
            found = db.execute("SELECT seq, content FROM writes WHERE view = ? AND key = ?", (view, key)).fetchone()
            if found is not None:
                seq, before = found
                if before != content:
                    raise InvalidBatchError(
                        f"View {view!r}: the idempotency key {key.partition(':')[2]!r} was used before with other rows (W-2). "
                        "Nothing was written; give this batch a key of its own."
                    )
                db.execute("UPDATE missed SET writer = ? WHERE view = ? AND seq = ?", (self._writer, view, seq))
                return int(seq), False
            row = (view, key, kind, content, self._writer)
            db.execute("INSERT INTO writes (view, key, kind, content, writer) VALUES (?, ?, ?, ?, ?)", row)
            (seq,) = db.execute("SELECT last_insert_rowid()").fetchone()
            db.execute(
                "INSERT INTO heads VALUES (?, ?) ON CONFLICT (view) DO UPDATE SET seq = excluded.seq", (view, seq)
            )
            db.execute(
                "DELETE FROM writes WHERE seq <= ? - ? AND seq NOT IN (SELECT seq FROM missed)", (seq, _KEPT_WRITES)
            )
            db.executemany("INSERT INTO missed VALUES (?, ?, ?, ?)", [(b, view, seq, self._writer) for b in backends])
        return int(seq), True

    def applied(self, backend: str, view: str, seq: int, reached: int) -> None:
        """Strike off one write that ``backend`` took, and note how far its own count of writes has come at most."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO reached VALUES (?, ?, ?) "
                "ON CONFLICT (backend, view) DO UPDATE SET sequence = max(sequence, excluded.sequence)",
                (backend, view, reached),
            )
            db.execute("DELETE FROM missed WHERE backend = ? AND view = ? AND seq = ?", (backend, view, seq))

    def end_write(self, view: str, seq: int) -> None:
        """Say that nobody is busy with the write any more: who has not applied it has missed it."""
        with self._transaction() as db:
            db.execute("UPDATE missed SET writer = NULL WHERE view = ? AND seq = ?", (view, seq))

    def forget_write(self, view: str, seq: int) -> None:
        """Strike off a write that was refused before any backend took any of it."""
        with self._transaction() as db:
            db.execute("DELETE FROM missed WHERE view = ? AND seq = ?", (view, seq))
            db.execute("DELETE FROM writes WHERE seq = ?", (seq,))

    def caught_up(self, backend: str, view: str, kind: str, before: int) -> None:
        """Strike off missed writes of one kind up to ``before``: a later one did all that they would have done."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM missed WHERE backend = ? AND view = ? AND seq <= ? "
                "AND seq IN (SELECT seq FROM writes WHERE view = ? AND kind = ?)",
                (backend, view, before, view, kind),
            )

    def missed(self, backend: str, view: str) -> int:
        """Return how many writes to ``view`` this backend may have missed; those in progress do not count."""
        self._refresh()
        rows = self._missed.get((backend, view), [])
        return sum(1 for _, writer in rows if writer is None or not self._busy(writer))

    def pending(self, backend: str, view: str) -> bool:
        """Return whether a write to ``view`` is missed by ``backend`` or still under way."""
        self._refresh()
        return bool(self._missed.get((backend, view)))

    def position(self, backend: str, view: str) -> int:
        """Return the sequence number up to which ``backend`` has every write to ``view``."""
        self._refresh()
        rows = self._missed.get((backend, view))
        if rows:
            return min(seq for seq, _ in rows) - 1
        return self._heads.get(view, 0)

    def reached(self, backend: str, view: str) -> int:
        """Return how far the backend's own count of writes had come when it last took one."""
        found = self._query("SELECT sequence FROM reached WHERE backend = ? AND view = ?", (backend, view))
        return int(found[0][0]) if found else 0

    def start_anew(self, views: Sequence[str]) -> None:
        """Forget the writes to views whose rows a breaking change has dropped, everywhere."""
        with self._transaction() as db:
            for view in views:
                for table in ("missed", "diverged", "writes", "reached"):
                    db.execute(f"DELETE FROM {table} WHERE view = ?", (view,))

    def readmit(self, backend: str, views: Sequence[str]) -> None:
        """Forget what is held against ``backend`` for these views: somebody has made it whole."""
        with self._transaction() as db:
            for view in views:
                for table in ("missed", "diverged", "reached"):
                    db.execute(f"DELETE FROM {table} WHERE backend = ? AND view = ?", (backend, view))

    def set_diverged(self, backend: str, view: str, reason: str) -> None:
        """Note that ``backend`` answered otherwise than the primary for ``view`` (X-10)."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO diverged VALUES (?, ?, ?)", (backend, view, reason))

    def diverged(self, backend: str, view: str) -> str | None:
        """Return why ``backend`` is quarantined for ``view``, or None."""
        self._refresh()
        return self._diverged.get((backend, view))

    def forget_view(self, view: str) -> None:
        """Forget what was missed of a deleted view."""
        with self._transaction() as db:
            for table in ("missed", "diverged", "writes", "heads", "reached"):
                db.execute(f"DELETE FROM {table} WHERE view = ?", (view,))

    def _refresh(self) -> None:
        """Read the small tables again if any process changed them since."""
        with self._lock:
            version = (self._query("PRAGMA data_version")[0][0], self._changes)
            if version == self._version:
                return
            missed: dict[tuple[str, str], list[tuple[int, str | None]]] = {}
            for backend, view, seq, writer in self._query("SELECT backend, view, seq, writer FROM missed"):
                missed.setdefault((backend, view), []).append((seq, writer))
            self._missed = missed
            self._heads = dict(self._query("SELECT view, seq FROM heads"))
            self._diverged = {(b, v): r for b, v, r in self._query("SELECT backend, view, reason FROM diverged")}
            self._version = version

    def _busy(self, writer: str) -> bool:
        """True while the process that wrote under this name is alive."""
        if writer == self._writer:
            return True
        if self._folder is None:
            return False
        lock = FileLock(self._folder / "writers" / writer)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()
            if self._alive is not None:
                self._alive.release()
                Path(self._alive.lock_file).unlink(missing_ok=True)
