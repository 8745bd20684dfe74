"""Means, deviations and correlations against exact fractions, at any offset and on any scale."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest

from e2i_fs.quality import BaselineMetrics, QCReport

STEPS = [(i * i + i // 3) % 16 for i in range(500)]
OTHERS = [(i * i + 3 * i) % 16 / 8 for i in range(500)]


def root(x: Fraction) -> float:
    """The square root of a fraction of any size, by whole numbers."""
    scaled = x.numerator << 2400
    return float(Fraction(math.isqrt(scaled // x.denominator), 1 << 1200))


def moments(values: Sequence[Any]) -> tuple[float, float]:
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    return float(mean), root(sum((v - mean) ** 2 for v in exact) / (len(exact) - 1))


def correlation(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    x, y = [Fraction(v) for v in xs], [Fraction(v) for v in ys]
    a, b = sum(x) / len(x), sum(y) / len(y)
    over = sum((u - a) * (v - b) for u, v in zip(x, y, strict=True))
    squared = over**2 / (sum((u - a) ** 2 for u in x) * sum((v - b) ** 2 for v in y))
    return root(squared) * (1 if over > 0 else -1)


def column(offset: Any, values: Sequence[Any], given: pa.DataType) -> pa.Array:
    return pa.array([offset + v for v in values], given)


D = decimal.Decimal
CASES = {
    "0": column(0.0, STEPS, pa.float64()),
    "4e3": column(4e3, STEPS, pa.float64()),
    "1e9": column(1e9, STEPS, pa.float64()),
    "1e15": column(1e15, STEPS, pa.float64()),
    "-1e15": column(-1e15, STEPS, pa.float64()),
    "float32": column(1e6, STEPS, pa.float32()),
    "int64": column(2**62, STEPS, pa.int64()),
    "uint64": column(2**64 - 20, STEPS, pa.uint64()),
    "decimal": pa.array([D("123456789012345678.01") + D(v) / 100 for v in STEPS], pa.decimal128(30, 2)),
    "1e300": pa.array([1e300 * (1 + v / 2**50) for v in STEPS]),
    "1e-300": pa.array([1e-300 * v for v in STEPS]),
    "both ends": pa.array([1e308 if v % 2 else -1e308 for v in STEPS]),
    "an outlier first": pa.array([1e15, *map(float, STEPS)]),
}


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_mean_and_deviation_are_those_of_exact_fractions(values: pa.Array) -> None:
    wanted = pytest.approx(moments(values.to_pylist()), rel=1e-12)
    frame = pa.table({"x": pa.concat_arrays([values, pa.nulls(3, values.type)])})
    (profile,), figures = QCReport.of(frame).columns, BaselineMetrics.of(frame).numeric["x"]
    assert (profile.mean, profile.std) == wanted
    assert (figures.mean, figures.std) == wanted


@pytest.mark.parametrize("values", [v for n, v in CASES.items() if "outlier" not in n], ids=list(CASES)[:-1])
def test_correlations_are_those_of_exact_fractions(values: pa.Array) -> None:
    found = BaselineMetrics.of(pa.table({"x": values, "y": OTHERS, "z": pa.array(OTHERS)})).correlation
    assert found["x"]["y"] == pytest.approx(correlation(values.to_pylist(), OTHERS), rel=1e-11)
    assert (found["x"]["x"], found["y"]["z"]) == (1.0, pytest.approx(1.0, rel=1e-12))


def test_a_constant_deviates_by_nothing_and_goes_with_nothing() -> None:
    for value in (0.1, 1e15 + 0.3, 1e308, -5e-324):
        found = BaselineMetrics.of({"x": [value] * 7, "y": range(7)})
        assert (found.numeric["x"].mean, found.numeric["x"].std) == (value, 0.0)
        assert found.correlation["x"]["y"] is None
    (one,) = QCReport.of({"x": [5.0, None]}).columns
    assert (one.mean, one.std) == (5.0, None)
