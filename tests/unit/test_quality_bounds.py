"""Bounds beside values: every comparison as exact fractions give it, in each type of number and of time."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import math
import struct
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.quality import Expectation, Outcome, QCReport, at_most, has_dtype, in_range, in_set
from tests.kit import NOW

D = decimal.Decimal
INF = math.inf
WHOLE = [0, -1, 127, -128, 255, 2**24 + 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]
REAL = [0.0, 0.5, -1.5, 2.0**53, 2.0**64, 1e300, -1e300, 5e-324, INF, -INF]
SINGLE = [0.0, 0.5, -1.5, 2.0**24, 2.0**64, 2.0**-149, (2 - 2.0**-23) * 2.0**127, INF, -INF]
BOUNDS = [*WHOLE, *REAL, 2**70, 10**40, 1e39, -1e39, D("0.25"), D("1.10"), D(2**53 + 1), D("1e30")]
COLUMNS: list[tuple[pa.DataType, list[Any]]] = [
    *((t, [v for v in WHOLE if -(2**b) * s <= v < 2**b]) for t, b, s in
      [(pa.int8(), 7, 1), (pa.int32(), 31, 1), (pa.int64(), 63, 1), (pa.uint8(), 8, 0), (pa.uint64(), 64, 0)]),
    (pa.float64(), REAL), (pa.float32(), SINGLE), (pa.decimal128(20, 2), [D("1.10"), D("-0.01"), D(2**53 + 1)]),
    (pa.decimal128(38, 0), [D(10**38 - 1), D(0)]),
]  # fmt: skip


def exact(value: Any) -> Any:
    return value if isinstance(value, float) and math.isinf(value) else Fraction(value)


def offending(column: pa.Array, *expectations: Expectation) -> list[int]:
    made = QCReport.of(pa.table({"x": column}), expectations=expectations, clock=lambda: NOW)
    assert [r.message for r in made.expectation_results if r.outcome is Outcome.ERROR] == []
    return [r.offending for r in made.expectation_results]


@pytest.mark.parametrize(("given", "values"), COLUMNS, ids=[str(t) for t, _ in COLUMNS])
def test_bounds_are_compared_exactly(given: pa.DataType, values: list[Any]) -> None:
    asked, wanted = [], []
    for bound in BOUNDS:
        if isinstance(bound, float) and pa.types.is_float32(given) and abs(bound) == 5e-324:
            continue
        asked += [in_range("x", max=bound), in_range("x", min=bound), in_set("x", [bound])]
        wanted += [sum(exact(v) > exact(bound) for v in values), sum(exact(v) < exact(bound) for v in values),
                   sum(exact(v) != exact(bound) for v in values)]  # fmt: skip
    unique = dict(zip(asked, wanted, strict=True))  # 0 and 0.0 ask one thing
    assert dict(zip(unique, offending(pa.array(values, given), *unique), strict=True)) == unique


def written(value: float, form: str) -> float:
    read: float = struct.unpack(form, struct.pack(form, value))[0]
    return read


@pytest.mark.parametrize("value", [0.1, D("0.1"), 1 / 3, 1e11, 16_777_219.0])
@pytest.mark.parametrize(("given", "form"), [(pa.float64(), "<d"), (pa.float32(), "<f"), (pa.float16(), "<e")])
def test_a_float_stands_for_what_the_column_writes_for_it(value: Any, given: pa.DataType, form: str) -> None:
    if given == pa.float16() and value > 1:
        value = 0.3
    column = pa.array([written(float(value), form)]).cast(pa.float32() if given == pa.float16() else given).cast(given)
    assert offending(column, in_set("x", [value]), in_range("x", min=value), in_range("x", max=value)) == [0, 0, 0]


def test_among_decimals_a_float_is_as_it_is_written_and_what_rounds_to_nothing_is_not_nothing() -> None:
    assert offending(pa.array([D("0.10")]), in_set("x", [0.1]), in_range("x", 0.1, 0.1)) == [0, 0]
    zero = pa.array([0.0], pa.float32())
    assert offending(zero, in_range("x", min=1e-50), in_range("x", max=-1e-50), in_set("x", [1e-50])) == [1, 1, 1]


def test_whole_numbers_and_floats_side_by_side_are_compared_exactly() -> None:
    pool = {
        pa.int64(): [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)], pa.uint64(): [0, 2**53 + 1, 2**64 - 1],
        pa.float64(): [-0.5, 0.5, 2.0**53, 2.0**63, -(2.0**63), 2.0**64, 1e300, -1e300, INF, -INF],
        pa.float32(): [0.5, 2.0**53, 1.5 * 2.0**100, -INF],
    }  # fmt: skip
    for one, other in itertools.product(pool, pool):
        x, y = zip(*itertools.product(pool[one], pool[other]), strict=True)
        made = QCReport.of(pa.table({"x": pa.array(x, one), "y": pa.array(y, other)}), expectations=[at_most("x", "y")])
        (found,) = made.expectation_results
        assert found.offending == sum(exact(a) > exact(b) for a, b in zip(x, y, strict=True)), (one, other)


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_every_unit_and_zone_are_compared_to_their_last_digit(unit: str, zone: str | None) -> None:
    now = int(NOW.timestamp()) * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    times = pa.array([now - 1, now, now + 1, None], pa.timestamp(unit, zone))
    naive, day = NOW.replace(tzinfo=None), NOW.date()
    asked = [in_range("x", max=NOW), in_range("x", min=naive), in_set("x", [NOW]), in_range("x", max=day)]
    assert offending(times, *asked) == [1, 1, 2, 3]
    beside = pa.table({"x": times, "y": pa.array([NOW] * 4, pa.timestamp("us", "UTC"))})
    results = QCReport.of(beside, expectations=[at_most("x", "y"), at_most("y", "x")]).expectation_results
    assert [(r.observed, r.offending) for r in results] == [(3, 1), (3, 1)]


@pytest.mark.rule("T-2")
def test_nanoseconds_of_a_time_with_a_zone_are_no_timestamp_of_a_store() -> None:
    times = pa.array([1_000, 1, None], pa.timestamp("ns", "UTC"))
    assert offending(times, has_dtype("x", fs.Timestamp)) == [1]
    assert QCReport.of(pa.table({"x": times})).columns[0].max == dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC)
