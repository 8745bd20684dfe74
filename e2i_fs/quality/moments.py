"""Means, deviations and correlations of numbers that hold at any offset and on any scale.

Sums of squares lose every digit that the numbers have in common, even Welford's: at 1e15 a deviation of 2 is wrong in
its fifth digit and a correlation in its third. So where numbers lie far from zero for their spread, or their squares
are no floats, they are looked at once more, from their mean and in units of their spread.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import duckdb
import pyarrow as pa

from e2i_fs.quality.rows import Column, Rows

__all__ = ["Shifted", "moments", "shifted"]

FAR = 1000  # from so many deviations on the three digits lost are taken back by a second look
_SQUARES = 500  # numbers from 2**-500 to 2**500 have squares that are floats


@dataclass(frozen=True, slots=True)
class Shifted:
    """SQL for ``(value - pivot) / 2**power`` of a column, as a DOUBLE: exact but for one rounding."""

    sql: str
    pivot: float | int | decimal.Decimal
    power: int

    def mean(self, found: float) -> float:
        """Return the mean of the values from that of the shifted ones."""
        return float(Fraction(self.pivot) + Fraction(found) * Fraction(2) ** self.power)

    def deviation(self, found: float) -> float | None:
        """Return the deviation of the values from that of the shifted ones, None if it is no float."""
        try:
            return math.ldexp(found, self.power)
        except OverflowError:
            return None


def shifted(column: Column, low: Any, high: Any, mean: float | None) -> Shifted:
    """Return the numbers of a column from about their ``mean``, where ``low`` and ``high`` are about their ends."""
    ends = float(low), float(high)
    if mean is None or not math.isfinite(mean):
        mean = ends[0] / 2 + ends[1] / 2
    half = max(ends[1] / 2 - mean / 2, mean / 2 - ends[0] / 2)
    power = math.frexp(half)[1] + 1
    power = max(power, -1000) if abs(power) > _SQUARES else 0
    unit = f"'{2.0**-power!r}'::DOUBLE"
    value, given = column.clean, column.inner
    if column.whole and max(map(abs, ends)) >= 2**53:
        return Shifted(f"CAST(CAST({value} AS HUGEINT) - ({int(mean)}) AS DOUBLE)", int(mean), 0)
    if pa.types.is_decimal(given) and power == 0:
        digits, scale = given.precision, given.scale
        context = decimal.Context(prec=80)
        pivot = decimal.Decimal(mean).quantize(decimal.Decimal(1).scaleb(-scale), context=context)
        if 4 * (abs(pivot) + decimal.Decimal(half)) < decimal.Decimal(10) ** (digits - scale):
            return Shifted(f"CAST({value} - '{pivot:f}'::DECIMAL({digits}, {scale}) AS DOUBLE)", pivot, 0)
    value = f"CAST({value} AS DOUBLE)"
    if power > 0:  # the difference itself may be no float
        return Shifted(f"({value} * {unit} - '{mean * 2.0**-power!r}'::DOUBLE)", mean, power)
    less = f"({value} - '{mean!r}'::DOUBLE)"
    return Shifted(f"({less} * {unit})" if power else less, mean, power)


def moments(rows: Rows, found: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[float | None, float | None]]:
    """Return mean and deviation of each numeric column from its `figures`, after a second look at those that need one.

    Both are None of no finite values, the deviation (of the sample) of one as well.
    """
    made: dict[str, tuple[float | None, float | None]] = {}
    again: dict[str, Shifted] = {}
    for name, own in found.items():
        low, high, mean, std = own["min"], own["max"], own["mean"], own["std"]
        if low is None:
            made[name] = (None, None)
        elif low == high:
            made[name] = (float(low), 0.0 if own.get("finite", own["present"]) > 1 else None)
        elif _holds(low, high, mean, std):
            made[name] = (mean, std)
        else:
            again[name] = shifted(rows.columns[name], low, high, None if isinstance(mean, duckdb.Error) else mean)
    asked = {(name, f): f"{f}({s.sql})" for name, s in again.items() for f in ("favg", "stddev_samp")}
    seen = rows.measure(asked)
    for name, s in again.items():
        mean, std = seen[name, "favg"], seen[name, "stddev_samp"]
        made[name] = (
            None if isinstance(mean, duckdb.Error) else s.mean(mean),
            None if isinstance(std, duckdb.Error) else s.deviation(std),
        )
    return made


def _holds(low: Any, high: Any, mean: Any, std: Any) -> bool:
    """Return whether a first look kept its digits."""
    if any(isinstance(v, duckdb.Error) or v is None or not math.isfinite(v) for v in (mean, std)):
        return False
    return bool(max(abs(float(low)), abs(float(high))) <= FAR * std and std > 2.0**-_SQUARES)
