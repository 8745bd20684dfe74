"""The file: its tables, its transactions, and its errors in the words of e2i_fs (G-4)."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from e2i_fs import BackendDataError, BackendUnavailableError

TABLES = (
    "CREATE TABLE IF NOT EXISTS catalog (id INTEGER PRIMARY KEY CHECK (id = 1), revision TEXT, body TEXT)",
    "CREATE TABLE IF NOT EXISTS batches (view TEXT, batch TEXT, digest TEXT, PRIMARY KEY (view, batch))",
    "CREATE TABLE IF NOT EXISTS history (view TEXT, event_us INTEGER, body BLOB)",
    "CREATE INDEX IF NOT EXISTS history_by_time ON history (view, event_us)",
    "CREATE TABLE IF NOT EXISTS online (view TEXT, key BLOB, body BLOB, PRIMARY KEY (view, key)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS progress (view TEXT PRIMARY KEY, writes INTEGER, newest_us INTEGER, keys INTEGER)",
)
PATIENCE = 10  # seconds to wait for another process's write
OF_A_VIEW = ("batches", "history", "online", "progress")  # what goes when a view goes


class Database:
    """One connection to the file, used by one thread at a time, and made anew in a forked process."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "features.sqlite"
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, ...] = ()
        self._abandoned: list[sqlite3.Connection] = []
        self._closed = False
        with self._translated():
            folder.mkdir(parents=True, exist_ok=True)
            self._connect(mode="rwc")
        with self.writing() as db:
            for table in TABLES:
                db.execute(table)

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.file.as_uri()}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")  # readers and the one writer do not wait for each other
        self._connection, self._opened = db, self._identity()
        return db

    def _identity(self) -> tuple[int, ...]:
        state = os.stat(self.file)
        return os.getpid(), state.st_dev, state.st_ino

    def _current(self) -> sqlite3.Connection:
        """Return a connection of this process to the file that is there now; never make a new file."""
        if self._closed:
            raise BackendUnavailableError(f"The store in {self.file} is closed; connect again.")
        now = self._identity()
        if self._connection is not None and now == self._opened:
            return self._connection
        if self._connection is not None:
            if now[0] == self._opened[0]:
                self._connection.close()
            else:  # of the process that forked this one, which still uses it
                self._abandoned.append(self._connection)
            self._connection = None
        return self._connect(mode="rw")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (sqlite3.OperationalError, OSError) as error:  # locked, full, gone, not to be opened
                raise BackendUnavailableError(f"The store in {self.file} cannot be used now: {error}.") from error
            except sqlite3.DatabaseError as error:
                raise BackendDataError(f"The store in {self.file} is damaged ({error}); restore the file.") from error

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._translated():
            db = self._current()
            db.execute(begin)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return one snapshot of everything."""
        return self._transaction("BEGIN")

    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return the one writer's turn: committed whole, or not at all when something is raised."""
        return self._transaction("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Let go of the file."""
        with self._translated():
            self._closed = True
            if self._connection is not None and self._opened[0] == os.getpid():
                self._connection.close()
            self._connection = None
