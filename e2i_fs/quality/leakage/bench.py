"""Where the work is done: one private DuckDB connection that holds the frame and the store's answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from e2i_fs.pit.connection import connect
from e2i_fs.quality.leakage.compare import prepared

__all__ = ["Bench"]


class Bench:
    """The frame as the table ``x``: ``row``, ``t`` (µs), its columns as ``c0..`` and the store's answers by the names given.

    Columns are known by position, so that no name can collide with another or differ only by case.
    """

    def __init__(self, frame: pa.Table, times: pa.ChunkedArray | None = None) -> None:
        self.names = {name: f"c{i}" for i, name in enumerate(frame.column_names)}
        self.types: dict[str, pa.DataType] = {}
        self.rows = len(frame)
        self._columns: dict[str, Any] = {"row": pa.array(range(self.rows), pa.int64())}
        self._columns["t"] = pa.nulls(self.rows, pa.int64()) if times is None else times
        for name, alias in self.names.items():
            self._columns[alias] = prepared(frame.column(name))
            self.types[alias] = self._columns[alias].type
        self._connection = connect()

    def load(self, answers: Mapping[str, pa.ChunkedArray]) -> None:
        """Make the table ``x``, with ``answers`` beside the frame's columns."""
        columns = {**self._columns, **{name: prepared(column) for name, column in answers.items()}}
        self.put("given", pa.table(columns))
        self.run("CREATE TEMP TABLE x AS SELECT * FROM given")

    def put(self, name: str, table: pa.Table) -> None:
        """Make ``table`` visible under ``name``."""
        self._connection.register(name, table)

    def run(self, sql: str) -> None:
        """Execute a statement."""
        self._connection.execute(sql)

    def rows_of(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._connection.execute(sql).fetchall()

    def row_of(self, sql: str) -> tuple[Any, ...]:
        """Return the one row of a query."""
        (row,) = self.rows_of(sql)
        return row

    def table_of(self, sql: str) -> pa.Table:
        """Return a query's rows as Arrow."""
        return self._connection.sql(sql).to_arrow_table()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
