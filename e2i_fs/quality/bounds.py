"""A bound beside a column's values: compared in the column's own type, so that no digit is lost on the way.

A whole number is taken exactly: 2**53 + 1 is above 2.0**53. A float or a fraction stands for the value that the column's
type writes for it: 0.1 is in a Float32 column, and in one of decimals, what 0.1 becomes there.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import struct
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import pyarrow as pa

from e2i_fs.clock import to_us
from e2i_fs.pit.fit import time_sql
from e2i_fs.quality.plain import literal
from e2i_fs.quality.rows import Column

__all__ = ["above", "after", "among", "below"]

_FORMS = {16: ("<e", "<h"), 32: ("<f", "<i"), 64: ("<d", "<q")}


def below(column: Column, bound: Any) -> str:
    """Return SQL that is true for values of ``column`` below ``bound``, a value of the column's kind."""
    return _beyond(column, bound, -1)


def above(column: Column, bound: Any) -> str:
    """Return SQL that is true for values of ``column`` above ``bound``, a value of the column's kind."""
    return _beyond(column, bound, 1)


def among(column: Column, values: Iterable[Any]) -> str:
    """Return SQL that is true for values of ``column`` that are one of ``values``; a value its type does not have is none."""
    if column.kind == "number":
        near = [(_nearest(column.inner, v, -1), _nearest(column.inner, v, 1)) for v in values]
        listed = [_number(column.inner, low) for low, high in near if low is not None and low == high]
        return f"{column.sql} IN ({', '.join(listed)})" if listed else "false"
    if column.kind in ("time", "date"):
        ticks = [_ticks(column, v) for v in values]
        return f"{ticks[0][0]} IN ({', '.join(str(tick) for _, tick in ticks)})"
    return f"{column.sql} IN ({', '.join(literal(v) for v in values)})"


def after(column: Column, other: Column) -> str:
    """Return SQL that is true where ``column`` is above ``other``, a column of the same kind or of times and dates."""
    x, y = column.sql, other.sql
    if column.type == other.type:
        return f"({x} > {y})"
    if {column.kind, other.kind} <= {"time", "date"}:
        return f"({_ns(column)} > {_ns(other)})"
    if (
        column.whole and other.real
    ):  # a float at or above 2**64, or an infinity, is no HUGEINT but beyond every whole number
        floor = f"TRY_CAST(floor(CAST({y} AS DOUBLE)) AS HUGEINT)"
        return f"(CASE WHEN {floor} IS NULL THEN {y} < 0 ELSE CAST({x} AS HUGEINT) > {floor} END)"
    if column.real and other.whole:
        ceiling = f"TRY_CAST(ceil(CAST({x} AS DOUBLE)) AS HUGEINT)"
        return f"(CASE WHEN {ceiling} IS NULL THEN {x} > 0 ELSE {ceiling} > CAST({y} AS HUGEINT) END)"
    return f"({x} > {y})"


def _beyond(column: Column, bound: Any, side: int) -> str:
    sign = ">" if side > 0 else "<"
    if column.kind == "number":
        nearest = _nearest(column.inner, bound, -side)
        return "true" if nearest is None else f"{column.sql} {sign} {_number(column.inner, nearest)}"
    if column.kind in ("time", "date"):
        ticks, tick = _ticks(column, bound)
        return f"{ticks} {sign} {tick}"
    return f"{column.sql} {sign} {literal(bound)}"


def _nearest(given: pa.DataType, value: Any, side: int) -> Fraction | float | None:
    """Return the value of a type that is nearest to ``value``, on one side (1: not below, -1: not above); None if there is none.

    An infinity is a float, every other number a fraction.
    """
    if isinstance(value, float) and math.isinf(value):
        if pa.types.is_floating(given):
            return value
        return None if (value > 0) == (side > 0) else _end(given, 1 if value > 0 else -1)
    exact = Fraction(value)
    if pa.types.is_floating(given):
        written = isinstance(value, float) or exact.denominator != 1
        return _float(exact, given.bit_width, side, written=written)
    if isinstance(value, float) and exact.denominator != 1:
        exact = Fraction(repr(value))  # among decimals 0.1 is 0.1
    unit = 1 if pa.types.is_integer(given) else Fraction(1, 10**given.scale)
    steps = exact / unit
    near = (math.ceil(steps) if side > 0 else math.floor(steps)) * Fraction(unit)
    least, most = _end(given, -1), _end(given, 1)
    if (side > 0 and near > most) or (side < 0 and near < least):
        return None
    return min(max(near, least), most)


def _end(given: pa.DataType, side: int) -> Fraction:
    """Return the greatest (1) or least (-1) value of a type of whole numbers or decimals."""
    if pa.types.is_integer(given):
        if pa.types.is_unsigned_integer(given):
            return Fraction(2**given.bit_width - 1 if side > 0 else 0)
        return Fraction(2 ** (given.bit_width - 1) - (side > 0)) * side
    return Fraction(side * (10**given.precision - 1), 10**given.scale)


def _float(exact: Fraction, width: int, side: int, *, written: bool) -> float:
    near = _rounded(exact, width)
    if written and near and math.isfinite(near):
        return near
    wrong_side = near < exact if side > 0 else near > exact
    return _next(near, width, side) if wrong_side else near


def _rounded(exact: Fraction, width: int) -> float:
    form, _ = _FORMS[width]
    try:
        rounded: float = struct.unpack(form, struct.pack(form, float(exact)))[0]
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
    return rounded


def _next(value: float, width: int, side: int) -> float:
    """Return the float of so many bits beside ``value``, greater (1) or less (-1)."""
    form, bits_form = _FORMS[width]
    (bits,) = struct.unpack(bits_form, struct.pack(form, abs(value)))
    outward = not value or (value > 0) == (side > 0)
    (size,) = struct.unpack(form, struct.pack(bits_form, bits + (1 if outward else -1)))
    return math.copysign(size, value or side)


def _number(given: pa.DataType, value: Fraction | float) -> str:
    """Return a value that a type of numbers has as SQL."""
    if pa.types.is_floating(given):
        return f"'{float(value)!r}'::DOUBLE"
    if pa.types.is_integer(given):
        return f"({int(value)})"
    digits = decimal.Decimal(int(value * 10**given.scale)).scaleb(-given.scale, decimal.Context(prec=80))
    return f"'{digits:f}'::DECIMAL({given.precision}, {given.scale})"


def _ticks(column: Column, bound: dt.date) -> tuple[str, int]:
    """Return a column of times or dates and a bound as whole numbers: nanoseconds where it has them, else microseconds.

    A naive time is UTC (T-1), a date its beginning.
    """
    moment = bound if isinstance(bound, dt.datetime) else dt.datetime(bound.year, bound.month, bound.day, tzinfo=dt.UTC)
    if _fine(column):
        return f"epoch_ns({column.sql})", to_us(moment) * 1000
    return time_sql(column.sql, column.inner), to_us(moment)


def _ns(column: Column) -> str:
    """Return SQL for a column of times or dates as nanoseconds since the epoch."""
    return (
        f"epoch_ns({column.sql})" if _fine(column) else f"CAST({time_sql(column.sql, column.inner)} AS HUGEINT) * 1000"
    )


def _fine(column: Column) -> bool:
    return bool(column.kind == "time" and column.inner.unit == "ns")
