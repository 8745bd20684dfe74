"""Expectations one by one: what breaks each, by an independent count, and what they make of bad input."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.quality import (
    Expectation,
    Outcome,
    QCReport,
    at_most,
    has_dtype,
    in_range,
    in_set,
    matches,
    not_null,
    row_count_between,
    unique,
)
from e2i_fs.quality.judging import ExpectationResult
from e2i_fs.values import LossyCastError, arrow_type, cast_column
from tests.kit import NOW, at, table

NAN, INF = math.nan, math.inf
D = decimal.Decimal


def judge(frame: Any, expectation: Expectation) -> ExpectationResult:
    made = QCReport.of(frame, expectations=[expectation], clock=lambda: NOW)
    return next(r for r in made.expectation_results if r.expectation == expectation)


@pytest.mark.parametrize(
    ("values", "expectation", "rows"),
    [
        ([1, None, 3], not_null("x"), (1,)),
        ([1.0, NAN, None], not_null("x"), (1, 2)),
        ([1, 2, 3, None], in_range("x", 2), (0,)),
        ([1, 2, 3, None], in_range("x", max=2), (2,)),
        ([1.0, NAN, INF, -INF, 5.0], in_range("x", min=0), (3,)),
        ([1.0, NAN, INF, -INF, 5.0], in_range("x", max=9), (2,)),
        ([2**53 + 1, 2**53], in_range("x", max=2**53), (0,)),
        ([at(1), at(5), None], in_range("x", max=at(1)), (1,)),
        ([at(1), at(5)], in_range("x", min=dt.date(2024, 3, 11)), (0, 1)),
        ([dt.date(2024, 1, 1), dt.date(2025, 1, 1)], in_range("x", max=dt.date(2024, 6, 1)), (1,)),
        ([D("1.10"), D("1.11")], in_range("x", max=D("1.10")), (1,)),
        (["b", "a", "ä"], in_range("x", max="b"), (2,)),
        (["A", "a", None, "it's"], in_set("x", ["A", "it's"]), (1,)),
        ([True, False, None], in_set("x", [True]), (1,)),
        ([b"\x00a", b"b"], in_set("x", [b"\x00a"]), (1,)),
        (["hcp_1", "hcp_", "xhcp_1", "hcp_1\n", None], matches("x", "hcp_[0-9]+"), (1, 2, 3)),
        ([1, 2, 1, None, None, 2, 1], unique("x"), (2, 5, 6)),
        ([0.0, -0.0, NAN, NAN], unique("x"), (1,)),
        ([None, None], not_null("x", mostly=0.5), (0, 1)),
    ],
)
def test_rows_that_break_an_expectation_are_counted_and_shown(
    values: list[Any], expectation: Expectation, rows: tuple[int, ...]
) -> None:
    result = judge(table({"x": values}), expectation)
    assert (result.outcome, result.offending, result.examples) == (Outcome.FAILED, len(rows), rows)


def test_at_most_looks_at_rows_with_both_and_nan_is_none() -> None:
    result = judge(table({"x": [1.0, 2.0, NAN, None, 5.0], "y": [1.0, 1.0, 9.0, 1.0, NAN]}), at_most("x", "y"))
    assert (result.observed, result.offending, result.examples) == (2, 1, (1,))


def test_only_the_first_five_rows_are_shown() -> None:
    assert judge(table({"x": [None] * 100 + [1]}), not_null("x")).examples == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(("mostly", "outcome"), [(0.95, Outcome.PASSED), (0.9501, Outcome.FAILED)])
def test_mostly_is_the_least_share_that_must_keep_to_it(mostly: float, outcome: Outcome) -> None:
    result = judge(table({"x": [None] * 5 + [1] * 95}), not_null("x", mostly=mostly))
    assert (result.outcome, result.offending) == (outcome, 5)


def test_a_severity_of_warn_makes_a_failure_a_warning_and_the_report_stands() -> None:
    made = QCReport.of({"x": [1, 99]}, expectations=[in_range("x", max=9, severity="warn")])
    assert (made.status, made.failed_expectations) == ("warning", ())
    assert any("in_range('x'" in w for w in made.warnings)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(3, 3, Outcome.PASSED), (0, 2, Outcome.FAILED), (4, None, Outcome.FAILED), (0, None, Outcome.PASSED)],
)
def test_the_number_of_rows(low: int, high: int | None, outcome: Outcome) -> None:
    assert judge(table({"x": [1, 2, 3]}), row_count_between(low, high)).outcome is outcome


@pytest.mark.parametrize(
    "expectation", [in_range("x", 1), in_set("x", ["a"]), matches("x", "a"), unique("x"), has_dtype("x", fs.Int64)]
)
def test_what_has_no_value_to_look_at_is_inconclusive_not_passed(expectation: Expectation) -> None:
    for kind in (pa.null(), pa.float64(), pa.string()):
        result = judge(pa.table({"x": pa.nulls(2, kind)}), expectation)
        assert result.outcome in (Outcome.INCONCLUSIVE, Outcome.ERROR)  # in_set of text on numbers errs already
        assert not result.outcome.fine


@pytest.mark.parametrize(
    ("values", "expectation", "says"),
    [
        (["1", "2"], in_range("x", 0, 5), "holds text"),
        ([1, 2], in_set("x", ["1"]), "holds numbers"),
        ([True], in_range("x", 0, 1), "holds true and false"),
        ([1, 2], matches("x", "[0-9]"), "only text can match"),
        ([at(0)], in_range("x", 5), "holds times"),
        (["a"], matches("x", "("), "missing )"),
        (["a"], at_most("x", "y"), "cannot be compared"),
    ],
)
def test_an_expectation_that_makes_no_sense_for_its_column_has_failed_with_the_errors_text(
    values: list[Any], expectation: Expectation, says: str
) -> None:
    result = judge(table({"x": values, "y": [0] * len(values)}), expectation)
    assert result.outcome is Outcome.ERROR
    assert says in result.message


def test_one_expectation_that_errs_takes_no_other_with_it() -> None:
    frame = table({"x": ["a", "b"], "n": [1, None]})
    asked = [matches("x", "("), in_set("x", ["a"]), not_null("n")]
    made = QCReport.of(frame, expectations=asked, clock=lambda: NOW)
    assert [(r.outcome, r.offending) for r in made.expectation_results] == [
        (Outcome.ERROR, 0), (Outcome.FAILED, 1), (Outcome.FAILED, 1),
    ]  # fmt: skip
    assert made.validity_score == 2 / 3  # the one that errs says nothing of a cell; in_set does


# ---- dtypes: what a store would refuse --------------------------------------------------------------------

COLUMNS = [
    pa.array([1, 2**31, -(2**31), 2**31 - 1, None, 2**53 + 1]),
    pa.array([2**53 + 1, 2**63, None], pa.uint64()),
    pa.array([1.0, 1.5, NAN, INF, None, 2.0**60, 2.0**63, -0.0, 1e300, 16_777_217.0]),
    pa.array([1.0, NAN, 0.1, 3e38], pa.float32()),
    pa.array([16_777_217, 16_777_216, 2**24 + 3]),
    pa.array([D("1.10"), D("1.00"), D("999.99"), None]),
    pa.array([D("1"), D("123456789012345678")]),
    pa.array(["1", "x", None]),
    pa.array([b"a", None]),
    pa.array([True, None]),
    pa.array([dt.date(2024, 1, 1), None]),
    pa.array(["{}", "{", "1", None]),
    pa.array([[1.0, 2.0], [1.0], None], pa.list_(pa.float64())),
    pa.array([[1.0, 2.0], [1.0, None], None], pa.list_(pa.float32())),
    pa.array([None, None]),
    pa.array(["a", "b", "a"]).dictionary_encode(),
]
DTYPES = [
    fs.Int32, fs.Int64, fs.Float32, fs.Float64, fs.Bool, fs.String, fs.Bytes, fs.Date, fs.Json, fs.Decimal(4, 1), fs.Decimal(5, 2),
    fs.Decimal(38, 0), fs.Vector(2),
]  # fmt: skip


def refused(column: pa.ChunkedArray, dtype: fs.DType) -> list[int]:
    """The rows that writing refuses: the ones named, or every row with a value."""
    try:
        cast_column(column, dtype)
    except LossyCastError as error:
        return list(error.rows) or [i for i, v in enumerate(column.to_pylist()) if v is not None]
    return []


@pytest.mark.rule("W-1")
@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
def test_has_dtype_counts_the_rows_that_writing_refuses(dtype: fs.DType) -> None:
    most = max(map(len, COLUMNS))
    columns = {
        f"x{i}": pa.chunked_array([array, pa.nulls(most - len(array), array.type)]) for i, array in enumerate(COLUMNS)
    }
    asked = [has_dtype(name, dtype) for name in columns]
    made = QCReport.of(pa.table(columns), expectations=asked, clock=lambda: NOW)
    for (name, column), result in zip(columns.items(), made.expectation_results, strict=True):
        wanted = refused(column, dtype)
        assert (result.offending, list(result.examples)) == (len(wanted), wanted[:5]), (name, column.type, result)


def test_a_timestamp_is_of_whole_microseconds_in_years_that_there_are() -> None:
    fine = pa.array([1_000, 1_001, None], pa.timestamp("ns", "UTC"))
    assert judge(pa.table({"x": fine}), has_dtype("x", fs.Timestamp)).examples == (1,)
    far = pa.array([0, 2**40], pa.timestamp("s"))
    assert judge(pa.table({"x": far}), has_dtype("x", fs.Timestamp)).examples == (1,)
    assert judge(table({"x": ["2024-01-01"]}), has_dtype("x", fs.Timestamp)).offending == 1


def test_an_arrays_own_type_is_looked_at() -> None:
    lists = pa.array([[1, 2], None])
    assert judge(pa.table({"x": lists}), has_dtype("x", fs.Array(fs.Int64))).outcome is Outcome.PASSED
    assert judge(pa.table({"x": lists}), has_dtype("x", fs.Array(fs.String))).offending == 1
    assert arrow_type(fs.Array(fs.Int64)) == pa.list_(pa.int64())


# ---- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: in_range("x"), "give min, max or both"),
        (lambda: in_range("x", 3, 1), "above max"),
        (lambda: in_range("x", NAN), "NaN is no bound"),
        (lambda: in_range("x", [1]), "cannot be compared"),
        (lambda: in_set("x", "abc"), r"e.g. \['abc'\]"),
        (lambda: in_set("x", []), "at least one value"),
        (lambda: in_set("x", [None]), "no None"),
        (lambda: matches("x", 5), "give it as text"),
        (lambda: unique(), "at least one column"),
        (lambda: not_null(5), "not the name of a column"),
        (lambda: not_null("x", mostly=0), "a share above 0"),
        (lambda: not_null("x", mostly=True), "a share above 0"),
        (lambda: not_null("x", severity="blok"), "Did you mean 'block'"),
        (lambda: row_count_between(-1), "not a number of rows"),
        (lambda: row_count_between(5, 1), "above max"),
        (lambda: Expectation("in_rang", ("x",)), "Did you mean 'in_range'"),
        (lambda: QCReport.of({"x": [1]}, required="x"), "list of column names"),
        (lambda: QCReport.of({"x": [1]}, expectations=["x"]), "is not one"),
        (lambda: QCReport.of({"x": [1]}, view="hcp"), "give a FeatureView"),
        (lambda: QCReport.of({"x": [1]}, max_age=5), "positive datetime.timedelta"),
        (lambda: QCReport.of({"x": [1]}, timestamp_column=5), "the name of a column"),
    ],
)
def test_a_question_without_sense_is_the_callers_mistake(make: Any, says: str) -> None:
    with pytest.raises(fs.RequestError, match=says):
        make()


def test_a_dtype_that_is_none_is_told() -> None:
    with pytest.raises(fs.DefinitionError, match="is not a dtype"):
        has_dtype("x", "int")


def test_what_is_no_frame_and_a_path_without_files_are_told(tmp_path) -> None:
    for frame, says in ((5, "is 5; give"), (tmp_path / "no.parquet", "no Parquet file"), ([], "an empty list")):
        with pytest.raises(fs.InvalidEntityFrameError, match=says):
            QCReport.of(frame)
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(fs.BackendDataError, match="not readable Parquet"):
        QCReport.of(tmp_path / "bad.parquet")


def test_types_that_duckdb_does_not_read_are_read(tmp_path) -> None:
    import numpy as np

    half = pa.array(np.array([1.5, 2.5], np.float16))
    wide = pa.array([D("1.5"), None], pa.decimal256(50, 2))
    made = QCReport.of(pa.table({"half": half, "wide": wide}), expectations=[in_range("half", max=2)])
    assert [(c.present, c.mean) for c in made.columns] == [(2, 2.0), (1, 1.5)]
    assert made.failed_expectations[0].examples == (1,)


def test_a_categorical_column_of_polars_is_text() -> None:
    frame = pl.DataFrame({"x": ["a", "b", "a"]}, schema={"x": pl.Categorical})
    assert judge(frame, in_set("x", ["a"])).examples == (1,)
