"""Arrow types of the dtypes, checked casts to them, and the storage values of online rows.

A *storage value* is what a backend keeps: int, float, bool, str, bytes, list, dict or None. Timestamps are
microseconds and dates days since the Unix epoch, decimals are text.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from e2i_fs.arrow import pa, pc
from e2i_fs.clock import from_us, to_us
from e2i_fs.dtypes import DType

__all__ = [
    "AS_THEY_ARE",
    "LossyCastError",
    "arrow_type",
    "cast_column",
    "content_hash",
    "decoded",
    "order_key",
    "python_value",
    "python_values",
    "storage_value",
    "storage_values",
]

_EPOCH_DAY = dt.date(1970, 1, 1)
_SIMPLE = {
    "int32": "int32", "int64": "int64", "float32": "float32", "float64": "float64", "bool": "bool_", "string": "string",
    "json": "string", "bytes": "binary", "date": "date32",
}  # fmt: skip


class LossyCastError(ValueError):
    """A column that cannot become the declared dtype without changing a value. ``rows`` has the rows, if known."""

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        self.rows = tuple(rows)
        super().__init__(message)


def arrow_type(dtype: DType) -> pa.DataType:
    """Return the Arrow type of a dtype.

    >>> from e2i_fs.dtypes import Array, Int64
    >>> arrow_type(Array(Int64))
    ListType(list<item: int64>)
    """
    if dtype.kind == "struct":
        return pa.struct([pa.field(name, arrow_type(inner)) for name, inner in dtype.fields])
    if dtype.kind == "array":
        assert dtype.element is not None
        return pa.list_(arrow_type(dtype.element))
    if dtype.kind == "vector":
        return pa.list_(pa.float32(), dtype.numbers[0])
    if dtype.kind == "decimal":
        return pa.decimal128(*dtype.numbers)
    if dtype.kind == "timestamp":
        return pa.timestamp("us", "UTC")
    return getattr(pa, _SIMPLE[dtype.kind])()


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a dictionary-encoded column (a categorical) as plain values, any other as it is."""
    if not pa.types.is_dictionary(column.type):
        return column
    # Arrow cannot take from views, in which polars keeps its categories.
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    target = plain.get(column.type.value_type, column.type.value_type)
    return pa.chunked_array([c.dictionary.cast(target).take(c.indices) for c in column.chunks], target)


def cast_column(column: pa.ChunkedArray, dtype: DType, *, parse_json: bool = True) -> pa.ChunkedArray:
    """Return ``column`` in the Arrow type of ``dtype``, or raise `LossyCastError` naming the rows that do not fit.

    A whole number may change its width; a float may become a whole number when it is one, below 2**53 (beyond it may
    have been another), and a Float32 by rounding (that is the precision declared), not by overflow; a whole number
    may become a float that holds it exactly. A naive time is read as UTC. Text is never parsed into
    another dtype, and nothing becomes text; with ``parse_json`` Json text is checked to be JSON.
    """
    target = arrow_type(dtype)
    column = decoded(column)
    given = column.type
    if given == target:
        return _checked_content(column, dtype, parse_json=parse_json)
    if pa.types.is_null(given):
        return pa.chunked_array([pa.nulls(len(column), target)])
    if not _may_cast(given, target):
        raise LossyCastError(f"is {given}, which is not {dtype!r}")
    try:
        return _checked_content(_cast(column, target), dtype, parse_json=parse_json)
    except pa.ArrowNotImplementedError:
        raise LossyCastError(f"is {given}, which cannot become {dtype!r}") from None
    except pa.ArrowInvalid:
        rows = _rows_that_fail(column, lambda part: _cast(part, target))
        raise LossyCastError(f"is {given} and holds a value that does not fit {dtype!r}", rows) from None


def _cast(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    given = column.type
    if pa.types.is_timestamp(target):
        if given.tz is None:
            column = column.cast(pa.timestamp(given.unit, "UTC"))
        return column.cast(target)
    if pa.types.is_integer(given) and pa.types.is_decimal(target):
        column = column.cast(pa.decimal128(38, 0))
    safe = not (pa.types.is_floating(target) and pa.types.is_floating(given))
    if any(_has_lost_digits(chunk, target) for chunk in column.chunks):
        raise pa.ArrowInvalid("a float of so many digits may have been another whole number")
    cast = column.cast(target, safe=safe)
    # Arrow makes an infinity of a number that is too great for a Float32, inside lists and structs too.
    if sum(map(_infinities, cast.chunks)) > sum(map(_infinities, column.chunks)):
        raise pa.ArrowInvalid("overflow")
    return cast


def _has_lost_digits(values: pa.Array, target: pa.DataType) -> bool:
    """Return whether a float that is to become a whole number is beyond 2**53, where it stands for several of them."""
    given = values.type
    if pa.types.is_floating(given) and pa.types.is_integer(target):
        return bool(pc.any(pc.greater_equal(pc.abs(values), 2.0**53)).as_py())
    if _is_list(given) and _is_list(target):
        return _has_lost_digits(values.flatten(), target.value_type)
    if pa.types.is_struct(given) and pa.types.is_struct(target):
        parts = zip(given, values.flatten(), strict=True)
        return any(_has_lost_digits(part, target.field(field.name).type) for field, part in parts)
    return False


def _infinities(values: pa.Array) -> int:
    """Return how many infinite floats there are in an array, inside its lists and structs too."""
    if pa.types.is_floating(values.type):
        return pc.sum(pc.is_inf(values)).as_py() or 0
    if _is_list(values.type):
        return _infinities(values.flatten())
    return sum(map(_infinities, values.flatten())) if pa.types.is_struct(values.type) else 0


def _may_cast(given: pa.DataType, target: pa.DataType) -> bool:
    kinds: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], bool]], ...] = (
        (pa.types.is_integer, lambda t: pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_decimal(t)),
        (pa.types.is_floating, lambda t: pa.types.is_integer(t) or pa.types.is_floating(t)),
        (pa.types.is_decimal, pa.types.is_decimal),
        (_is_text, _is_text),
        (_is_binary, _is_binary),
        (pa.types.is_date, pa.types.is_date),
        (pa.types.is_timestamp, pa.types.is_timestamp),
    )
    if _is_list(given) and _is_list(target):
        return (
            pa.types.is_null(given.value_type)
            or given.value_type == target.value_type
            or _may_cast(given.value_type, target.value_type)
        )
    if pa.types.is_struct(given) and pa.types.is_struct(target):
        names = [given.field(i).name for i in range(given.num_fields)]
        return sorted(names) == sorted(target.field(i).name for i in range(target.num_fields)) and all(
            pa.types.is_null(given.field(n).type) or given.field(n).type == target.field(n).type
            or _may_cast(given.field(n).type, target.field(n).type) for n in names
        )  # fmt: skip
    return any(from_(given) and to(target) for from_, to in kinds)


def _is_text(t: pa.DataType) -> bool:
    return bool(pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t))


def _is_binary(t: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(t)
        or pa.types.is_large_binary(t)
        or pa.types.is_binary_view(t)
        or pa.types.is_fixed_size_binary(t)
    )


def _is_list(t: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t) or pa.types.is_list_view(t)
    )


def _rows_that_fail(column: pa.ChunkedArray, attempt: Callable[[pa.ChunkedArray], object]) -> list[int]:
    """Return the rows that ``attempt`` refuses when it is given them alone, found by halving."""
    found: list[int] = []
    todo = [(0, len(column))]
    while todo:
        start, stop = todo.pop()
        try:
            attempt(column.slice(start, stop - start))
        except pa.ArrowInvalid:
            if stop - start == 1:
                found.append(start)
            else:
                middle = (start + stop) // 2
                todo += [(middle, stop), (start, middle)]
    return found


def _checked_content(column: pa.ChunkedArray, dtype: DType, *, parse_json: bool) -> pa.ChunkedArray:
    """Raise `LossyCastError` for text that is not JSON or an embedding with a missing number, inside lists and structs too."""
    if parse_json and _holds(dtype, "json"):
        bad = _rows_with(column, dtype, "json", lambda text: not _is_json(text))
        if bad:
            raise LossyCastError("holds text that is not JSON", bad)
    gaps = dtype.kind != "vector" or any(chunk.flatten().null_count for chunk in column.chunks)
    if gaps and _holds(dtype, "vector"):
        bad = _rows_with(column, dtype, "vector", lambda numbers: None in numbers)
        if bad:
            raise LossyCastError("holds a vector with a missing number", bad)
    return column


def _holds(dtype: DType, kind: str) -> bool:
    """Return whether a dtype is of a kind, or has one inside."""
    inner = [part for _, part in dtype.fields] + ([dtype.element] if dtype.element is not None else [])
    return dtype.kind == kind or any(_holds(part, kind) for part in inner)


def _rows_with(column: pa.ChunkedArray, dtype: DType, kind: str, wrong: Callable[[Any], bool]) -> list[int]:
    """Return the rows in which a value of a kind, which may be inside the row's own, is wrong."""

    def is_wrong(value: Any, of: DType) -> bool:
        if value is None:
            return False
        if of.kind == kind:
            return wrong(value)
        if of.kind == "struct":
            return any(is_wrong(value[name], part) for name, part in of.fields)
        return of.kind == "array" and of.element is not None and any(is_wrong(part, of.element) for part in value)

    return [row for row, value in enumerate(column.to_pylist()) if is_wrong(value, dtype)]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def storage_values(column: pa.ChunkedArray, dtype: DType) -> list[Any]:
    """Return an Arrow column of the dtype's own type as storage values."""
    if dtype.kind == "timestamp":
        return list(column.cast(pa.int64()).to_pylist())
    if dtype.kind == "date":
        return list(column.cast(pa.int32()).to_pylist())
    values = column.to_pylist()
    if dtype.kind in ("decimal", "struct", "array"):
        return [storage_value(v, dtype) for v in values]
    return list(values)


def storage_value(value: Any, dtype: DType) -> Any:
    """Return one Python value of ``dtype`` as a storage value."""
    if value is None:
        return None
    match dtype.kind:
        case "timestamp":
            return to_us(value)
        case "date":
            return (value - _EPOCH_DAY).days
        case "decimal":
            return str(value)
        case "struct":
            return {name: storage_value(value.get(name), inner) for name, inner in dtype.fields}
        case "array":
            assert dtype.element is not None
            return [storage_value(v, dtype.element) for v in value]
        case _:
            return value


def python_value(value: Any, dtype: DType) -> Any:
    """Return a storage value as the Python value that a caller gets: the inverse of `storage_value`.

    >>> from e2i_fs.dtypes import Timestamp
    >>> python_value(0, Timestamp)
    datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if value is None:
        return None
    match dtype.kind:
        case "timestamp":
            return from_us(value)
        case "date":
            return from_us(value * 86_400_000_000).date()
        case "decimal":
            return decimal.Decimal(value)
        case "struct":
            return {name: python_value(value.get(name), inner) for name, inner in dtype.fields}
        case "array":
            assert dtype.element is not None
            return [python_value(v, dtype.element) for v in value]
        case _:
            return value


AS_THEY_ARE = frozenset({"int32", "int64", "float32", "float64", "bool", "string", "bytes", "json", "vector"})
"""The kinds of dtype of which a storage value is what the caller gets."""


def python_values(column: Sequence[Any], dtype: DType) -> Sequence[Any]:
    """Return a column of storage values as `python_value` has each: the same list where nothing is to be done.

    >>> from e2i_fs.dtypes import Date
    >>> python_values([0, None], Date)
    [datetime.date(1970, 1, 1), None]
    """
    return column if dtype.kind in AS_THEY_ARE else [python_value(v, dtype) for v in column]


def order_key(value: Any, dtype: DType) -> tuple[Any, ...]:
    """Return a tuple that sorts storage values in the dtype's natural order, missing lowest (P-4).

    >>> from e2i_fs.dtypes import Float64
    >>> sorted([float("nan"), None, 1.0], key=lambda v: order_key(v, Float64))
    [None, 1.0, nan]
    """
    if value is None:
        return (0,)
    match dtype.kind:
        case "float32" | "float64":
            nan = math.isnan(value)
            return (1, nan, 0.0 if nan else value, 0.0 if nan else math.copysign(1.0, value))
        case "decimal":
            return (1, decimal.Decimal(value))
        case "struct":
            return (1, tuple(order_key(value.get(name), inner) for name, inner in dtype.fields))
        case "array":
            assert dtype.element is not None
            return (1, tuple(order_key(v, dtype.element) for v in value))
        case "vector":
            return (1, tuple(order_key(v, _FLOAT32) for v in value))
        case _:
            return (1, value)


_FLOAT32 = DType("float32")


def content_hash(table: pa.Table) -> str:
    """Return a hash of a table's columns and values, whatever chunks they came in.

    A column in which all is missing counts as one that is not there: a batch stays the same one when its view grows (R-4).
    """
    table = table.select([n for n in table.column_names if table.column(n).null_count < len(table)])
    digest = hashlib.sha256(str(table.schema.remove_metadata()).encode())
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        digest.update(repr(column.to_pylist()).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]
