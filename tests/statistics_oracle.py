"""Statistics of a list of values in plain Python, slow and plain: what `FeatureStatistics` is compared with."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import e2i_fs as fs

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
FLOATS = ("float32", "float64")
NUMBERS = ("int32", "int64", "decimal", *FLOATS)
TIMES = ("date", "timestamp")
ORDERED = (*NUMBERS, *TIMES, "string", "bytes", "bool")


def rank(value: Any) -> Any:
    """Return what values of one dtype are equal and are ordered by: missing lowest, NaN highest, zeros without a sign."""
    match value:
        case None:
            return (0,)
        case bool():
            return (1, value)
        case float():
            return (1, math.isnan(value), 0.0 if math.isnan(value) else value + 0.0)
        case list():
            return (1, tuple(rank(v) for v in value))
        case dict():
            return (1, tuple(rank(v) for v in value.values()))
        case _:
            return (1, value)


def text(value: Any) -> str:
    """Return a value as text by which it can be compared: NaN is equal to itself there, and 1 is not True."""
    match value:
        case float():
            return repr(value + 0.0)
        case list():
            return repr([text(v) for v in value])
        case dict():
            return repr({k: text(v) for k, v in value.items()})
        case _:
            return repr(value)


def check(found: fs.FeatureStatistics, values: Sequence[Any], top: int) -> None:
    """Fail unless ``found`` is what is to be told of ``values``, which are of its dtype."""
    kind = found.dtype.kind
    present = [v for v in values if v is not None]
    assert (found.rows, found.missing) == (len(values), len(values) - len(present))
    assert found.null_rate == (None if not values else found.missing / len(values))
    real = kind in FLOATS
    assert found.nan == sum(real and math.isnan(v) for v in present)
    assert found.infinite == sum(real and math.isinf(v) for v in present)
    counts = Counter(rank(v) for v in present)
    assert found.distinct == len(counts)
    shown = {rank(v): text(v) for v in present}
    frequent = sorted(counts, key=lambda r: (-counts[r], r))[:top]
    assert [(text(v), n) for v, n in found.top_values] == [(shown[r], counts[r]) for r in frequent]
    assert (found.most_common_count, text(found.most_common)) == (
        (counts[frequent[0]], shown[frequent[0]]) if frequent else (0, "None")
    )
    ordered = [v for v in present if not (real and math.isnan(v))] if kind in ORDERED else []
    assert text(found.min) == text(min(ordered, default=None))
    assert text(found.max) == text(max(ordered, default=None))
    finite = sorted(v for v in ordered if not (real and math.isinf(v))) if kind in (*NUMBERS, *TIMES) else []
    numbers = [Fraction(v) for v in finite] if kind in NUMBERS else []
    _check_numbers(found, numbers)
    _check_histogram(found, finite)


def _check_numbers(found: fs.FeatureStatistics, numbers: list[Fraction]) -> None:
    if not numbers:
        assert (found.mean, found.std, found.quantiles) == (None, None, {})
        assert (found.p25, found.p50, found.p75) == (None, None, None)
        return
    widest = _float(numbers[-1] - numbers[0])
    assert found.mean is not None
    assert math.isclose(found.mean, _float(statistics.mean(numbers)), rel_tol=1e-15, abs_tol=widest * 1e-15)
    assert (found.std is None) == (len(numbers) < 2)
    if found.std is not None:
        # Scaled, for statistics.stdev cannot tell a deviation beyond all floats.
        scale = max(numbers[-1] - numbers[0], Fraction(1, 10**400))
        wanted = _float(Fraction(statistics.stdev([n / scale for n in numbers])) * scale)
        assert math.isclose(found.std, wanted, rel_tol=1e-12), (found.std, wanted)
    assert tuple(found.quantiles) == SHARES
    for share, quantile in found.quantiles.items():
        place = Fraction(str(share)) * (len(numbers) - 1)
        low = math.floor(place)
        high = min(low + 1, len(numbers) - 1)
        assert quantile == _float(numbers[low] + (numbers[high] - numbers[low]) * (place - low))
    assert (found.p25, found.p50, found.p75) == tuple(found.quantiles[s] for s in (0.25, 0.5, 0.75))


def _check_histogram(found: fs.FeatureStatistics, finite: list[Any]) -> None:
    if not finite:
        assert found.histogram == ()
        return
    assert 1 <= len(found.histogram) <= 20
    lows = [low for low, _, _ in found.histogram]
    highs = [high for _, high, _ in found.histogram]
    assert (lows[0], highs[-1]) == (finite[0], finite[-1])
    assert lows[1:] == highs[:-1]
    assert lows == sorted(set(lows))
    last = len(lows) - 1
    for i, (low, high, count) in enumerate(found.histogram):
        assert count == sum(low <= v < high or (i == last and v == high) for v in finite)
    widths = [high - low for low, high in zip(lows, highs, strict=True)]
    if found.dtype.kind not in FLOATS:
        assert len(set(widths[:-1])) <= 1
        assert all(type(low) is type(finite[0]) for low in lows)
    elif len(widths) > 1 and math.isfinite(highs[-1] - lows[0]):
        assert math.isclose(max(widths), min(widths), rel_tol=1e-6, abs_tol=max(map(abs, (*lows, *highs))) * 1e-15)


def _float(number: Fraction | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)
