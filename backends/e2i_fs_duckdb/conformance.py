"""The harness of this backend for the conformance kit: `e2i-fs certify duckdb`."""

from __future__ import annotations

import sqlite3
import urllib.parse
import uuid
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from e2i_fs.testing.harnesses import FolderHarness

__all__ = ["DuckDBHarness"]


class DuckDBHarness(FolderHarness):
    """The folder of a DuckDB backend; rows are written and read past it as the Parquet files that they are."""

    backend = "duckdb"

    def _segments(self, view: str) -> Path:
        with closing(sqlite3.connect(self.store_folder / "definitions.sqlite", timeout=30)) as db:
            (number,) = db.execute("SELECT id FROM storage WHERE view = ? AND live = 1", (view,)).fetchone()
        return self.store_folder / "history" / f"{urllib.parse.quote(view, safe='')[:150]}.{number}"

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """See `Harness`."""
        folder = self._segments(view)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / f"{uuid.uuid4().hex}.parquet")

    def raw_read(self, view: str) -> pa.Table:
        """See `Harness`."""
        tables = [pq.read_table(file) for file in sorted(self._segments(view).glob("*.parquet"))]
        return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})
