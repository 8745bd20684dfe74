"""Rows to be judged, as DuckDB sees them: any frame or Parquet files, with every column known by its position."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.errors import BackendDataError, InvalidEntityFrameError, did_you_mean
from e2i_fs.frames import arrow_table
from e2i_fs.pit.connection import database
from e2i_fs.reading import exact_path, expand_paths, parquet_schema
from e2i_fs.results import HistoricalResult
from e2i_fs.values import decoded

__all__ = ["Column", "Rows", "counting", "opened"]

MEMORY = "2GB"  # beside the caller's own frame; what does not fit is spilled to the system's temporary folder
EXAMPLES = 5

K = TypeVar("K")

# Errors in the values of a frame or in an expectation. Others (memory, disk) are no statement about the data.
_OF_THE_DATA = (duckdb.DataError, duckdb.ProgrammingError, duckdb.NotSupportedError)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, Arrow type, kind of value, and where it stands among the columns.

    ``kind`` is number, bool, text, time, date, bytes, null (a column without a type, all missing) or other.
    """

    name: str
    type: pa.DataType
    kind: str
    position: int

    @property
    def real(self) -> bool:
        """Whether values may be NaN or infinite."""
        return bool(pa.types.is_floating(self.inner))

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return bool(pa.types.is_integer(self.inner))

    @property
    def inner(self) -> pa.DataType:
        """The type of its values as they are read: out of a dictionary or runs, decimals with at most 38 digits."""
        return _inner(self.type)

    @property
    def raw(self) -> str:
        """SQL for the value as it was given, NaN as NaN."""
        return f"c{self.position}"

    @property
    def sql(self) -> str:
        """SQL for the value. NaN is missing, whatever kind of frame it came in."""
        return f"v{self.position}" if self.real else self.raw

    @property
    def finite(self) -> str:
        """SQL for whether a present value is a number that one can reckon with."""
        return f"isfinite({self.sql})" if self.real else "true"

    @property
    def clean(self) -> str:
        """SQL for the value with NaN and infinities as missing."""
        return f"f{self.position}" if self.real else self.raw


def counting(condition: str) -> str:
    """SQL for the number of rows for which ``condition`` is true; 0 of none."""
    return f"count(CASE WHEN {condition} THEN 1 END)"


class Rows:
    """The rows of a frame, open for questions. Use `opened`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: pa.Schema, relation: str, count: int) -> None:
        self.connection = connection
        self.count = count
        self.columns: Mapping[str, Column] = {
            f.name: Column(f.name, f.type, _kind(f.type), i) for i, f in enumerate(schema)
        }
        # A CASE costs a pass over many columns a third of what a FILTER for each aggregate does, and each is said once.
        made = "".join(
            f", CASE WHEN NOT isnan({c.raw}) THEN {c.raw} END AS {c.sql}, CASE WHEN isfinite({c.raw}) THEN {c.raw} END AS {c.clean}"
            for c in self.columns.values()
            if c.real
        )
        self.relation = f"(SELECT *{made} FROM {relation})" if made else relation

    def unknown(self, name: str) -> str:
        """Return a sentence that says there is no such column, naming the nearest."""
        return f"There is no column {name!r}.{did_you_mean(name, self.columns)}"

    def measure(self, figures: Mapping[K, str], relation: str | None = None) -> dict[K, Any]:
        """Return the value of each aggregate in ``figures``, all of them in one pass over the rows, or over ``relation``.

        A figure that cannot be computed of these values has the error in place of its value; it is found by halving.
        """
        if not figures:
            return {}
        names = list(figures)
        try:
            found = self._asked(f"SELECT {', '.join(figures.values())} FROM {relation or self.relation}")[0]
        except _OF_THE_DATA as error:
            if len(names) == 1:
                return {names[0]: error}
            half = len(names) // 2
            parts = ({n: figures[n] for n in part} for part in (names[:half], names[half:]))
            return {name: value for part in parts for name, value in self.measure(part, relation).items()}
        return dict(zip(names, found, strict=True))

    def where(self, condition: str) -> tuple[int, ...]:
        """Return the positions, from 0, of the first few rows for which ``condition`` is true."""
        numbered = f"(SELECT row_number() OVER () - 1 AS r, * FROM {self.relation})"
        found = self.fetch(f"SELECT r FROM {numbered} WHERE {condition} ORDER BY r LIMIT {EXAMPLES}")
        return tuple(r for (r,) in found)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Raises `BackendDataError` when they cannot be read, or nothing be made of a value."""
        try:
            return self._asked(sql)
        except _OF_THE_DATA as error:
            raise BackendDataError(f"A value of the rows cannot be judged: {_first_line(error)}") from error

    def _asked(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(sql).fetchall()
        except _OF_THE_DATA:
            raise
        except duckdb.Error as error:
            raise BackendDataError(f"The rows cannot be read to the end: {error}") from error


@contextmanager
def opened(frame: Any, what: str = "frame") -> Iterator[Rows]:
    """Open a frame of any kind, the answer of a retrieval, or the path of Parquet files: a file, a folder or a glob.

    Nothing is copied but what Arrow must: DuckDB reads Arrow memory and Parquet files where they are. Raises
    `InvalidEntityFrameError` for what is no frame and for a path without files.
    """
    connection = database()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        spill = os.path.join(tempfile.gettempdir(), f"e2i_fs-quality-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        connection.execute("SET temp_directory = $1", [spill])
        connection.execute("SET memory_limit = $1", [MEMORY])
        if isinstance(frame, str | os.PathLike):
            yield _files(connection, os.fspath(frame), what)
        else:
            yield _table(connection, frame.to_arrow() if isinstance(frame, HistoricalResult) else frame, what)
    finally:
        connection.close()


def _table(connection: duckdb.DuckDBPyConnection, frame: Any, what: str) -> Rows:
    table = arrow_table(frame, what)
    if not table.num_columns:
        raise InvalidEntityFrameError(
            f"{what} has no columns, so there is nothing to look at; give a frame with columns."
        )
    readable = [_readable(table.column(i), table.column_names[i], what) for i in range(table.num_columns)]
    # DuckDB takes names that differ only by case for one: here columns are known by position.
    renamed = pa.table(readable, names=[f"c{i}" for i in range(len(readable))])
    try:
        connection.register("frame", renamed)
    except duckdb.Error as error:
        types = ", ".join(f"{f.name!r} ({f.type})" for f in table.schema)
        raise InvalidEntityFrameError(
            f"{what} has a column of a type that cannot be read, of {types}: {_first_line(error)}"
        ) from error
    return Rows(connection, table.schema, "frame", len(table))


def _readable(column: pa.ChunkedArray, name: str, what: str) -> pa.ChunkedArray:
    """Return a column in a type that DuckDB reads."""
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if pa.types.is_dictionary(column.type) and _kind(column.type) != "text":  # texts are many, and read as they are
        column = decoded(column)
    given = column.type
    if pa.types.is_float16(given):
        return column.cast(pa.float32())
    if pa.types.is_timestamp(given) and given.unit == "ns" and given.tz is not None:
        return column.cast(pa.timestamp("ns"))  # the same instants, which DuckDB would cut to microseconds
    if pa.types.is_decimal(given) and _inner(given) != given:
        try:
            return column.cast(_inner(given))
        except pa.ArrowInvalid as error:
            raise InvalidEntityFrameError(
                f"{what}, column {name!r}: decimals of more than 38 digits: {error}"
            ) from error
    return column


def _files(connection: duckdb.DuckDBPyConnection, path: str, what: str) -> Rows:
    try:
        files = expand_paths([path], os.getcwd(), ".parquet")
    except FileNotFoundError as error:
        raise InvalidEntityFrameError(
            f"{what}: there is no Parquet file at {path}. Give a file, a folder or a glob."
        ) from error
    schema = parquet_schema(files[0])
    twice = sorted({n for n in schema.names if schema.names.count(n) > 1})
    if twice:
        raise InvalidEntityFrameError(f"{what}: {files[0]} has two columns called {twice[0]!r}; rename one of them.")
    quoted = ", ".join("'" + exact_path(f).replace("'", "''") + "'" for f in files)
    names = ", ".join(f"c{i}" for i in range(len(schema)))
    relation = f"read_parquet([{quoted}], hive_partitioning=false) AS frame({names})"
    try:
        ((count,),) = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
    except duckdb.Error as error:
        raise BackendDataError(f"{path} cannot be read as Parquet files of the same columns: {error}") from error
    return Rows(connection, schema, relation, count)


def _first_line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0]


def _inner(given: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(given) or pa.types.is_run_end_encoded(given):
        return _inner(given.value_type)
    if pa.types.is_decimal(given) and (given.precision > 38 or given.scale < 0):
        return pa.decimal128(38, min(max(given.scale, 0), 38))
    return given


def _kind(given: pa.DataType) -> str:
    given = _inner(given)
    tests: Sequence[tuple[str, Any]] = (
        ("null", pa.types.is_null), ("bool", pa.types.is_boolean), ("number", pa.types.is_integer),
        ("number", pa.types.is_floating), ("number", pa.types.is_decimal), ("text", pa.types.is_string),
        ("text", pa.types.is_large_string), ("text", pa.types.is_string_view), ("time", pa.types.is_timestamp),
        ("date", pa.types.is_date), ("bytes", pa.types.is_binary), ("bytes", pa.types.is_large_binary),
        ("bytes", pa.types.is_binary_view), ("bytes", pa.types.is_fixed_size_binary),
    )  # fmt: skip
    return next((kind for kind, test in tests if test(given)), "other")
