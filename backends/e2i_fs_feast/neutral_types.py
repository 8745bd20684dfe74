"""Feast's types as neutral dtypes, where there is one that says the same."""

from __future__ import annotations

from typing import Any

import feast.types as ft
import pyarrow as pa

from e2i_fs.dtypes import (
    Array,
    Bool,
    Bytes,
    DType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    String,
    Struct,
    Timestamp,
)

__all__ = ["DTYPES", "NoNeutralFormError", "neutral_dtype"]

DTYPES: dict[Any, DType] = {
    ft.Int32: Int32, ft.Int64: Int64, ft.Float32: Float32, ft.Float64: Float64, ft.Bool: Bool, ft.String: String,
    ft.Bytes: Bytes, ft.UnixTimestamp: Timestamp, ft.Json: Json, ft.Uuid: String, ft.TimeUuid: String,
}  # fmt: skip
_ARROW: tuple[tuple[Any, DType], ...] = (
    (pa.types.is_string, String), (pa.types.is_large_string, String), (pa.types.is_boolean, Bool),
    (pa.types.is_int64, Int64), (pa.types.is_int32, Int32), (pa.types.is_float32, Float32),
    (pa.types.is_float64, Float64), (pa.types.is_timestamp, Timestamp), (pa.types.is_binary, Bytes),
)  # fmt: skip


class NoNeutralFormError(Exception):
    """Something of Feast's that a neutral definition cannot say; the text says what."""


def neutral_dtype(theirs: Any, in_file: pa.DataType | None = None) -> DType:
    """Return the neutral dtype of a Feast one; a `Map` has that of the file's column when this is a record.

    Raises `NoNeutralFormError` when there is none.
    """
    if isinstance(theirs, ft.Struct):
        return Struct({n: neutral_dtype(t) for n, t in theirs.fields.items()})
    if isinstance(theirs, ft.Array):
        return Array(neutral_dtype(theirs.base_type))
    if theirs == ft.Map and in_file is not None and pa.types.is_struct(in_file):
        return _of_arrow(in_file)
    if theirs == ft.Invalid and in_file is not None:
        return _of_arrow(in_file)
    if theirs not in DTYPES:
        raise NoNeutralFormError(f"{theirs} has no neutral dtype")
    return DTYPES[theirs]


def _of_arrow(given: pa.DataType) -> DType:
    if pa.types.is_struct(given):
        return Struct({given.field(i).name: _of_arrow(given.field(i).type) for i in range(given.num_fields)})
    if pa.types.is_list(given):
        return Array(_of_arrow(given.value_type))
    for test, dtype in _ARROW:
        if test(given):
            return dtype
    raise NoNeutralFormError(f"the file's {given} has no neutral dtype")
