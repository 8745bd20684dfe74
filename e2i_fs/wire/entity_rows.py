"""Entity rows as JSON brings them, to columns of the dtypes that the definitions name; nothing is guessed (P-7, T-1, T-2)."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import decimal
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidEntityFrameError, InvalidTimestampError, did_you_mean
from e2i_fs.json_values import SAFE_INTEGER
from e2i_fs.request import Request

__all__ = ["column_dtypes", "read_value", "typed_rows", "utc_time"]

_TOO_FINE = re.compile(r"[.,]\d{6}\d*[1-9]")  # 3.11 cuts a seventh digit off without a word


_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_ROUNDED = "a float has no such whole number, and would round it; send one that it has (W-1)"
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})


def column_dtypes(catalog: Catalog, request: Request) -> dict[str, DType]:
    """Return the dtypes of the columns that a request needs: join keys, and what on-demand views take from it."""
    dtypes = {key: dtype for view in request.views for key, dtype in catalog.join_keys(view).items()}
    return dtypes | {name: f.dtype for view in request.on_demand for name, f in view.request_columns.items()}


def typed_rows(
    rows: Sequence[Mapping[str, Any]], dtypes: Mapping[str, DType], *, timestamp_column: str | None = None
) -> list[dict[str, Any]]:
    """Return the rows with each value as its column's dtype has it; columns without one stay as they came.

    Every row has the same columns. Times are ISO text, dates too, bytes base64, decimals text; whole numbers are
    numbers, or text when a number of JSON would not be safe. Raises `InvalidEntityFrameError` or
    `InvalidTimestampError` naming row and column.
    """
    if not rows:
        raise InvalidEntityFrameError("entity_rows is an empty list; there is nothing to ask about (P-11).")
    names = list(rows[0])
    for i, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            odd = min(row.keys() ^ rows[0].keys())
            whose, others = ("has", "row 0 has not") if odd in row else ("lacks", "row 0 has")
            raise InvalidEntityFrameError(
                f"entity_rows, row {i} {whose} {odd!r}, which {others}. Give every row the same columns, null where a value "
                f"is missing (P-11).{did_you_mean(odd, [n for n in names if n != odd])}"
            )
    spare = [name for name in names if name not in dtypes and name != timestamp_column]  # what may be misspelt
    lacking = [name for name in dtypes if name not in names]
    if lacking:
        raise InvalidEntityFrameError(
            f"entity_rows lack the column {lacking[0]!r} (P-11).{did_you_mean(lacking[0], spare)}"
        )
    if timestamp_column and timestamp_column not in names:
        raise InvalidTimestampError(
            f"entity_rows lack the column {timestamp_column!r}, the time of each row (T-3).{did_you_mean(timestamp_column, spare)}"
        )
    timeless = next((i for i, row in enumerate(rows) if timestamp_column and row[timestamp_column] is None), None)
    if timeless is not None:
        raise InvalidTimestampError(
            f"entity_rows, row {timeless}, column {timestamp_column!r}: the time is missing (T-3)."
        )
    readers: dict[str, Callable[[Any], Any]] = {
        name: _READERS[dtype.kind] for name, dtype in dtypes.items() if dtype.kind in _READERS
    }
    if timestamp_column:
        readers[timestamp_column] = _time
    return [
        {name: _read(row[name], readers.get(name), name, i, dtypes) for name in names} for i, row in enumerate(rows)
    ]


def utc_time(text: str | None, name: str) -> dt.datetime | None:
    """Return the time of an argument; None stays None. One without an offset is left naive, for the store to judge (T-1)."""
    if text is None:
        return None
    try:
        return _time(text)
    except ValueError as error:
        raise InvalidTimestampError(f"{name} is {text!r}, {error}.") from error


def read_value(value: Any, dtype: DType) -> Any:
    """Return one value of JSON as its dtype has it, whatever that holds inside; None stays None.

    Raises `ValueError` saying what is taken.

    >>> from e2i_fs.dtypes import Array, Date
    >>> read_value(["2026-03-01", None], Array(Date))
    [datetime.date(2026, 3, 1), None]
    """
    if value is None:
        return None
    if dtype.kind in _READERS:
        return _READERS[dtype.kind](value)
    if dtype.kind == "struct":
        inner = dict(dtype.fields)
        if not isinstance(value, dict) or value.keys() != inner.keys():
            raise ValueError(f"give an object with the keys {', '.join(map(repr, inner))}")
        return {name: read_value(value[name], part) for name, part in inner.items()}
    if not isinstance(value, list):
        raise ValueError("give a list")  # noqa: TRY004
    if dtype.kind == "vector":
        if len(value) != dtype.numbers[0]:
            raise ValueError(f"give {dtype.numbers[0]} numbers")
        return [_single(part) for part in value]
    assert dtype.element is not None
    return [read_value(part, dtype.element) for part in value]


def _read(value: Any, reader: Callable[[Any], Any] | None, name: str, row: int, dtypes: Mapping[str, DType]) -> Any:
    if value is None or reader is None:
        return value
    try:
        return reader(value)
    except ValueError as error:
        kind = InvalidTimestampError if reader is _time else InvalidEntityFrameError
        what = repr(dtypes[name]) if name in dtypes else "a time"
        raise kind(f"entity_rows, row {row}, column {name!r}: {value!r} is not {what}: {error}.") from error


def _time(value: Any) -> dt.datetime:
    if not isinstance(value, str):
        raise ValueError("give a time as ISO 8601 text, such as 2026-03-01T12:30:00Z (T-1)")  # noqa: TRY004
    if _TOO_FINE.search(value):
        raise ValueError("it is finer than a microsecond; round it yourself, upwards (T-2)")
    try:
        return dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("write a time like 2026-03-01T12:30:00Z (T-1)") from error


def _date(value: Any) -> dt.date:
    return dt.date.fromisoformat(_text(value))


def _whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{16,19}", value) and abs(int(value)) > SAFE_INTEGER:
        return int(value)
    raise ValueError("give a whole number, as text only beyond 2**53 (P-7)")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("give text (P-7)")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("give true or false (P-7)")


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError as error:
            raise ValueError("it is greater than any float") from error
        # JavaScript writes a float of 17 digits and more as a whole number too: as its digits, filled up with zeros.
        if isinstance(value, int) and number != value and decimal.Decimal(repr(number)) != value:
            raise ValueError(_ROUNDED)
        return number
    if isinstance(value, str) and value in _NOT_FINITE:
        return float(value)
    raise ValueError('give a number, or the text "NaN", "Infinity" or "-Infinity" (P-7)')


def _single(value: Any) -> float:
    """Return a number of single precision: a fraction is rounded to it, as declared; a whole number that it has not is refused."""
    number = _number(value)
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError as error:
        raise ValueError("it is greater than any Float32") from error
    if isinstance(value, int) and rounded != number:
        raise ValueError(_ROUNDED)
    return float(rounded)


def _decimal(value: Any) -> decimal.Decimal:
    if not _DECIMAL.fullmatch(_text(value)):  # Python would take underscores and digits of other scripts
        raise ValueError("give a decimal number as text")
    return decimal.Decimal(value)


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error as error:
        raise ValueError("give bytes as base64 text") from error


_READERS: dict[str, Callable[[Any], Any]] = {
    "timestamp": _time, "date": _date, "int32": _whole, "int64": _whole, "string": _text, "json": _text, "bool": _bool,
    "float32": _single, "float64": _number, "decimal": _decimal, "bytes": _bytes,
}  # fmt: skip
