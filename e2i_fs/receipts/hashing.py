"""Hashes of content: the same for the same values, whatever frame, chunks, process or version they come in.

A cell's hash is the first 64 bits of the MD5 of its canonical text, 0 for a missing one. It tells values apart; it is
no signature, and does not keep a secret.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.clock import to_us
from e2i_fs.values import decoded

__all__ = ["cell_hashes", "column_hash", "kind_of", "positions_hash", "row_names", "together"]

_NAN64, _NAN32 = 0x7FF8000000000000, 0x7FC00000


def cell_hashes(columns: Mapping[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Return, for each column, a uint64 column with the hash of each cell.

    Whole numbers hash alike in every width, text in every encoding (categories too), times in every unit and zone;
    a float hashes by its bits, every NaN alike.
    """
    texts = {name: _texts(decoded(column)) for name, column in columns.items()}
    if not texts:
        return {}
    from e2i_fs.pit.connection import connect

    table = pa.table({f"c{i}": column for i, column in enumerate(texts.values())})
    picked = ", ".join(
        f"coalesce(CAST('0x' || substr(md5(c{i}), 1, 16) AS UBIGINT), 0) AS c{i}" for i in range(len(texts))
    )
    with connect() as connection:
        connection.register("cells", table)
        hashed = connection.sql(f"SELECT {picked} FROM cells").to_arrow_table()
    return dict(zip(texts, hashed.columns, strict=True))


def kind_of(given: pa.DataType) -> str:
    """Return the kind of a column's values, the same for every width and encoding of them.

    >>> kind_of(pa.large_string()), kind_of(pa.int16())
    ('text', 'whole')
    """
    if pa.types.is_dictionary(given):
        given = given.value_type
    names = {
        "whole": pa.types.is_integer, "float64": pa.types.is_float64, "float32": pa.types.is_float32,
        "bool": pa.types.is_boolean, "time": pa.types.is_timestamp, "date": pa.types.is_date,
        "decimal": pa.types.is_decimal, "missing": pa.types.is_null,
    }  # fmt: skip
    found = next((name for name, test in names.items() if test(given)), None)
    if found is not None:
        return found
    if pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given):
        return "text"
    if pa.types.is_binary(given) or pa.types.is_large_binary(given) or pa.types.is_binary_view(given):
        return "bytes"
    if pa.types.is_fixed_size_list(given) and pa.types.is_float32(given.value_type):
        return "vector"
    return "struct" if pa.types.is_struct(given) else "list" if pa.types.is_nested(given) else str(given)


def column_hash(cells: pa.ChunkedArray, kind: str) -> str:
    """Return the hash of a whole column of ``kind``, made of its cells' hashes in their order."""
    digest = hashlib.sha256(f"{kind} {len(cells)}\n".encode())
    for chunk in cells.chunks:
        data = chunk.buffers()[1]
        if data is not None:
            digest.update(memoryview(data)[chunk.offset * 8 : (chunk.offset + len(chunk)) * 8])
    return digest.hexdigest()[:32]


def positions_hash(positions: pa.Array) -> str:
    """Return the hash of row positions, in their order.

    >>> positions_hash(pa.array([0, 1, 2])) == positions_hash(pa.array([0, 2, 1]))
    False
    """
    digest = hashlib.sha256()
    for position in positions.cast(pa.int64()).to_pylist():
        digest.update(position.to_bytes(8, "little"))
    return digest.hexdigest()[:32]


def together(hashes: Iterable[tuple[str, str]]) -> str:
    """Return one hash of several named ones, in their order."""
    return hashlib.sha256("\n".join(f"{name!r} {value}" for name, value in hashes).encode()).hexdigest()[:32]


def row_names(cells: Sequence[pa.ChunkedArray], rows: int) -> list[str]:
    """Return a text for each row that is the same for rows whose cells are all the same, and for no others.

    >>> row_names([pa.chunked_array([pa.array([1, 1, 2], pa.uint64())])], 3)
    ['0000000000000001', '0000000000000001', '0000000000000002']
    """
    if not cells:
        return [""] * rows
    return ["".join(f"{cell:016x}" for cell in row) for row in zip(*(c.to_pylist() for c in cells), strict=True)]


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as canonical texts or bytes, missing where it is missing."""
    given = column.type
    kind = kind_of(given)
    if kind in ("text", "bytes"):
        return column.cast(pa.large_string() if kind == "text" else pa.large_binary())
    if kind == "missing":
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    if kind in ("float64", "float32"):
        return _bits(column, given).cast(pa.string())
    if kind == "time":
        return _whole_times(column).cast(pa.string())
    if kind == "date":
        return column.cast(pa.date32()).cast(pa.int32()).cast(pa.string())
    if kind == "vector":
        return _vectors(column)
    if kind in ("whole", "bool"):
        return column.cast(pa.int64() if kind == "bool" else given).cast(pa.string())
    return pa.chunked_array([pa.array([None if v is None else _plain(v) for v in column.to_pylist()], pa.string())])


def _bits(column: pa.ChunkedArray, given: pa.DataType) -> pa.ChunkedArray:
    wide = given == pa.float64()
    bits = pa.chunked_array(
        [c.view(pa.int64() if wide else pa.int32()) for c in column.chunks], pa.int64() if wide else pa.int32()
    )
    return pc.if_else(pc.is_nan(column), pa.scalar(_NAN64 if wide else _NAN32, bits.type), bits)


def _vectors(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return vectors as the bytes of their numbers, without making a Python object of any."""
    size = column.type.list_size
    made = []
    for chunk in column.chunks:
        numbers = chunk.values.slice(chunk.offset * size, len(chunk) * size)
        bits = pc.fill_null(_bits(pa.chunked_array([numbers]), numbers.type), 0).combine_chunks()
        packed = pa.array(bits, pa.int32()).buffers()[1]
        rows = pa.Array.from_buffers(pa.binary(4 * size), len(chunk), [None, packed])
        made.append(pc.if_else(chunk.is_valid(), rows, pa.scalar(None, rows.type)).cast(pa.large_binary()))
    return pa.chunked_array(made, pa.large_binary())


def _whole_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as microseconds where all are whole ones, else as nanoseconds marked by their size."""
    given = column.type
    if given.unit == "ns":
        counts = column.cast(pa.int64())
        whole = pc.multiply(pc.divide(counts, 1000), 1000)
        if not pc.all(pc.equal(counts, whole)).as_py() and column.null_count < len(column):
            return pc.binary_join_element_wise("ns", counts.cast(pa.string()), "")
    return column.cast(pa.timestamp("us", given.tz)).cast(pa.int64())


def _plain(value: Any) -> str:
    """Return the canonical text of a nested value, a decimal, or whatever else Arrow has."""
    if isinstance(value, dt.datetime):
        return f"time {to_us(value)}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k!r}:{_plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_plain(v) for v in value) + "]"
    if isinstance(value, float):
        return struct.pack("<d", value).hex() if value == value else "nan"
    return repr(value)
