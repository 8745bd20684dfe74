"""How the values of one column are distributed: exactly, whatever their dtype and order, in memory that does not grow with them.

The different values are counted first, in a table that DuckDB spills to disk; everything is told from these counts.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import duckdb

from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.pit.engine import typed_column
from e2i_fs.pit.fit import duckdb_type, sort_sql
from e2i_fs.values import python_value, storage_values

__all__ = ["SHARES", "Figures", "figures_of"]

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BINS = 20
_BITS = 90  # a sum of 2**35 numbers of at most 4, to so many bits after the point, is a HUGEINT

_FLOATS = ("float32", "float64")
_NUMBERS = ("int32", "int64", "decimal", *_FLOATS)
_TIMES = ("date", "timestamp")
_ORDERED = (*_NUMBERS, *_TIMES, "string", "bytes", "bool")


class Figures(NamedTuple):
    """What is told of one column; see `e2i_fs.ops.statistics.FeatureStatistics`."""

    missing: int
    nan: int
    infinite: int
    distinct: int
    min: Any
    max: Any
    mean: float | None
    std: float | None
    quantiles: Mapping[float, float]
    top_values: tuple[tuple[Any, int], ...]
    histogram: tuple[tuple[Any, Any, int], ...]


def figures_of(
    connection: duckdb.DuckDBPyConnection, rows: str, column: str, view: FeatureView, feature: str, *, top: int
) -> Figures:
    """Return the figures of ``column`` of the table ``rows``, which holds the values of one feature of ``view``."""
    dtype = view.features[feature].dtype
    real = dtype.kind in _FLOATS
    value = _unsigned_zeros(column, dtype)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE counted AS SELECT {value} AS v, count(*) AS n FROM {rows} GROUP BY 1"
    )
    nan, infinite = ("isnan(v)", "isinf(v)") if real else ("false", "false")
    ((missing, nans, infinities, present, distinct),) = connection.execute(
        "SELECT "
        + ", ".join(
            f"CAST(coalesce(sum(n) FILTER ({c}), 0) AS BIGINT)" for c in ("v IS NULL", nan, infinite, "v IS NOT NULL")
        )
        + ", count(v) FROM counted"
    ).fetchall()

    def typed(what: str) -> list[Any]:
        """Return the values in the first column of a query, as a caller gets them."""
        found = connection.sql(what).to_arrow_table().column(0)
        values = storage_values(typed_column(found, dtype, view, feature), dtype)
        return [python_value(v, dtype) for v in values]

    low, high = None, None
    if dtype.kind in _ORDERED:
        low, high = typed(f"SELECT unnest([min(v), max(v)]) FROM counted WHERE v IS NOT NULL AND NOT {nan}")
    frequent = f"FROM counted WHERE v IS NOT NULL ORDER BY n DESC, {', '.join(sort_sql('v', dtype))} LIMIT {top}"
    counts = [n for (n,) in connection.execute(f"SELECT n {frequent}").fetchall()]
    common = tuple(zip(typed(f"SELECT v {frequent}"), counts, strict=True))
    finite = _Finite(connection, dtype, f"v IS NOT NULL AND NOT {nan} AND NOT {infinite}", present - nans - infinities)
    mean, std = finite.moments()
    return Figures(
        missing, nans, infinities, distinct, low, high, mean, std, finite.quantiles(), common, finite.histogram()
    )  # fmt: skip


def _unsigned_zeros(value: str, dtype: DType, depth: int = 0) -> str:
    """Return SQL for a value whose zeros have no sign: the two are equal, and which is met first depends on the order of the rows."""
    match dtype.kind:
        case "float32" | "float64":
            return f"CASE WHEN {value} = 0 THEN CAST(0 AS {duckdb_type(dtype)}) ELSE {value} END"
        case "array" | "vector":
            name = f"x{depth}"
            inner = _unsigned_zeros(name, dtype.element or DType("float32"), depth + 1)
            return value if inner == name else f"list_transform({value}, lambda {name}: {inner})"
        case "struct":
            own = {name: f"struct_extract({value}, '{name.replace(chr(39), chr(39) * 2)}')" for name, _ in dtype.fields}
            inner_of = {name: _unsigned_zeros(own[name], inner, depth) for name, inner in dtype.fields}
            if inner_of == own:
                return value
            packed = ", ".join(f"'{name.replace(chr(39), chr(39) * 2)}': {inner}" for name, inner in inner_of.items())
            return f"CASE WHEN {value} IS NULL THEN NULL ELSE {{{packed}}} END"
        case _:
            return value


class _Finite:
    """The finite numbers, or the dates or times, among the values counted."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, dtype: DType, which: str, rows: int) -> None:
        self._connection = connection
        self._dtype = dtype
        self._rows = f"(SELECT {_number_sql(dtype)} AS x, n FROM counted WHERE {which})"
        self._number = dtype.kind in _NUMBERS
        self.count = rows if self._number or dtype.kind in _TIMES else 0
        if self.count:
            ends = connection.sql(f"SELECT min(x), max(x) FROM {self._rows}").to_arrow_table()
            self._low: Any = ends.column(0)[0].as_py()
            self._high: Any = ends.column(1)[0].as_py()
        if self.count and self._number:
            places = {share: Fraction(str(share)) * (rows - 1) for share in SHARES}
            ranks = sorted({r for place in places.values() for r in (math.floor(place), math.ceil(place))})
            at = dict(zip(ranks, self._at(ranks), strict=True))
            self._neighbours = {s: (p % 1, at[math.floor(p)], at[math.ceil(p)]) for s, p in places.items()}

    def _at(self, ranks: Sequence[int]) -> list[Any]:
        """Return the numbers at these ranks, from 0, in ascending order."""
        wanted = " OR ".join(f"(upto > {r} AND upto - n <= {r})" for r in dict.fromkeys(ranks))
        found = self._connection.sql(f"""
            SELECT x, upto FROM (
                SELECT x, n, CAST(sum(n) OVER (ORDER BY x ROWS UNBOUNDED PRECEDING) AS BIGINT) AS upto FROM {self._rows})
            WHERE {wanted} ORDER BY upto
        """).to_arrow_table()
        numbers, upto = found.column(0).to_pylist(), found.column(1).to_pylist()
        return [next(x for x, u in zip(numbers, upto, strict=True) if u > r) for r in ranks]

    def quantiles(self) -> Mapping[float, float]:
        """Return the number below which each share of the rows lies, interpolated between its neighbours and rounded once."""
        if not self._number or not self.count:
            return {}
        return {
            share: _float(Fraction(low) + (Fraction(high) - Fraction(low)) * part)
            for share, (part, low, high) in self._neighbours.items()
        }

    def moments(self) -> tuple[float | None, float | None]:
        """Return mean and deviation; they keep their digits far from zero and on any scale."""
        if not self._number or not self.count:
            return None, None
        pivot, power, distance = self._from_pivot()
        unit = Fraction(2) ** power
        first = self._total(distance) / self.count
        mean = _float(Fraction(pivot) + first * unit)
        if self.count == 1:
            return mean, None
        squares = self._total(f"(({distance}) - CAST('{float(first)!r}' AS DOUBLE)) ** 2")
        return mean, _float(Fraction(math.sqrt(squares / (self.count - 1))) * unit)

    def _total(self, number: str) -> Fraction:
        """Return the sum of doubles of at most about 1, in whole numbers: sums of floats depend on the order (T-4)."""
        whole = f"CAST(({number}) * CAST('{2.0**_BITS!r}' AS DOUBLE) AS HUGEINT)"
        ((total,),) = self._connection.execute(f"SELECT sum({whole} * n) FROM {self._rows}").fetchall()
        return Fraction(int(total), 2**_BITS)

    def _from_pivot(self) -> tuple[Any, int, str]:
        """Return a pivot near the middle, a power, and SQL for ``(x - pivot) / 2**power`` as a DOUBLE of at most 1, rounded once."""
        _, pivot, _ = self._neighbours[0.5]
        widest = max(Fraction(self._high) - Fraction(pivot), Fraction(pivot) - Fraction(self._low))
        power = max(_exponent(widest), -1000)
        unit = f"CAST('{2.0**-power!r}' AS DOUBLE)"
        if self._dtype.kind in _FLOATS:
            return pivot, power, f"CAST(x AS DOUBLE) * {unit} - CAST('{math.ldexp(pivot, -power)!r}' AS DOUBLE)"
        if self._dtype.kind != "decimal":
            return pivot, power, f"CAST(CAST(x AS HUGEINT) - ({pivot}) AS DOUBLE) * {unit}"
        digits, scale = self._dtype.numbers
        if widest < 10 ** (digits - scale):  # else the difference may have a digit too many
            return pivot, power, f"CAST(x - CAST('{pivot:f}' AS DECIMAL({digits}, {scale})) AS DOUBLE) * {unit}"
        return 0, power, f"CAST(x AS DOUBLE) * {unit}"

    def histogram(self) -> tuple[tuple[Any, Any, int], ...]:
        """Return at most `BINS` pieces of equal width from the least to the greatest number, with their counts."""
        if not self.count:
            return ()
        edges, shown, sql = _edges(self._low, self._high, self._dtype)
        below = ", ".join(f"CAST(coalesce(sum(n) FILTER (x < {sql(edge)}), 0) AS BIGINT)" for edge in edges[1:]) or "0"
        (upto,) = self._connection.execute(f"SELECT {below} FROM {self._rows}").fetchall()
        found = [*upto[: len(edges) - 1], self.count]
        lows = [shown(edge) for edge in edges]
        highs = [*lows[1:], shown(self._high)]
        counts = [b - a for a, b in zip([0, *found], found, strict=False)]
        return tuple(zip(lows, highs, counts, strict=True))


def _number_sql(dtype: DType) -> str:
    """Return SQL for a value ``v`` as a number: days or microseconds since 1970 of a date or time."""
    return {"date": "v - DATE '1970-01-01'", "timestamp": "epoch_us(v)"}.get(dtype.kind, "v")


def _edges(low: Any, high: Any, dtype: DType) -> tuple[list[Any], Callable[[Any], Any], Callable[[Any], str]]:
    """Return where pieces of equal width begin, how an edge is shown, and its SQL."""
    if dtype.kind in _FLOATS:
        width = (Fraction(high) - Fraction(low)) / BINS
        found = sorted({float(Fraction(low) + i * width) for i in range(BINS)} - ({high} if low < high else set()))
        return found, float, lambda edge: f"CAST('{edge!r}' AS DOUBLE)"
    if dtype.kind == "decimal":
        digits, scale = dtype.numbers
        exact = decimal.Context(prec=2 * digits)
        units = [int(Fraction(end) * 10**scale) for end in (low, high)]
        edges = [decimal.Decimal(n).scaleb(-scale, exact) for n in _steps(*units)]
        return edges, lambda edge: edge, lambda edge: f"CAST('{edge:f}' AS DECIMAL({digits}, {scale}))"
    return _steps(low, high), lambda edge: python_value(edge, dtype), str


def _exponent(number: Fraction) -> int:
    """Return a power of 2 that a number, which is not negative, lies below and near."""
    return number.numerator.bit_length() - number.denominator.bit_length() + 1


def _steps(low: int, high: int) -> list[int]:
    return list(range(low, high + 1, (high - low) // BINS + 1))


def _float(number: Fraction) -> float:
    """Return the nearest float; of what is beyond all of them the infinity of its sign."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)
