"""A hash of a table's rows that is made of its buffers, where that tells."""

from __future__ import annotations

import hashlib
from typing import Any

from e2i_fs.arrow import pa

__all__ = ["quick_hash"]


def quick_hash(table: pa.Table) -> str:
    """Return a hash of a table's columns and values, whatever chunks they came in: 32 hex digits.

    Two tables of one hash hold the same. Two NaNs of other bits, which no reader can tell apart, make another.

    >>> one = pa.table({"x": pa.chunked_array([[1.5], [2.5]])})
    >>> quick_hash(one) == quick_hash(pa.table({"x": [1.5, 2.5]})), quick_hash(one) == quick_hash(pa.table({"x": [1.5, 3.5]}))
    (True, False)
    """
    digest = hashlib.sha256(str(table.schema.remove_metadata()).encode())
    for column in table.columns:
        whole = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        for part in _parts(whole):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()[:32]


def _parts(values: Any) -> list[Any]:
    """Return the bytes that tell what an array holds."""
    if values.null_count == 0:
        width = _width(values.type)
        if width:
            return [values.buffers()[1].slice(values.offset * width, len(values) * width)]
        if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
            # Texts are told apart by where each one begins, counted from the first.
            offsets = pa.Array.from_buffers(
                pa.int32(), len(values) + 1, [None, values.buffers()[1]], offset=values.offset
            )
            first, last = offsets[0].as_py(), offsets[len(values)].as_py()
            data = values.buffers()[2]
            text = b"" if data is None else data.slice(first, last - first)
            starts = pa.compute.subtract(offsets, pa.scalar(first, pa.int32()))
            return [starts.buffers()[1].slice(0, 4 * len(offsets)), text]
    return [repr(_plain(values).to_pylist()).encode("utf-8", "surrogatepass")]


def _width(kind: pa.DataType) -> int:
    """Return the bytes of one value, where every value is as wide and what they mean is their bits; else 0."""
    numbers = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    return kind.bit_width // 8 if numbers or pa.types.is_timestamp(kind) or pa.types.is_date32(kind) else 0


def _plain(values: Any) -> Any:
    return values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values
