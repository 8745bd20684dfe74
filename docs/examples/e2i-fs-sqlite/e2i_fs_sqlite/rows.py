"""Rows as bytes and back: msgpack keeps every integer, NaN, -0.0 and byte as it is, which SQLite's own types do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgpack
import pyarrow as pa
from e2i_fs import BackendDataError, Catalog, DType, OnlineRow, Timestamp
from e2i_fs.values import arrow_type, python_value, storage_values

Key = tuple[Any, ...]


def column_types(catalog: Catalog, view: str) -> dict[str, DType]:
    """Return the columns of a view's history with their dtypes: join keys, time columns, fields."""
    found = catalog.view(view)
    times = [name for name in (found.event_column, found.created_column) if name]
    return {**catalog.join_keys(view), **dict.fromkeys(times, Timestamp), **{f.name: f.dtype for f in found.schema}}


def packed_history(table: pa.Table, types: Mapping[str, DType], event: str) -> Iterator[tuple[int, bytes]]:
    """Return each row of ``table`` as its event time (µs) and its bytes."""
    columns = {name: storage_values(table.column(name), dtype) for name, dtype in types.items()}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        yield row[event], msgpack.packb(row)


def unpacked_history(bodies: Sequence[bytes], types: Mapping[str, DType]) -> pa.Table:
    """Return rows as a table of the columns ``types``; one that was written before a column was there lacks it."""
    rows = [_unpacked(body) for body in bodies]
    columns = [
        pa.array([python_value(row.get(name), dtype) for row in rows], arrow_type(dtype))
        for name, dtype in types.items()
    ]
    return pa.table(columns, schema=pa.schema([(name, arrow_type(dtype)) for name, dtype in types.items()]))


def packed_key(key: Key) -> bytes:
    """Return a key as bytes that are equal only for equal values of equal types (P-7)."""
    packed: bytes = msgpack.packb(list(key))
    return packed


def packed_online(rows: Sequence[OnlineRow]) -> bytes:
    """Return what is kept of one key."""
    packed: bytes = msgpack.packb([[row.event_us, row.created_us, dict(row.values)] for row in rows])
    return packed


def unpacked_online(body: bytes) -> tuple[OnlineRow, ...]:
    """Return what is kept of one key."""
    return tuple(OnlineRow(*row) for row in _unpacked(body))


def _unpacked(body: bytes) -> Any:
    try:
        return msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise BackendDataError(f"A row cannot be decoded ({error}); restore the file.") from error
