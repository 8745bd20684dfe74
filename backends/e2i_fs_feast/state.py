"""What is kept beside Feast's own stores: how far each view's online state is, and what is left to clean up.

A small SQLite file in WAL mode. Feast registers adapters for times in all of sqlite3, so only integers and text go in.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from e2i_fs.backend import Position
from e2i_fs.errors import BackendUnavailableError
from e2i_fs.forks import RenewedLock, leave_open, within_sqlite

__all__ = ["Leftover", "State", "gone_back"]

_TABLES = (
    """CREATE TABLE IF NOT EXISTS position (
           view TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL, newest_us INTEGER,
           rows INTEGER NOT NULL, steps INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (view, generation)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS leftover (
           view TEXT NOT NULL, generation INTEGER NOT NULL, form TEXT NOT NULL,
           PRIMARY KEY (view, generation)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS loss (
           view TEXT NOT NULL, generation INTEGER NOT NULL, number INTEGER NOT NULL, newest_us INTEGER, steps INTEGER NOT NULL,
           PRIMARY KEY (view, generation)) WITHOUT ROWID""",
)


class _Connection(sqlite3.Connection):
    """A connection that can be referred to weakly, and that is closed when its thread is gone, in the process that opened it.

    Whoever uses it holds its ``turn``: SQLite's memory is freed under a call that goes on while another thread closes.
    """

    process = 0

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.turn = threading.Lock()

    def __del__(self) -> None:
        self.end()

    def end(self) -> None:
        if self.process == os.getpid():
            with self.turn, within_sqlite:
                self.close()
        else:
            leave_open(self)


def _is_made(connection: sqlite3.Connection) -> bool:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()
    return bool(mode == "wal" and tables >= len(_TABLES))


_FAR = 2**40


def gone_back(loss: int) -> int:
    """Return the count of writes of a view after its loss of this number: less than anybody has ever known."""
    return -loss * _FAR


class Leftover(NamedTuple):
    """Online rows of a view as it was, to be removed: its name, generation and its Feast object in hex."""

    view: str
    generation: int
    form: dict[str, Any]


class State:
    """The file ``path``, with a connection for each thread; threads and processes share nothing else.

    It is made under ``lock``: SQLite waits for nobody while it turns to WAL.
    """

    def __init__(self, path: Path, lock: Callable[[], AbstractContextManager[None]]) -> None:
        self._path = path
        self._lock = lock
        self._made = False
        self._closed = False
        self._turn = RenewedLock()
        self._threads = threading.local()
        self._connections: weakref.WeakSet[_Connection] = weakref.WeakSet()

    def _is_there(self) -> bool:
        """Return whether the file was ever made; raise when it was there and is gone."""
        there = os.path.exists(self._path)
        if not there and self._made:
            raise sqlite3.OperationalError(f"unable to open {self._path}: it was deleted while in use")
        return there

    @contextmanager
    def _alone(self) -> Iterator[_Connection]:
        """Let the block use this thread's connection, and nobody close it meanwhile."""
        with within_sqlite:
            connection = self._open()
        with connection.turn, within_sqlite:
            self._check_open()
            yield connection

    def _open(self) -> _Connection:
        self._check_open()
        connection: _Connection | None
        process, connection = getattr(self._threads, "opened", (0, None))
        if connection is None or process != os.getpid():  # SQLite forbids a connection on both sides of a fork
            self._path.parent.mkdir(exist_ok=True)
            connection = sqlite3.connect(
                self._path, timeout=10, isolation_level=None, check_same_thread=False, factory=_Connection
            )
            connection.process = os.getpid()
            if not _is_made(connection):
                with self._lock():
                    connection.execute("PRAGMA journal_mode=WAL")
                    for statement in _TABLES:
                        connection.execute(statement)
            connection.execute("PRAGMA synchronous=NORMAL")
            with self._turn:
                self._check_open()
                self._connections.add(connection)
            self._threads.opened = (os.getpid(), connection)
            self._made = True
        return connection

    def _check_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError("The store is closed; open it again with connect.")

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._alone() as connection:
            return connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the connections of all threads, each when the call that it is in has ended."""
        with self._turn:
            self._closed = True
            connections = list(self._connections)
        for connection in connections:
            connection.end()

    def position(self, view: str, generation: int) -> Position | None:
        """Return how far the view is; None when nothing of this generation was written through e2i_fs."""
        if not self._is_there():
            return None
        sql = "SELECT sequence, newest_us, rows FROM position WHERE view = ? AND generation = ?"
        found = self._run(sql, (view, generation))
        return Position(*found[0]) if found else None

    def steps(self, view: str, generation: int) -> int:
        """Return how far the online store's own count had come when rows were last written; 0 without a record."""
        return self._number("SELECT steps FROM position WHERE view = ? AND generation = ?", view, generation)

    def loss(self, view: str, generation: int) -> int:
        """Return the number of the last loss of rows, with a minus when it is over; 0 without one."""
        return self._number("SELECT number FROM loss WHERE view = ? AND generation = ?", view, generation)

    def _number(self, sql: str, *values: Any) -> int:
        if not self._is_there():
            return 0
        found = self._run(sql, values)
        return int(found[0][0]) if found else 0

    def begin(self, view: str, generation: int, rows: int, newest_us: int | None) -> None:
        """Record what Feast itself has put online, if nothing is on record of this generation."""
        self._run("INSERT OR IGNORE INTO position VALUES (?, ?, 0, ?, ?, 0)", (view, generation, newest_us, rows))

    def lost(self, view: str, generation: int, *, steps: int | None, now_us: int) -> bool:
        """Record that rows are gone: the count of writes goes far back, so that whoever knew it notices (X-4).

        So is one step more than the online store ever counted, which it goes beyond next; until then it still has too few, and it is
        the same loss. Returns False, having changed nothing, unless ``steps`` are on record: another writer has recorded the loss,
        or more steps. Where no steps are counted (None), something must have been written since the last loss.
        """
        sql = (
            "SELECT p.steps, p.rows, p.sequence, p.newest_us, l.number, l.newest_us, l.steps "
            "FROM position p LEFT JOIN loss l USING (view, generation) WHERE p.view = ? AND p.generation = ?"
        )
        with self._alone() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                known = connection.execute(sql, (view, generation)).fetchone()
                is_so = known is not None and self._note_loss(connection, view, generation, known, steps, now_us)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have ended it already
                    connection.execute("ROLLBACK")
                raise
        return is_so

    def _note_loss(
        self, connection: _Connection, view: str, generation: int, known: Sequence[Any], steps: int | None, now_us: int
    ) -> bool:
        recorded, rows, sequence, newest_us, number, lost_us, lost_steps = known
        number = number or 0
        if steps is None:
            if not rows and sequence <= gone_back(abs(number)):
                return False
        elif recorded != steps:
            return False
        elif number > 0 and recorded == lost_steps:
            return True  # the writer who recorded it did not come to write
        # Rows ahead of the clock are not waited for: the run that reaches this moment has all that answered.
        gone = [min(us, now_us) for us in (newest_us, lost_us if number > 0 else None) if us is not None]
        number = abs(number) + 1
        connection.execute(
            "INSERT OR REPLACE INTO loss VALUES (?, ?, ?, ?, ?)",
            (view, generation, number, max(gone, default=None), recorded + 1),
        )
        connection.execute(
            "UPDATE position SET rows = 0, newest_us = NULL, steps = steps + 1, sequence = ? WHERE view = ? AND generation = ?",
            (gone_back(number), view, generation),
        )
        return True

    def recovered(self, view: str, generation: int, *, loss: int, until_us: int | None) -> bool:
        """Record that the rows up to ``until_us`` (None: all) are back since ``loss``; return whether that ends it."""
        changed = self._run(
            "UPDATE loss SET number = -number WHERE view = ? AND generation = ? AND number = ? "
            "AND (? IS NULL OR newest_us IS NULL OR newest_us <= ?) RETURNING number",
            (view, generation, loss, until_us, until_us),
        )
        return bool(changed)

    def stepped(self, view: str, generation: int, steps: int) -> None:
        """Record how far the online store's own count has come, if no other writer has recorded more."""
        sql = "UPDATE position SET steps = max(steps, ?) WHERE view = ? AND generation = ?"
        self._run(sql, (steps, view, generation))

    def wrote(self, view: str, generation: int, *, newest_us: int | None, added: int, writes: int) -> None:
        """Record ``writes`` whole writes and ``added`` new keys; the newest event time never goes back."""
        self._run(
            "UPDATE position SET sequence = sequence + ?3, rows = rows + ?4, "
            "newest_us = CASE WHEN newest_us IS NULL OR ?5 > newest_us THEN ?5 ELSE newest_us END "
            "WHERE view = ?1 AND generation = ?2",
            (view, generation, writes, added, newest_us),
        )

    def leave(self, leftovers: list[Leftover]) -> None:
        """Record what is to be removed, before the registry says that it is gone."""
        with self._alone() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO leftover VALUES (?, ?, ?)",
                [(v, g, json.dumps(form)) for v, g, form in leftovers],
            )

    def leftovers(self) -> list[Leftover]:
        """Return what is still to be removed."""
        if not self._is_there():
            return []
        found = self._run("SELECT view, generation, form FROM leftover ORDER BY view")
        return [Leftover(view, generation, json.loads(form)) for view, generation, form in found]

    def removed(self, leftover: Leftover) -> None:
        """Record that the rows are gone, and forget how far they were."""
        for table in ("position", "loss", "leftover"):
            self._run(f"DELETE FROM {table} WHERE view = ? AND generation = ?", leftover[:2])

    def forget(self, leftover: Leftover) -> None:
        """Record that there is nothing to remove after all."""
        self._run("DELETE FROM leftover WHERE view = ? AND generation = ?", leftover[:2])
