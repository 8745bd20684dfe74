"""The harness: how the tests and `e2i-fs certify sqlite` open the store, and how they reach it without the backend."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import e2i_fs as fs
import pyarrow as pa
from e2i_fs.testing import Harness

from e2i_fs_sqlite import rows as coding


class SQLiteHarness(Harness):
    """One file for one test."""

    def open(self) -> fs.FeatureStore:
        """Return a store on the file. Called twice, it opens two handles on the same rows."""
        return fs.connect({"backend": "sqlite", "path": str(self.path / "store")}, clock=self.clock)

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """Insert rows into the table of history."""
        with closing(self._sql()) as db, db:
            catalog = self._catalog(db)
            packed = coding.packed_history(rows, coding.column_types(catalog, view), catalog.view(view).event_column)
            db.executemany("INSERT INTO history VALUES (?, ?, ?)", ((view, *row) for row in packed))

    def raw_read(self, view: str) -> pa.Table:
        """Select the rows of the table of history."""
        with closing(self._sql()) as db:
            bodies = [body for (body,) in db.execute("SELECT body FROM history WHERE view = ?", (view,))]
            return coding.unpacked_history(bodies, coding.column_types(self._catalog(db), view))

    def break_(self) -> None:
        """Move the file away, with what SQLite keeps beside it.

        A folder of its name keeps anybody who opens the store meanwhile from making a new file.
        """
        self._away.mkdir()
        for file in self._file.parent.glob("features.sqlite*"):
            file.rename(self._away / file.name)
        self._file.mkdir()

    def heal(self) -> None:
        """Move it back."""
        self._file.rmdir()
        for file in self._away.iterdir():
            file.rename(self._file.parent / file.name)
        self._away.rmdir()

    @property
    def _file(self) -> Path:
        return self.path / "store" / "features.sqlite"

    @property
    def _away(self) -> Path:
        return self.path / "away"

    def _sql(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=10)

    def _catalog(self, db: sqlite3.Connection) -> fs.Catalog:
        (body,) = db.execute("SELECT body FROM catalog").fetchone()
        return fs.Catalog.from_json(json.loads(body))
