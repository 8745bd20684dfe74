"""Join keys of entity rows, compared exactly and by type (P-7): what is of another type matches nothing."""

from __future__ import annotations

import datetime as dt
import decimal
import numbers
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from e2i_fs.arrow import pa
from e2i_fs.dtypes import DType
from e2i_fs.errors import KeyTypeWarning
from e2i_fs.pit.times import column_to_us, moment_to_us
from e2i_fs.values import arrow_type, decoded, python_value, storage_value

__all__ = ["is_missing", "key_column", "key_tuples", "key_type_words", "key_value"]

_PACKAGE = f"{Path(__file__).parent}{os.sep}"
_EXACT_FLOATS = range(1 - 2**53, 2**53)
_EXACT = {"string": str, "int64": int, "int32": int, "bytes": bytes, "bool": bool}
_RANGES = {"int32": range(-(2**31), 2**31), "int64": range(-(2**63), 2**63)}


def key_column(column: pa.ChunkedArray, name: str, dtype: DType, *, reject_naive: bool = False) -> pa.ChunkedArray:
    """Return a key column of a frame in the Arrow type of its join key, None where it can match nothing.

    Whole numbers match across widths, floats that hold whole numbers too (pandas makes them of integers with
    gaps). A column of another kind matches nothing, and warns.
    """
    column = decoded(column)
    given, target = column.type, arrow_type(dtype)
    if given == target or pa.types.is_null(given):
        return column.cast(target)
    if dtype.kind == "timestamp" and pa.types.is_timestamp(given):
        return column_to_us(column, name, reject_naive=reject_naive).cast(target)
    if _same_kind(given, dtype):
        return column.cast(target)
    values = column.to_pylist()
    made = [key_value(value, dtype) for value in values]
    wrong = next((v for m, v in zip(made, values, strict=True) if m is None and not is_missing(v)), None)
    if wrong is not None:
        _warn(name, str(given), wrong, dtype)
    return pa.chunked_array([pa.array([python_value(m, dtype) for m in made], target)])


def _same_kind(given: pa.DataType, dtype: DType) -> bool:
    """Return whether every value of an Arrow type is one of the dtype: another width or encoding, nothing more."""
    kinds: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
        "string": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        "bytes": (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        ),
        "date": (pa.types.is_date,),
        "int64": (pa.types.is_int8, pa.types.is_int16, pa.types.is_int32, pa.types.is_uint8, pa.types.is_uint16, pa.types.is_uint32),
        "int32": (pa.types.is_int8, pa.types.is_int16, pa.types.is_uint8, pa.types.is_uint16),
    }  # fmt: skip
    return any(test(given) for test in kinds.get(dtype.kind, ()))


def key_value(value: Any, dtype: DType, *, reject_naive: bool = False) -> Any:
    """Return one key value as a storage value, or None when it is missing or of another type."""
    if type(value).__name__ == "datetime64" and dtype.kind in ("timestamp", "date"):
        value = _of_numpy(value)
    match dtype.kind:
        case "int32" | "int64":
            number = _as_whole(value)
            return number if number is not None and number in _RANGES[dtype.kind] else None
        case "string":
            # An enumeration of texts is its text, not its name.
            return str.__str__(value) if isinstance(value, str) and _is_unicode(value) else None
        case "bool":
            return bool(value) if type(value).__name__ in ("bool", "bool_") else None
        case "bytes":
            return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None
        case "timestamp":
            if not isinstance(value, dt.datetime) or is_missing(value):
                return None
            return moment_to_us(value, "A time in a join key", reject_naive=reject_naive)
        case "date":
            plain = isinstance(value, dt.date) and not isinstance(value, dt.datetime)
            return storage_value(value, dtype) if plain else None
        case _:
            exact = _as_decimal(value, dtype)
            return None if exact is None else str(exact)


def _of_numpy(value: Any) -> Any:
    """Return a time or a date of numpy as Python has it; None for one that is finer than a microsecond, or none at all."""
    days = value.dtype == "datetime64[D]"
    made = value if days else value.astype("datetime64[us]")
    return made.item() if made == value else None


def key_tuples(
    columns: Mapping[str, Sequence[Any]], join_keys: Mapping[str, DType], rows: int, *, reject_naive: bool = False
) -> list[tuple[Any, ...] | None]:
    """Return the key of each row as storage values; None for a row whose key is missing in part or of another type."""
    made: list[Sequence[Any]] = []
    whole = True
    for name, dtype in join_keys.items():
        given = columns[name]
        if _all_exact(given, dtype):
            made.append(given)
            continue
        whole = False
        values = [None if v is None else key_value(v, dtype, reject_naive=reject_naive) for v in given]
        wrong = next((g for g, v in zip(given, values, strict=True) if v is None and not is_missing(g)), None)
        if wrong is not None:
            _warn(name, type(wrong).__name__, wrong, dtype)
        made.append(values)
    if not made:
        return [()] * rows
    keys = zip(*made)  # noqa: B905 - each has a value for each row
    return list(keys) if whole else [None if None in key else key for key in keys]


def _all_exact(given: Sequence[Any], dtype: DType) -> bool:
    """Return whether every value of a column is a storage value of the key already, as it is in nearly every request.

    >>> from e2i_fs.dtypes import Int64, String
    >>> _all_exact(["a", "b"], String), _all_exact([1, True], Int64)
    (True, False)
    """
    kind = _EXACT.get(dtype.kind)
    if kind is None or not (type(given[0]) is kind if len(given) == 1 else set(map(type, given)) == {kind}):
        return False
    if kind is str:
        return _is_unicode(given[0] if len(given) == 1 else "".join(given))
    if kind is int:
        allowed = _RANGES[dtype.kind]
        return min(given) in allowed and max(given) in allowed
    return True


def _is_unicode(text: str) -> bool:
    """Return whether a text has no half of a surrogate pair, which no stored text can have."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_missing(value: Any) -> bool:
    """Return whether a value of a caller's is missing: None, NaN (a float's or a decimal's), NaT, or pandas' NA.

    >>> [is_missing(value) for value in (None, float("nan"), 0, "")]
    [True, True, False, False]
    """
    if isinstance(value, decimal.Decimal):
        return value.is_nan()
    nan = isinstance(value, numbers.Number) and bool(value != value)
    return value is None or nan or type(value).__name__ in ("NAType", "NaTType") or _not_a_time(value)


def _not_a_time(value: Any) -> bool:
    return type(value).__name__ in ("datetime64", "timedelta64") and bool(value != value)  # numpy's NaT


def _as_whole(value: Any) -> int | None:
    """Return a whole number, or None. A float is one below 2**53: from there on it may have been another (in pandas, beside a gap)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or type(value).__name__ == "timedelta64":
        return None
    number: Any = value
    if isinstance(value, numbers.Integral):
        return int(number)
    return int(number) if number == number // 1 and int(number) in _EXACT_FLOATS else None


def _as_decimal(value: Any, dtype: DType) -> decimal.Decimal | None:
    """Return a number as the key's decimal, scaled as it is kept, or None when it cannot be one exactly."""
    if isinstance(value, bool) or not isinstance(value, decimal.Decimal | numbers.Integral):
        return None
    precision, scale = dtype.numbers
    number = decimal.Decimal(int(value)) if isinstance(value, numbers.Integral) else value
    with decimal.localcontext(prec=60):
        scaled = number.quantize(decimal.Decimal(1).scaleb(-scale)) if number.is_finite() else number
    fits = scaled.is_finite() and scaled == number and len(scaled.as_tuple().digits) <= precision
    return scaled + 0 if fits else None  # so that minus zero is zero


def key_type_words(columns: Mapping[str, Sequence[Any]], join_keys: Mapping[str, DType]) -> list[str]:
    """Return a sentence for each column that holds a value of another type than its join key, which matches nothing (P-7).

    >>> from e2i_fs.dtypes import String
    >>> key_type_words({"hcp_id": ["a", None]}, {"hcp_id": String})
    []
    """
    said = []
    for name, dtype in join_keys.items():
        wrong = next((v for v in columns[name] if not is_missing(v) and key_value(v, dtype) is None), None)
        if wrong is not None:
            said.append(_words(name, type(wrong).__name__, wrong, dtype))
    return said


def _words(name: str, given: str, wrong: Any, dtype: DType) -> str:
    number = dtype.kind in _RANGES and isinstance(wrong, numbers.Real) and not isinstance(wrong, bool)
    if number and _as_whole(wrong) is not None:
        why = f"a number beyond {dtype!r}"
        fix = f"Mend the numbers{', or declare the join key Int64' if dtype.kind == 'int32' else ''}."
    elif number:
        why = "a float that is not whole, or from 2**53 on, where it may have been another number"
        fix = "Read the column as whole numbers (in pandas with dtype_backend='numpy_nullable'); to convert it now is too late."
    else:
        why, fix = "such a value", f"Convert the column to {dtype!r}."
    return f"Key column {name!r} holds {given}, the join key is {dtype!r}: {why} matches nothing (P-7). {fix}"


def _warn(name: str, given: str, wrong: Any, dtype: DType) -> None:
    warnings.warn(_words(name, given, wrong, dtype), KeyTypeWarning, stacklevel=_levels_to_the_caller())


def _levels_to_the_caller() -> int:
    """Return the ``stacklevel``, as `_warn` counts it, of the code that called this package, which is what can be mended."""
    frame, level = sys._getframe(1), 1  # what `_warn` is
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
