"""The kept catalogue in SQLite (WAL): changed whole or not at all, seen by every process at once (R-1, R-5)."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.errors import BackendDataError, BackendUnavailableError, ConfigError, UnknownFeatureError, did_you_mean
from e2i_fs.forks import leave_open, renew_after_fork, within_sqlite
from e2i_fs_duckdb.mark import ChangeMark

__all__ = ["Registry"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS catalog (id INTEGER PRIMARY KEY CHECK (id = 1), project TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS storage (id INTEGER PRIMARY KEY AUTOINCREMENT, view TEXT NOT NULL, live INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS live_storage ON storage (view) WHERE live = 1;
"""


class _Kept(NamedTuple):
    """What was read: the definitions, the storage numbers of the views, and the mark that stood before reading."""

    catalog: Catalog
    storage: Storage
    mark: int | None


class Storage(dict[str, int]):
    """The number under which the rows of each view are kept; a view that is not there raises `UnknownFeatureError`."""

    def __missing__(self, view: str) -> int:
        raise UnknownFeatureError(f"Unknown feature view {view!r}.{did_you_mean(view, self)}")


class Registry:
    """Definitions below ``folder``, and for each view the number under which its rows are kept.

    The number changes when the rows of before cannot be read any more (a breaking change, a deletion), so that a
    view made anew never shows rows of an earlier one.
    """

    def __init__(self, folder: Path, project: str) -> None:
        self._file = folder / "definitions.sqlite"
        self._path = str(self._file)
        self._project = project
        self._closed = False
        self._connect()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Have a lock that nobody holds."""
        self._lock = threading.RLock()

    def _connect(self) -> None:
        with within_sqlite:
            self._opened()

    def _opened(self) -> None:
        try:
            self._db = sqlite3.connect(self._file, timeout=30.0, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
            empty = json.dumps(Catalog().to_json())
            self._db.execute("INSERT OR IGNORE INTO catalog VALUES (1, ?, ?)", (self._project, empty))
            (project,) = self._db.execute("SELECT project FROM catalog").fetchone()
            self._mark = ChangeMark(self._file.with_suffix(".changed"))
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._failed(error) from error
        if project != self._project:
            raise ConfigError(
                f"The folder {self._file.parent} holds the project {project!r}, not {self._project!r}. "
                "Use another path, or the project's own name."
            )
        self._pid = os.getpid()
        self._version: int | None = None
        self._kept = _Kept(Catalog(), Storage(), None)

    def _failed(self, error: Exception) -> Exception:
        unreachable = isinstance(error, sqlite3.OperationalError | OSError) and "malformed" not in str(error)
        if unreachable:
            return BackendUnavailableError(
                f"The definitions in {self._file} cannot be reached: {error}. Is the folder writable?"
            )
        return BackendDataError(f"The definitions in {self._file} are damaged ({error}); restore the file.")

    def _parsed(self, body: str) -> Catalog:
        try:
            return Catalog.from_json(json.loads(body))
        except (ValueError, KeyError, TypeError) as error:
            raise self._failed(error) from error

    def _current(self) -> _Kept:
        """Return what is kept now. While the mark stands nothing was changed, and neither SQLite nor a lock is needed to know that."""
        kept = self._kept
        if self._mark.number[0] != kept.mark:
            with self._lock, within_sqlite:
                kept = self._looked()
        if not os.access(self._path, os.F_OK):  # SQLite, and the mark, would go on with files that were taken away
            raise self._gone()
        return kept

    def _gone(self) -> BackendUnavailableError:
        return BackendUnavailableError(f"The definitions {self._file} are gone; put the folder back.")

    def _looked(self) -> _Kept:
        """Look into SQLite whether what is kept was changed, and read it if so."""
        if self._closed:
            raise BackendUnavailableError("The store is closed; open it again with connect.")
        if not os.access(self._path, os.F_OK):
            raise self._gone()
        if os.getpid() != self._pid:
            leave_open(self._db)
            self._connect()
        mark = self._mark.now()  # before the rest: what is changed after this is looked for again
        try:
            ((version,),) = self._db.execute("PRAGMA data_version")
            if version != self._version:
                self._db.execute("BEGIN")  # so that both are of one commit
                try:
                    (body,) = self._db.execute("SELECT body FROM catalog").fetchone()
                    storage = Storage(self._db.execute("SELECT view, id FROM storage WHERE live = 1"))
                finally:
                    self._db.execute("COMMIT")
                self._kept, self._version = _Kept(self._parsed(body), storage, mark), version
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._kept = self._kept._replace(mark=mark)
        return self._kept

    def catalog(self) -> Catalog:
        """Return the kept catalogue as it is now."""
        return self._current().catalog

    def storage(self, view: str) -> int:
        """Return the number under which the rows of ``view`` are kept."""
        return self._current().storage[view]

    def storage_under(self, known: Catalog) -> Storage:
        """Return the numbers under which rows are kept, without looking if ``known`` is what `catalog` gave last."""
        kept = self._kept
        return kept.storage if kept.catalog is known else self._current().storage

    def replace(self, wanted: Catalog, *, expected: str) -> bool:
        """Keep ``wanted`` if the catalogue is still at revision ``expected``; return whether it was."""
        with self._lock, within_sqlite:
            self._looked()
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    (body,) = self._db.execute("SELECT body FROM catalog").fetchone()
                    current = self._parsed(body)
                    if current.revision != expected:
                        self._db.execute("ROLLBACK")
                        return False
                    gone = [v for v in current.views if v not in wanted.views]
                    for view in (*gone, *breaking_views(current, wanted)):
                        self._db.execute("UPDATE storage SET live = 0 WHERE view = ?", (view,))
                    for view in wanted.views:
                        self._db.execute("INSERT OR IGNORE INTO storage (view, live) VALUES (?, 1)", (view,))
                    self._db.execute("UPDATE catalog SET body = ?", (json.dumps(wanted.to_json()),))
                    with self._mark.changing():
                        self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise self._failed(error) from error
            self._version = None  # which tells of other connections' changes only
            return True

    def dead_storage(self) -> list[tuple[str, int]]:
        """Return the views and numbers whose rows nobody can read any more."""
        with self._lock, within_sqlite:
            return list(self._db.execute("SELECT view, id FROM storage WHERE live = 0"))

    def bury(self, number: int) -> None:
        """Forget one dead number, once its rows are gone."""
        with self._lock, within_sqlite:
            self._db.execute("DELETE FROM storage WHERE id = ? AND live = 0", (number,))

    def ping(self) -> None:
        """Raise unless the file answers."""
        with self._lock, within_sqlite:
            self._looked()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock, within_sqlite:
            self._closed = True
            self._kept = self._kept._replace(mark=None)
            if os.getpid() == self._pid:
                self._db.close()
            else:
                leave_open(self._db)
