"""Data frames in and out: anything that speaks the Arrow C stream, given back in its own kind (P-6)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from textwrap import shorten
from typing import Any

from e2i_fs.arrow import pa
from e2i_fs.clock import to_us
from e2i_fs.errors import InvalidEntityFrameError, UnsupportedError, unstopped
from e2i_fs.one_kind import check_one_kind, is_nothing

__all__ = ["Frame", "arrow_table", "to_pandas"]

_NULLABLE = {
    "int32": "Int32", "int64": "Int64", "float": "Float32", "double": "Float64", "bool": "boolean", "string": "string",
}  # fmt: skip


class Frame:
    """A caller's frame: itself, and as an Arrow table of the same rows and columns (a pandas index apart).

    Raises `InvalidEntityFrameError` for what is no frame, or has two columns of one name.
    """

    def __init__(self, native: Any, what: str = "entity_df") -> None:
        self.kind = _kind(native)
        self.lazy = self.kind == "polars" and type(native).__name__ == "LazyFrame"
        # What comes back is what was asked about, whatever the caller does to the frame meanwhile (P-6).
        self.native = native.collect() if self.lazy else native.copy() if self.kind == "pandas" else native
        self.table: pa.Table = arrow_table(self.native, what)

    def with_columns(self, columns: Mapping[str, pa.ChunkedArray]) -> Any:
        """Return the native frame with ``columns`` after its own, which come back as they were (P-6)."""
        if self.kind == "pandas":
            return _pandas_with(self.native, columns)
        if self.kind == "polars":
            import polars as pl

            made = self.native.with_columns([pl.Series(name, pl.from_arrow(c)) for name, c in columns.items()])
            return made.lazy() if self.lazy else made
        table = self.arrow_with(columns)
        if self.kind == "duckdb":
            import duckdb

            return duckdb.from_arrow(table)
        return table

    def arrow_with(self, columns: Mapping[str, pa.ChunkedArray]) -> pa.Table:
        """Return the Arrow table with ``columns`` after its own."""
        table = self.table
        for name, column in columns.items():
            table = table.append_column(name, column)
        return table


def arrow_table(native: Any, what: str) -> pa.Table:
    """Return a caller's frame as an Arrow table of the same columns, without a copy where its kind allows that.

    Raises `InvalidEntityFrameError` for what is no frame, or has two columns of one name.
    """
    kind = _kind(native)
    if kind == "polars" and type(native).__name__ == "LazyFrame":
        native = native.collect()
    try:
        table = _table(native, kind, what)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError) as error:
        raise InvalidEntityFrameError(
            f"{what} cannot be read as columns of one type each: {unstopped(error)}. Give every column one type."
        ) from error
    if table is None:
        raise InvalidEntityFrameError(
            f"{what} is {_told(native)}; give a pandas, polars or pyarrow frame, a DuckDB relation, a list with one mapping "
            "for each row, or anything with __arrow_c_stream__."
        )
    names = table.column_names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InvalidEntityFrameError(f"{what} has two columns called {twice[0]!r}; rename one of them.")
    return table


def _told(native: Any) -> str:
    """Return what was given in place of a frame, in a few words."""
    empty = isinstance(native, list | tuple) and not native
    if empty or native is None or isinstance(native, bool | int | float | str):
        return shorten(repr(native), 60)
    module = type(native).__module__
    return f"a {type(native).__qualname__}" if module == "builtins" else f"a {module}.{type(native).__qualname__}"


def _kind(native: Any) -> str:
    module = type(native).__module__.partition(".")[0]
    if module in ("_duckdb", "duckdb"):
        return "duckdb"
    return module if module in ("pandas", "polars") else "arrow"


def _table(native: Any, kind: str, what: str) -> pa.Table | None:
    if isinstance(native, pa.Table):
        return native
    if kind == "pandas":
        return _from_pandas(native, what) if type(native).__name__.endswith("DataFrame") else None
    if isinstance(native, pa.RecordBatch):
        return pa.Table.from_batches([native])
    if isinstance(native, Mapping):
        scalar = next((n for n, v in native.items() if isinstance(v, str) or not isinstance(v, Iterable)), None)
        if scalar is not None:
            raise InvalidEntityFrameError(
                f"A mapping stands for columns, and {scalar!r} holds the single value {native[scalar]!r}; give lists, or a "
                "list with one mapping for each row."
            )
        return _from_lists({name: list(values) for name, values in native.items()}, what)
    if isinstance(native, list) and not native:
        raise InvalidEntityFrameError(
            f"{what} is an empty list, which has neither rows nor columns; give rows, or a frame of no rows with its columns."
        )
    if isinstance(native, list) and all(isinstance(row, Mapping) for row in native):
        names = list(dict.fromkeys(name for row in native for name in row))
        return _from_lists({name: [row.get(name) for row in native] for name in names}, what)
    if kind == "duckdb":
        return native.to_arrow_table()
    stream = getattr(native, "__arrow_c_stream__", None)
    return None if stream is None else pa.RecordBatchReader.from_stream(native).read_all()


def _from_lists(columns: Mapping[str, list[Any]], what: str) -> pa.Table:
    made = {}
    lengths = {name: len(values) for name, values in columns.items()}
    for name, values in columns.items():
        first = next(iter(lengths))
        if lengths[name] != lengths[first]:
            raise InvalidEntityFrameError(
                f"{what}: column {name!r} has {lengths[name]:,} values and {first!r} has {lengths[first]:,}; give every column one "
                "value for each row, None where it is missing."
            )
        made[name] = _one_type(values, name, what, partial(_of_objects, name=name, what=what))
    return pa.table(made)


def _one_type(values: Any, name: str, what: str, convert: Callable[[Any], pa.Array]) -> pa.Array:
    """Return a column as Arrow, or raise `InvalidEntityFrameError` that names it."""
    try:
        return convert(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        # A numpy scalar of complex numbers is a Python one too.
        if any(isinstance(v, complex) for v in values):
            raise InvalidEntityFrameError(
                f"{what}: column {name!r} holds complex numbers, which no dtype does; give the real and the imaginary part a "
                "column each."
            ) from error
        raise InvalidEntityFrameError(
            f"{what}: column {name!r} cannot be read as values of one type: {unstopped(error)}. Give the column one type."
        ) from error


def _from_pandas(frame: Any, what: str) -> pa.Table:
    names = list(frame.columns)
    wrong = next((n for n in names if not isinstance(n, str)), None)
    if wrong is not None:
        raise InvalidEntityFrameError(f"{what}: the column name {wrong!r} is not text; rename it.")
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InvalidEntityFrameError(f"{what} has two columns called {twice!r}; rename one of them.")
    columns = []
    for name in names:
        series = frame[name]
        convert: Callable[[Any], pa.Array] = pa.Array.from_pandas
        if series.dtype == object:
            convert = partial(_of_objects, name=name, what=what, from_pandas=True)
        columns.append(_one_type(series, name, what, convert))
    arrays = [c if isinstance(c, pa.ChunkedArray) else pa.chunked_array([c]) for c in columns]
    return pa.table(arrays, names=names)


def _of_objects(values: Any, *, name: str, what: str, from_pandas: bool = False) -> pa.Array:
    """Return Python values as Arrow; raise `InvalidEntityFrameError` where Arrow would make some of one kind those of another."""
    check_one_kind(values, what, name)
    types = set(map(type, values))
    if any(issubclass(one, dt.datetime) and not is_nothing(one) for one in types):
        return _mixed_times(values)
    if any(is_nothing(one) for one in types - {type(None)}):
        values = [None if is_nothing(type(value)) else value for value in values]
    return pa.array(values, from_pandas=from_pandas)


def _mixed_times(values: Any) -> pa.Array:
    """Return a column of datetimes of any zones, mixed too, as UTC instants; naive ones are UTC (T-1)."""
    naive = fine = False
    moments: list[int | None] = []
    for value in values:
        if is_nothing(type(value)) or (isinstance(value, float) and math.isnan(value)):
            moments.append(None)
        elif not isinstance(value, dt.datetime):
            raise pa.ArrowTypeError(f"{value!r} is no time")
        else:
            extra = getattr(value, "nanosecond", 0)
            naive, fine = naive or value.tzinfo is None, fine or bool(extra)
            moments.append(to_us(value) * 1000 + extra)
    zone = None if naive else "UTC"
    if fine:
        return pa.array(moments, pa.int64()).cast(pa.timestamp("ns", zone))
    return pa.array([m if m is None else m // 1000 for m in moments], pa.int64()).cast(pa.timestamp("us", zone))


def to_pandas(table: pa.Table) -> Any:
    """Return an Arrow table as pandas with nullable dtypes, so that a miss changes no dtype (P-8)."""
    pd = _pandas()
    return pd.DataFrame({name: _series(pd, table.column(name)) for name in table.column_names})


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise UnsupportedError(
            "pandas is not installed; use to_arrow() or to_polars(), or pip install pandas."
        ) from error
    return pd


def _pandas_with(frame: Any, columns: Mapping[str, pa.ChunkedArray]) -> Any:
    pd = _pandas()
    added = {name: _series(pd, column).set_axis(frame.index) for name, column in columns.items()}
    return pd.concat([frame, pd.DataFrame(added, index=frame.index)], axis=1) if added else frame.copy()


def _series(pd: Any, column: pa.ChunkedArray) -> Any:
    """Return one column as a pandas series: nullable where pandas has it, NULL and NaN kept apart (P-8)."""
    name = _NULLABLE.get(str(column.type))
    if name == "string":
        return pd.Series(pd.array(column.to_pylist(), dtype="string"))
    if name is not None:
        import numpy as np

        mask = np.array(column.is_null().to_numpy())
        values = np.array(column.fill_null(pa.scalar(0).cast(column.type)).to_numpy())
        kinds = {"b": pd.arrays.BooleanArray, "I": pd.arrays.IntegerArray, "F": pd.arrays.FloatingArray}
        return pd.Series(kinds[name[0]](values, mask))
    if pa.types.is_timestamp(column.type):
        return column.to_pandas()
    return pd.Series(column.to_pylist(), dtype=object)


def rows_of(rows: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return ``rows`` if it is a list of mappings, as online requests usually are; None if it is a frame."""
    if isinstance(rows, list | tuple) and all(isinstance(r, Mapping) for r in rows):
        return rows
    return None
