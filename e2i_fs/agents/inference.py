"""From the columns of a frame to dtypes: what was inferred and why, or why it cannot be.

Nothing is guessed. What could be read in two ways is a problem whose remedy is a word of the caller's, mostly in
``dtypes=``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.dtypes import (
    Array,
    Bool,
    Bytes,
    Date,
    Decimal,
    DType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Struct,
    Timestamp,
    Vector,
)

__all__ = ["AmbiguousError", "Inferred", "Role", "infer", "whole_floats"]

Role = Literal["key", "event time", "created time", "feature", "label", "left out"]

_EXACT: dict[pa.DataType, DType] = {
    pa.int8(): Int32, pa.int16(): Int32, pa.uint8(): Int32, pa.uint16(): Int32, pa.int32(): Int32,
    pa.uint32(): Int64, pa.int64(): Int64, pa.float16(): Float32, pa.float32(): Float32, pa.float64(): Float64,
    pa.bool_(): Bool, pa.string(): String, pa.large_string(): String, pa.string_view(): String,
    pa.binary(): Bytes, pa.large_binary(): Bytes, pa.binary_view(): Bytes, pa.date32(): Date, pa.date64(): Date,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inferred:
    """What was inferred for one column: its role, its dtype (None when it was left out), and why.

    >>> from datetime import datetime
    >>> from e2i_fs.agents import FeatureRegistrar, FeatureSpec
    >>> from e2i_fs.testing import memory_store
    >>> rows = {"hcp_id": ["a", "b"], "event_timestamp": [datetime(2024, 3, 9)] * 2, "trx_count": [3, 5]}
    >>> with memory_store() as store:
    ...     done = FeatureRegistrar(store, FeatureSpec("hcp_stats", entities={"hcp": ["hcp_id"]})).register(rows)
    >>> for column in done.inferred:
    ...     print(f"{column.column}: {column.role}, {column.dtype}, {column.why}")
    hcp_id: key, String, a join key of entity 'hcp'
    event_timestamp: event time, Timestamp, times without a zone, read as UTC (T-1)
    trx_count: feature, Int64, int64
    """

    column: str
    role: Role
    dtype: DType | None
    why: str


class AmbiguousError(ValueError):
    """A column whose dtype cannot be told from its values; the message says why and what to do."""


def infer(column: pa.ChunkedArray) -> tuple[DType, str]:
    """Return the dtype of an Arrow column, and why. Raises `AmbiguousError`.

    >>> infer(pa.chunked_array([[1, 2]]))
    (Int64, 'int64')
    >>> infer(pa.chunked_array([[None, None]]))
    Traceback (most recent call last):
    ...
    e2i_fs.agents.inference.AmbiguousError: every one of its 2 values is missing, so its dtype cannot be told
    """
    given = column.type
    nan = pa.types.is_floating(given)
    if len(column) and pc.all(pc.is_null(column, nan_is_null=nan)).as_py():
        raise AmbiguousError(f"every one of its {len(column)} values is missing, so its dtype cannot be told")
    if pa.types.is_dictionary(given):
        return dtype_of(given.value_type), f"a category of {given.value_type}"
    if pa.types.is_uint64(given):
        top = pc.max(column).as_py()
        if top is not None and top > 2**63 - 1:
            raise AmbiguousError(
                f"it holds {top}, which no Int64 holds; a Float64 would round it and text would not count"
            )
        return Int64, "uint64, and every value fits"
    if pa.types.is_timestamp(given):
        named = "in UTC" if given.tz == "UTC" else f"in the zone {given.tz}, converted to UTC"
        zone = named if given.tz else "without a zone, read as UTC"
        return Timestamp, f"times {zone} (T-1)"
    return dtype_of(given), str(given)


def dtype_of(given: pa.DataType) -> DType:
    """Return the dtype of an Arrow type, or raise `AmbiguousError`."""
    exact = _EXACT.get(given)
    if exact is not None:
        return exact
    if pa.types.is_uint64(given):
        return Int64
    if pa.types.is_timestamp(given):
        return Timestamp
    if pa.types.is_fixed_size_binary(given):
        return Bytes
    if pa.types.is_decimal(given) and given.precision <= 38 and 0 <= given.scale <= given.precision:
        return Decimal(given.precision, given.scale)
    if pa.types.is_fixed_size_list(given) and given.value_type == pa.float32():
        return Vector(given.list_size)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    if any(test(given) for test in lists):
        return Array(dtype_of(given.value_type))
    if pa.types.is_struct(given) and given.num_fields:
        return Struct({given.field(i).name: dtype_of(given.field(i).type) for i in range(given.num_fields)})
    raise AmbiguousError(f"its Arrow type {given} is that of no dtype; convert it or leave it out")


def whole_floats(column: pa.ChunkedArray) -> bool:
    """Return whether a column of floats holds whole numbers and gaps: what pandas makes of whole numbers with gaps."""
    if not pa.types.is_floating(column.type) or not column.null_count:
        return False
    present = column.drop_null()
    return len(present) > 0 and bool(pc.all(pc.equal(present, pc.floor(present))).as_py())
