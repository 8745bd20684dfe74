"""Batches to write, as JSON brings them, to columns of the dtypes that the definitions name; every problem at once (W-1)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from e2i_fs.catalog import Catalog
from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidBatchError, unstopped
from e2i_fs.frames import arrow_table
from e2i_fs.values import arrow_type
from e2i_fs.wire.entity_rows import read_value

__all__ = ["batch_dtypes", "columns_of", "typed_batch"]

_MOST = 1_000  # missing values that are told one by one, for rows may have no column in common
_TIMESTAMP = DType("timestamp")
_DO_NOT_FIT = (ValueError, TypeError, OverflowError)  # pyarrow's errors of values are among these


def batch_dtypes(catalog: Catalog, views: Sequence[str]) -> dict[str, DType]:
    """Return the dtypes of the columns that batches for these views have: join keys, time columns, fields."""
    dtypes: dict[str, DType] = {}
    for name in views:
        view = catalog.view(name)
        times = [view.event_column, *([view.created_column] if view.created_column else [])]
        dtypes |= {**catalog.join_keys(name), **dict.fromkeys(times, _TIMESTAMP)}
        dtypes |= {f.name: f.dtype for f in view.schema}
    return dtypes


def columns_of(what: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns. Raises `InvalidBatchError` unless every row has the same columns.

    >>> columns_of("The batch", [{"a": 1}, {"a": None}])
    {'a': [1, None]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    missing = sum(len(names) - len(row) for row in rows)
    if missing:
        found = (
            f"row {i}, column {name!r} is missing; write null where a value is"
            for i, row in enumerate(rows)
            if len(row) < len(names)
            for name in names
            if name not in row
        )
        more = [f"and {missing - _MOST} more"] if missing > _MOST else []
        raise _refused(what, [*itertools.islice(found, _MOST), *more])
    return {name: [row[name] for row in rows] for name in names}


def typed_batch(what: str, columns: Mapping[str, Sequence[Any]], dtypes: Mapping[str, DType]) -> pa.Table:
    """Return columns as a table, those of ``dtypes`` in their Arrow types, others as they come, for the store to judge.

    Values have the forms of `e2i_fs.wire.entity_rows`, NaN and the infinities as text; arrays are lists, structs objects.
    Raises `InvalidBatchError` with each value that is not what its column holds.
    """
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name!r} has {len(values)}" for name, values in columns.items())
        raise _refused(what, [f"the columns are not of one length: {told}"])
    problems: list[str] = []
    made = {name: _column(name, list(values), dtypes.get(name), problems) for name, values in columns.items()}
    if problems:
        raise _refused(what, problems)
    return pa.table({name: column for name, column in made.items() if column is not None})


def _column(name: str, values: list[Any], dtype: DType | None, problems: list[str]) -> Any:
    """Return one column, or None after adding a problem for each value that is not what the column holds."""
    if dtype is None:
        return _array(name, values, None)
    read, found = list(values), []
    for row, value in enumerate(values):
        try:
            read[row] = read_value(value, dtype)
        except ValueError as error:
            found.append((row, str(error)))
    if not found:
        try:
            return _array(name, read, dtype)
        except _DO_NOT_FIT as error:
            found = [(row, why) for row, value in enumerate(read) if (why := _misfit(name, value, dtype))]
            if not found:  # each by itself is one, and all together are none
                problems.append(f"column {name!r}: {unstopped(error)}")
    else:
        wrong = {row for row, _ in found}
        also = [(row, _misfit(name, value, dtype)) for row, value in enumerate(read) if row not in wrong]
        found = sorted([*found, *((row, why) for row, why in also if why)])
    problems.extend(f"row {row}, column {name!r}: {_short(values[row])} is not {dtype!r}: {why}" for row, why in found)
    return None


def _array(name: str, read: list[Any], dtype: DType | None) -> Any:
    if dtype is None or dtype.kind == "timestamp":  # whether a naive time is taken, the store judges (T-1)
        return arrow_table({name: read}, name).column(name)
    return pa.array(read, arrow_type(dtype))


def _misfit(name: str, value: Any, dtype: DType) -> str:
    try:
        _array(name, [value], dtype)
    except _DO_NOT_FIT as error:
        return unstopped(error)
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _refused(what: str, problems: list[str]) -> InvalidBatchError:
    return InvalidBatchError(f"{what} was refused whole, nothing was written (W-1):", problems)
