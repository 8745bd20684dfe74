"""The store's own durable records: one SQLite file, shared by every process that opens it.

Only integers, text and bytes are stored: other packages register global sqlite3 adapters for times.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from e2i_fs.errors import BackendUnavailableError
from e2i_fs.forks import leave_open, renew_after_fork, within_sqlite

if sys.platform != "win32":
    import fcntl

__all__ = ["Records"]


class Records:
    """The file ``ledger.sqlite`` below ``folder``; in memory when ``folder`` is None.

    ``schema`` is what its users need there. ``writer`` names this process among those that have it open, so that
    work left by one that died can be told from work under way.
    """

    _db: sqlite3.Connection
    _reader: sqlite3.Connection

    def __init__(self, folder: str | None, schema: str) -> None:
        self.folder = None if folder is None else Path(folder).absolute()
        self._alive: _Held | None = None
        self.renew()
        renew_after_fork(self)
        self.writer = ""
        self._schema = schema
        self._pid = -1
        self._changes = 0
        self._closed = False
        self._dead: set[str] = set()
        with within_sqlite:
            self._connect()

    def renew(self) -> None:
        """Have locks that nobody holds, and no name: the one of a forked child's parent is not its to give up."""
        self.lock = threading.RLock()
        self._reading = threading.Lock()
        if self._alive is not None:
            self._alive.leave()
            self._alive = None

    def extend(self, schema: str) -> None:
        """Make what another user of the file needs there."""
        with self.lock, within_sqlite:
            self._schema += schema
            if os.getpid() != self._pid:
                self._connect()
            self._check_open()
            try:
                self._db.executescript(schema)
            except sqlite3.Error as error:
                raise BackendUnavailableError(
                    f"The store's records in {self.folder} cannot be written: {error}. Free space, or make the folder writable."
                ) from error

    def _connect(self) -> None:
        """Open the file, within SQLite; again in a forked child, since its connections must not cross a fork."""
        try:
            if self.folder is not None:
                (self.folder / "writers").mkdir(parents=True, exist_ok=True)
            if self._pid != -1:  # a child's: what it inherited is not closed here
                leave_open(self._db)
                leave_open(self._reader)
            target = self._path = ":memory:" if self.folder is None else str(self.folder / "ledger.sqlite")
            self._db = sqlite3.connect(target, timeout=30.0, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(self._schema)
            # Readers have a connection of their own: they do not wait while a writer waits for the disk.
            self._reader = self._db
            if self.folder is not None:
                self._reader = sqlite3.connect(target, timeout=30.0, isolation_level=None, check_same_thread=False)
            self._take_name()
            self._file = self._state()
        except (OSError, sqlite3.Error) as error:
            fix = "Make the folder writable"
            if isinstance(error, NotADirectoryError | FileExistsError):
                fix = "There is a file where a folder is to be: name a folder as path"
            raise BackendUnavailableError(
                f"The store's records in {self.folder} cannot be opened: {error}. {fix}, or name "
                "another with the configuration key 'state'."
            ) from error
        self._pid = os.getpid()
        self._changes += 1

    def _take_name(self) -> None:
        """Take a new name among the writers."""
        self.writer = uuid.uuid4().hex
        if self.folder is not None:
            # Held until the process ends, however it ends: so others can tell a crashed writer from a busy one.
            self._alive = _Held(self.folder / "writers" / self.writer)

    def disown(self) -> None:
        """Give up this process's name: what it is noted to be busy with, and could not be ended, was left undone.

        Where no new name can be had (the disk is full) what is begun from now on counts as left undone from the start.
        """
        with self.lock:
            left, self._alive = self._alive, None
            try:
                self._take_name()
            except (OSError, Timeout):
                self._alive = None
            if left is not None:
                left.give_up()
            self._changes += 1

    def _state(self) -> tuple[int, int] | None:
        """Return which file lies at the path; None in memory."""
        if self.folder is None:
            return None
        found = os.stat(self._path)
        return found.st_dev, found.st_ino

    def _check_there(self) -> None:
        """Raise when the file was moved or removed: what is noted in it then, other processes would never see."""
        try:
            there = self._state() == self._file
        except OSError:
            there = False
        if not there:
            raise BackendUnavailableError(
                f"The store's records in {self.folder} were moved or removed while the store was open. Put the folder "
                "back, or close the store; if it is lost, rebuild every backend but one, since what they missed is no "
                "longer known."
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the file for writing while the block runs; all of it is kept, or none."""
        with self.lock, within_sqlite:
            if os.getpid() != self._pid:
                self._connect()
            self._check_open()
            self._check_there()
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:  # a full disk may have ended it already
                        self._db.execute("ROLLBACK")
                    raise
                self._changes += 1
            except sqlite3.Error as error:
                raise BackendUnavailableError(
                    f"The store's records in {self.folder} cannot be written: {error}. Free space, or make the folder "
                    "writable; nothing was noted."
                ) from error

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""
        with self._reading_alone() as reader:
            return reader.execute(sql, values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[Callable[[str], list[Any]]]:
        """Let several queries see the file as it was at one moment."""
        with self._reading_alone() as reader:
            own = not reader.in_transaction  # in memory a writer of this thread may be at it: then nobody else is
            if own:
                reader.execute("BEGIN")
            try:
                yield lambda sql: reader.execute(sql).fetchall()
            finally:
                if own:
                    reader.execute("COMMIT")

    @contextmanager
    def _reading_alone(self) -> Iterator[sqlite3.Connection]:
        if os.getpid() != self._pid:
            with self.lock, within_sqlite:
                if os.getpid() != self._pid:
                    self._connect()
        with self.lock if self._reader is self._db else self._reading, within_sqlite:
            self._check_open()
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise BackendUnavailableError(
                    f"The store's records in {self.folder} cannot be read: {error}."
                ) from error

    def version(self) -> tuple[int, int]:
        """Return something that is another whenever any process has changed the file."""
        self._check_there()
        return self.query("PRAGMA data_version")[0][0], self._changes

    def busy(self, writer: str) -> bool:
        """Return whether the process that wrote under this name is alive, and has not given it up."""
        if writer == self.writer:
            return True
        if self.folder is None or writer in self._dead:
            return False
        try:
            if _is_held(self.folder / "writers" / writer):
                return True
        except OSError as error:
            raise BackendUnavailableError(f"The store's records in {self.folder} cannot be read: {error}.") from error
        self._dead.add(writer)  # a name is never taken again
        return False

    def _check_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError("This store is closed. Open it again with connect.")

    def close(self) -> None:
        """Let go of the file."""
        with self.lock:
            with self._reading, within_sqlite:
                self._closed = True
                for connection in (self._reader, self._db):
                    if os.getpid() == self._pid:
                        connection.close()
                    else:
                        leave_open(connection)
            if self._alive is not None:
                self._alive.give_up()


if sys.platform == "win32":

    class _Held:
        """A lock on a file of its own, until it is given up or the process ends."""

        def __init__(self, path: Path) -> None:
            self._path = path
            self._lock = FileLock(path)
            self._lock.acquire(timeout=0)

        def give_up(self) -> None:
            self._lock.release()
            self._path.unlink(missing_ok=True)

        def leave(self) -> None:
            """Nothing forks here."""

    def _is_held(path: Path) -> bool:
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

else:

    class _Held:
        """A lock on a file of its own, until it is given up or the process ends.

        Not one of `filelock`: before its version 4, a forked child that forgets such a lock frees its parent's.
        """

        _file = -1

        def __init__(self, path: Path) -> None:
            self._path = path
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def give_up(self) -> None:
            # First freed, then closed: a child that was forked just now has the file open too, and would hold it.
            if self._file != -1:
                fcntl.flock(self._file, fcntl.LOCK_UN)
            self.leave()
            self._path.unlink(missing_ok=True)

        def leave(self) -> None:
            """Close the file, which frees nothing in a forked child: its parent has it open until it ends."""
            file, self._file = self._file, -1
            if file != -1:
                os.close(file)

        __del__ = leave

    def _is_held(path: Path) -> bool:
        """Return whether somebody holds the lock. The look is a shared one: two that look do not see each other."""
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False
