"""Quality reports: what each dimension means, what blocks, what only warns."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.frames import arrow_table
from e2i_fs.quality import (
    BaselineMetrics,
    ColumnProfile,
    DriftReport,
    Expectation,
    ExpectationResult,
    Outcome,
    QCReport,
    at_most,
    has_dtype,
    in_range,
    in_set,
    not_null,
)
from tests.kit import NOW, at, table, view

NAN, INF = math.nan, math.inf
D = decimal.Decimal


def report(frame: Any, **asked: Any) -> QCReport:
    return QCReport.of(frame, clock=lambda: NOW, **asked)


# ---- the five dimensions ----------------------------------------------------------------------------------


def test_completeness_is_the_share_of_cells_that_are_neither_null_nor_nan() -> None:
    made = report(table({"a": [1.0, None, NAN, 4.0], "b": [None, None, "x", "y"]}))
    assert made.completeness_score == 4 / 8
    column = made.columns[0]
    assert (column.present, column.missing, column.nan, column.infinite) == (2, 2, 1, 0)


NAN_FRAMES = [
    pa.table({"x": [1.0, NAN, NAN]}), pa.table({"x": pa.array([1.0, NAN, NAN], pa.float32())}),
    pa.table({"x": pa.array([1.0, NAN, NAN]).dictionary_encode()}), pl.DataFrame({"x": [1.0, NAN, NAN]}),
    pd.DataFrame({"x": [1.0, NAN, NAN]}), {"x": np.array([1.0, NAN, NAN])}, [{"x": 1.0}, {"x": NAN}, {"x": NAN}],
]  # fmt: skip


@pytest.mark.parametrize(
    "frame", NAN_FRAMES, ids=["arrow", "float32", "dictionary", "polars", "pandas", "numpy", "rows"]
)
def test_nan_is_missing_in_every_kind_of_frame_so_a_required_column_of_it_blocks(frame: Any) -> None:
    made = report(frame, required=["x"])
    assert made.blocking_issues == ("The required column 'x' is missing in 2 of 3 rows, first at 1, 2.",)
    assert (made.status, made.completeness_score, made.validity_score) == ("failed", 1 / 3, 1.0)
    drift = BaselineMetrics.of({"x": [1.0, 2.0] * 500}).drift(pa.concat_tables([arrow_table(frame, "x")] * 300))
    assert {c.kind: c.outcome for c in drift.features["x"].checks}["missing_rate"] is Outcome.FAILED


def test_infinities_are_not_valid_and_are_told() -> None:
    made = report(table({"x": [1.0, INF, -INF]}), required=["x"])
    assert (made.blocking_issues, made.completeness_score, made.validity_score) == ((), 1.0, 1 / 3)
    assert "Column 'x' has 2 infinite values, which are not valid." in made.warnings


def test_nan_that_a_store_would_serve_as_a_value_is_told_and_a_whole_number_it_is_not() -> None:
    made = report(table({"x": [1.0, NAN]}), expectations=[has_dtype("x", fs.Int64), has_dtype("x", fs.Float64)])
    assert [(r.outcome, r.offending) for r in made.expectation_results] == [(Outcome.FAILED, 1), (Outcome.PASSED, 0)]
    assert any("'x' has 1 NaN" in w and "P-8" in w for w in made.warnings)


def test_a_required_column_that_is_not_there_counts_as_missing_in_every_row() -> None:
    made = report(table({"hcp_id": ["a", "b"]}), required=["hcp_id", "brand"])
    assert made.completeness_score == 2 / 4


def test_validity_is_the_share_of_present_cells_that_are_finite_and_as_expected_each_cell_counted_once() -> None:
    frame = table({"x": [1.0, NAN, INF, 50.0, None], "tier": ["A", "B", "Z", None, "A"]})
    expected = [
        in_range("x", 0, 10, mostly=0.1),
        in_range("x", max=40, mostly=0.1),
        in_set("tier", ["A", "B"], mostly=0.1),
    ]
    made = report(frame, expectations=expected)
    # x: infinity and 50 (breaking two expectations) of 3; tier: Z of 4.
    assert made.validity_score == 4 / 7


def test_consistency_counts_texts_that_are_padded_blank_spelt_otherwise_or_words_among_numbers() -> None:
    frame = table(
        {
            "n": [1, 2, 3, 4, 5, 6],
            "spelt": ["Alvexa", "Alvexa", "alvexa", " Alvexa", "", "Brand"],  # 3 odd: alvexa, " Alvexa", ""
            "mixed": ["1", "2", "3.5", "-4e2", "n/a", None],  # 1 odd of 5
        }
    )
    made = report(frame)
    assert made.consistency_score == (17 - 4) / 17
    assert any("'alvexa'" in w and "'Alvexa'" in w for w in made.warnings)
    assert any("numbers as text, and 1 text among them" in w for w in made.warnings)


def test_consistency_counts_pairs_that_must_not_decrease() -> None:
    frame = table({"start": [1, 5, None, 3], "end": [2, 4, 9, None]})
    made = report(frame, expectations=[at_most("start", "end")])
    # 6 present cells and 2 rows with both, of which one goes backwards.
    assert made.consistency_score == 7 / 8
    assert [(r.observed, r.offending, r.examples) for r in made.failed_expectations] == [(2, 1, (1,))]


def test_case_is_left_to_keys_and_words_to_columns_declared_text(tmp_path: Path) -> None:
    made = report(table({"id": ["a", "A", "b"], "x": [1, 2, 3]}), keys=["id"])
    assert (made.consistency_score, made.uniqueness_score) == (1.0, 1.0)
    declared = view(tmp_path, [], fields={"code": fs.String})
    frame = table({"hcp_id": ["a", "b"], "event_timestamp": [at(0), at(1)], "code": ["007", "n/a"]})
    assert report(frame, view=declared).consistency_score == 1.0


def test_uniqueness_is_the_share_of_different_keys_among_rows_that_have_one() -> None:
    frame = table({"a": ["x", "x", "x", "y", None, None], "b": [1, 1, 2, 1, 1, 1]})
    made = report(frame, keys=["a", "b"])
    assert made.uniqueness_score == 3 / 4
    duplicates = next(r for r in made.expectation_results if r.expectation.kind == "unique")
    assert (duplicates.outcome, duplicates.offending, duplicates.examples) == (Outcome.FAILED, 1, (1,))


def test_without_keys_whole_rows_are_compared_and_missing_equals_missing() -> None:
    made = report(table({"a": ["x", "x", None, None], "b": [1.0, 2.0, NAN, NAN]}))
    assert made.uniqueness_score == 3 / 4
    assert any("1 row repeats" in w and "first at 3" in w for w in made.warnings)


def test_timeliness_is_the_share_of_rows_neither_missing_nor_future_nor_too_old() -> None:
    times = [NOW, NOW - timedelta(days=3), NOW - timedelta(days=1), None, NOW + timedelta(hours=1)]
    made = report(table({"event_timestamp": times}), max_age=timedelta(days=2))
    assert made.timeliness_score == 2 / 5


@pytest.mark.parametrize(("age", "timely"), [(timedelta(days=2), 1.0), (timedelta(days=2, microseconds=1), 0.0)])
def test_a_row_as_old_as_max_age_is_timely_and_one_microsecond_more_is_not(age: timedelta, timely: float) -> None:
    assert report(table({"event_timestamp": [NOW - age]}), max_age=timedelta(days=2)).timeliness_score == timely


def test_the_score_is_weighted_over_the_dimensions_that_can_be_judged_and_the_others_are_named() -> None:
    made = report(table({"a": [1, None]}))
    assert made.inconclusive == ("timeliness",)
    assert made.scores == {
        "completeness": 0.5,
        "validity": 1.0,
        "consistency": 1.0,
        "uniqueness": 1.0,
        "timeliness": None,
    }
    assert made.overall_score == pytest.approx((0.25 * 0.5 + 0.25 + 0.20 + 0.15) / 0.85)
    everything = report(table({"a": [1, None], "event_timestamp": [NOW, NOW]}))
    assert everything.overall_score == pytest.approx(0.25 * 0.75 + 0.75)


# ---- what blocks ------------------------------------------------------------------------------------------


def test_a_null_in_a_required_column_blocks_and_says_where() -> None:
    made = report(table({"hcp_id": ["a", None, "c", None]}), required=["hcp_id"])
    assert made.status == "failed"
    assert made.blocking_issues == ("The required column 'hcp_id' is missing in 2 of 4 rows, first at 1, 3.",)
    assert any("'hcp_id'" in step for step in made.remediation_steps)


def test_a_required_column_that_is_not_there_blocks_and_names_the_nearest() -> None:
    made = report(table({"hcp_idd": ["a"]}), required=["hcp_id"])
    assert made.blocking_issues == ("The required column 'hcp_id' is not there. Did you mean 'hcp_idd'?",)


def test_an_expectation_of_an_unknown_column_is_an_error_that_names_the_nearest() -> None:
    (failed,) = report(table({"trx_count": [1]}), expectations=[not_null("trx_cnt")]).failed_expectations
    assert (failed.outcome, failed.message) == (
        Outcome.ERROR,
        "There is no column 'trx_cnt'. Did you mean 'trx_count'?",
    )


def test_a_row_of_the_future_blocks_beyond_the_skew() -> None:
    inside, beyond = NOW + timedelta(seconds=60), NOW + timedelta(seconds=60, microseconds=1)
    made = report(table({"event_timestamp": [NOW, inside, beyond]}))
    assert made.blocking_issues == ("1 row of 'event_timestamp' lies in the future, first at 2.",)
    assert (made.timeliness_score, made.expectation_results[-1].offending) == (2 / 3, 1)
    assert report(table({"event_timestamp": [NOW, inside]})).blocking_issues == ()


def test_a_missing_event_time_blocks_even_where_nobody_required_it() -> None:
    made = report(table({"event_timestamp": [NOW, None]}))
    assert made.status == "failed" and "'event_timestamp' is missing in 1 of 2 rows" in made.blocking_issues[0]


def test_times_as_text_block_and_timeliness_is_not_judged() -> None:
    made = report(table({"event_timestamp": ["2024-01-01", "2024-01-02"]}))
    assert made.timeliness_score is None
    assert "is string, not times" in made.blocking_issues[0]


# ---- a view -----------------------------------------------------------------------------------------------


def test_a_view_requires_its_keys_and_time_and_every_field_of_its_dtype(tmp_path: Path) -> None:
    asked = view(tmp_path, [], fields={"trx_count": fs.Int64, "share": fs.Float32})
    good = table(
        {"hcp_id": ["a", "b"], "event_timestamp": [at(0), at(1)], "trx_count": [1, None], "share": [0.5, 0.25]}
    )
    assert report(good, view=asked).status == "passed"
    bad = good.set_column(0, "hcp_id", pa.array(["a", None])).set_column(2, "trx_count", pa.array(["1", "2"]))
    made = report(bad.drop_columns(["share"]), view=asked)
    assert made.blocking_issues == (
        "The required column 'share' is not there. Known: 'event_timestamp', 'hcp_id', 'trx_count'.",
        "The required column 'hcp_id' is missing in 1 of 2 rows, first at 1.",
    )
    assert [(repr(r.expectation), r.offending) for r in made.failed_expectations if not r.blocking] == [
        ("has_dtype('trx_count', dtype=Int64)", 2)
    ]


def test_a_column_that_the_view_does_not_take_is_told(tmp_path: Path) -> None:
    asked = view(tmp_path, [], fields={"trx_count": fs.Int64})
    frame = table({"hcp_id": ["a"], "event_timestamp": [at(0)], "trx_count": [1], "trx_cuont": [1]})
    made = report(frame, view=asked)
    assert any("'trx_cuont'" in w and "Did you mean 'trx_count'?" in w for w in made.warnings)


def test_two_rows_of_one_key_and_time_only_warn_in_a_view_for_one_of_them_wins(tmp_path: Path) -> None:
    asked = view(tmp_path, [])
    frame = table({"hcp_id": ["a", "a"], "event_timestamp": [at(0), at(0)], "trx_count": [1, 2]})
    made = report(frame, view=asked)
    assert (made.status, made.uniqueness_score) == ("warning", 0.5)


def test_a_label_of_one_class_is_told(tmp_path: Path) -> None:
    made_view = fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=[fs.Field("churned", fs.Bool, role="label")])
    frame = table({"hcp_id": ["a", "b"], "event_timestamp": [at(0), at(1)], "churned": [False, False]})
    assert any("one class only" in w for w in report(frame, view=made_view).warnings)


def test_a_view_whose_entities_are_only_named_says_that_keys_were_not_judged() -> None:
    named = fs.FeatureView("v", entities=["hcp"], schema=[fs.Field("x", fs.Int64)])
    made = report(table({"hcp_id": ["a"], "event_timestamp": [at(0)], "x": [1]}), view=named)
    assert any("without their join keys" in w for w in made.warnings)


# ---- frames of all kinds ----------------------------------------------------------------------------------


def test_every_kind_of_frame_and_parquet_give_one_report(tmp_path: Path) -> None:
    plain = {"hcp_id": ["a", "b", "b"], "n": [1, 2, 3], "event_timestamp": [at(0), at(1), at(2)]}
    arrow = table(plain)
    pq.write_table(arrow, tmp_path / "all.parquet")
    (tmp_path / "parts").mkdir()
    for i in range(3):
        pq.write_table(arrow.slice(i, 1), tmp_path / "parts" / f"{i}.parquet")
    rows = [{name: values[i] for name, values in plain.items()} for i in range(3)]
    frames = [
        arrow, pd.DataFrame(plain), pl.DataFrame(plain), pl.DataFrame(plain).lazy(), rows, plain,
        tmp_path / "all.parquet", str(tmp_path / "parts"), str(tmp_path / "parts" / "*.parquet"),
    ]  # fmt: skip
    asked = {"keys": ["hcp_id"], "expectations": [in_range("n", max=2)]}
    first = report(arrow, **asked).to_dict()
    for frame in frames[1:]:
        made = report(frame, **asked).to_dict()
        for form in (first, made):
            form.pop("report_id", None)
            for column in form["columns"]:
                column.pop("type", None)  # large_string, nanoseconds: of the kind of frame
        assert made == first


def test_the_answer_of_a_retrieval_is_a_frame(tmp_path: Path) -> None:
    with fs.connect({"backend": "memory"}) as store:
        store.apply([view(tmp_path, [("a", at(0), 1)])])
        result = store.get_historical_features(
            table({"hcp_id": ["a", "b"], "event_timestamp": [at(5), at(5)]}), ["hcp_stats:trx_count"]
        )
        assert report(result).completeness_score == 5 / 6


def test_rows_of_several_files_are_numbered_across_them(tmp_path: Path) -> None:
    for i in range(3):
        pq.write_table(table({"x": list(range(i * 4, i * 4 + 4))}), tmp_path / f"{i}.parquet")
    (failed,) = report(tmp_path, expectations=[in_set("x", [0, 1, 2, 3, 4, 6, 7, 8, 10])]).failed_expectations
    assert failed.examples == (5, 9, 11)


def test_a_report_survives_json() -> None:
    frame = table({"id": [1, 1], "x": [NAN, 2.0], "d": [dt.date(2024, 1, 1), None], "event_timestamp": [NOW, NOW]})
    asked = [in_range("d", max=dt.date(2023, 1, 1)), in_set("id", [1]), in_range("event_timestamp", min=NOW)]
    made = report(frame, keys=["id"], expectations=asked, experiment_id="exp-1")
    assert QCReport.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False))) == made


def test_the_page_escapes_what_it_shows() -> None:
    page = report(table({"<script>": [1, 2]}), expectations=[in_range("<script>", max=1)]).to_html()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_columns_named_with_quotes_spaces_and_case_twins_are_judged_each_by_itself(tmp_path: Path) -> None:
    frame = table(
        {'a "b"': [1, None], "A b'": ["x", "y"], "twin": [1, 2], "Twin": [None, None], "": [1, 1], "c0": [3, 4]}
    )
    pq.write_table(frame, tmp_path / "odd.parquet")
    for given in (frame, tmp_path / "odd.parquet"):
        made = report(given, required=['a "b"'], keys=["twin"], expectations=[in_set("A b'", ["x"]), not_null("Twin")])
        assert {c.name: c.missing for c in made.columns} == {
            'a "b"': 1,
            "A b'": 0,
            "twin": 0,
            "Twin": 2,
            "": 0,
            "c0": 0,
        }
        assert [r.offending for r in made.failed_expectations] == [1, 1, 2]


# ---- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ([], "frame is an empty list"),
        ({}, "frame has no columns"),
        (pa.table({}), "frame has no columns"),
        (pd.DataFrame(index=range(3)), "frame has no columns"),
        ({"a": [1, 2], "b": [1]}, "frame: column 'b' has 1 values and 'a' has 2; give every column one value for each row"),
        ({"a": [1 + 2j]}, "frame: column 'a' holds complex numbers"),
        ({"x": [1], "a": np.array([1 + 2j])}, "frame: column 'a' holds complex numbers"),
        (pd.DataFrame({"a": [1 + 2j]}), "frame: column 'a' holds complex numbers"),
        ([{"a": 1}, {"a": "b"}], "frame: column 'a' holds a number, 1, and text, 'b', .* Give the column one type"),
        (pd.DataFrame({"a": [1, "b"]}), "frame: column 'a' holds a number, 1, and text, 'b', "),
    ],
)  # fmt: skip
def test_what_is_no_frame_is_an_error_that_names_the_argument_and_the_column(frame: Any, says: str) -> None:
    with pytest.raises(fs.InvalidEntityFrameError, match=says):
        report(frame)
    with pytest.raises(fs.InvalidEntityFrameError, match=says.replace("frame", "train")):
        BaselineMetrics.of(frame)


@pytest.mark.parametrize(
    "kind", [QCReport, DriftReport, BaselineMetrics, Expectation, ExpectationResult, ColumnProfile]
)
def test_a_form_of_something_else_is_an_error_that_names_what_lacks(kind: Any) -> None:
    with pytest.raises(fs.RequestError, match=f"it lacks .*'{fields(kind)[-1].name}'"):
        kind.from_dict({"x": 1})
    with pytest.raises(fs.RequestError, match="it is 5, and no mapping"):
        kind.from_dict(5)


def test_a_form_with_a_wrong_part_says_which() -> None:
    form = report(table({"x": [1]})).to_dict()
    form["columns"][0].pop("nan")
    with pytest.raises(fs.RequestError, match="no profile of a column that to_dict wrote: it lacks 'nan'"):
        QCReport.from_dict(form)
    with pytest.raises(fs.RequestError, match="no quality report that to_dict wrote: ValueError: Invalid isoformat"):
        QCReport.from_dict(report(table({"x": [1]})).to_dict() | {"validated_at": "yesterday"})
    with pytest.raises(
        fs.RequestError, match="no expectation that to_dict wrote: ValueError: 'foot' is no kind of value"
    ):
        Expectation.from_dict(in_range("x", 1).to_dict() | {"parameters": {"min": {"foot": 1}, "max": None}})


def test_a_frame_without_rows_is_skipped_and_blocks() -> None:
    for frame in (table({"hcp_id": []}), pd.DataFrame({"x": []}), pl.DataFrame({"x": []})):
        made = report(frame)
        assert (made.status, made.overall_score, made.row_count) == ("skipped", None, 0)
        assert made.blocking_issues == ("The frame has no rows; nothing was judged.",)
        assert len(made.inconclusive) == 5


def test_a_frame_in_which_all_is_missing_has_nothing_valid_or_consistent_to_judge() -> None:
    made = report(pa.table({"x": pa.nulls(3, pa.float64()), "s": pa.nulls(3, pa.string()), "n": pa.nulls(3)}))
    assert (made.completeness_score, made.validity_score, made.consistency_score) == (0.0, None, None)
    assert sum("missing in every row" in w for w in made.warnings) == 3


@pytest.mark.rule("T-1")
def test_times_of_mixed_zones_are_one_instant_and_naive_beside_aware_columns_are_told() -> None:
    zone = dt.timezone(timedelta(hours=5))
    rows = [
        {"event_timestamp": NOW},
        {"event_timestamp": NOW.astimezone(zone)},
        {"event_timestamp": NOW.replace(tzinfo=None)},
    ]
    made = report(rows)
    assert (made.columns[0].min, made.columns[0].max, made.timeliness_score) == (NOW, NOW, 1.0)
    naive = pa.array([NOW.replace(tzinfo=None)], pa.timestamp("us"))
    both = report(pa.table({"aware": pa.array([NOW], pa.timestamp("us", "Asia/Tokyo")), "naive": naive}))
    assert any("'naive' has no time zone and 'aware' has one" in w for w in both.warnings)


def test_many_different_texts_are_judged_row_by_row_and_the_last_duplicate_is_found() -> None:
    n = 60_000
    ids = [f"id_{i}" for i in range(n - 2)] + ["id_0", " padded"]
    made = report(table({"id": ids}), keys=["id"])
    assert made.uniqueness_score == (n - 1) / n
    assert made.consistency_score == (n - 1) / n
    (duplicates,) = made.failed_expectations
    assert duplicates.examples == (n - 2,)
    assert made.columns[0].distinct == pytest.approx(n - 1, rel=0.1)


def test_a_column_of_more_words_than_numbers_is_text_and_one_of_numbers_alone_is_told() -> None:
    made = report(table({"words": ["a", "b", "1"], "numbers": ["1", " 2 ", "3e1"]}))
    assert made.consistency_score == 5 / 6  # the padded one
    assert [w for w in made.warnings if "numbers as text" in w] == ["Column 'numbers' holds numbers as text."]


def test_infinities_leave_the_mean_to_the_others() -> None:
    column = report(table({"x": [INF, -INF, 1.0, 3.0]})).columns[0]
    assert (column.infinite, column.mean, column.min, column.max) == (2, 2.0, 1.0, 3.0)
    assert column.std == pytest.approx(math.sqrt(2))


@pytest.mark.rule("T-1")
def test_a_column_of_times_with_and_without_a_zone_is_told() -> None:
    times = [NOW, NOW.replace(tzinfo=None), NOW]
    report = QCReport.of({"event_timestamp": times, "x": [1, 2, 3]})
    assert report.status == "warning"
    assert any("Column 'event_timestamp' mixes 1 times without a zone and 2 with one" in w for w in report.warnings)


# ---- columns of any type ------------------------------------------------------------------------------------

ODD_COLUMNS = {
    "decimal of negative scale": (pa.array([D("100"), None, D("0")], pa.decimal128(5, -2)), ("number", 0, 100)),
    "runs": (pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array([1.0, NAN])), ("number", 1, 1)),
    "dictionary of times": (pa.array([NOW, None, NOW], pa.timestamp("ns", "UTC")).dictionary_encode(), ("time", NOW, NOW)),
    "times beyond any calendar": (pa.array([2**50, None, -(2**50)], pa.timestamp("s")), ("time", None, None)),
    "texts with a NUL": (pa.array(["a\x00b", None, "a"]), ("text", "a", "a\x00b")),
}  # fmt: skip


@pytest.mark.parametrize(("column", "seen"), ODD_COLUMNS.values(), ids=ODD_COLUMNS)
def test_columns_of_any_type_are_looked_at_and_raise_no_error_but_ours(column: Any, seen: tuple[Any, ...]) -> None:
    frame = pa.table({"x": column})
    made = report(frame, required=["x"], timestamp_column="x")
    (profile,) = made.columns
    assert (profile.kind, profile.min, profile.max) == seen
    assert QCReport.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False))) == made
    baseline = BaselineMetrics.of(frame, target=None)
    assert baseline.drift(frame).row_count == 3
    assert BaselineMetrics.of(frame, target="x").training_samples == 3
    assert QCReport.of(frame, keys=["x"]).uniqueness_score is not None


def test_times_beyond_any_calendar_cannot_be_judged_which_is_a_failure() -> None:
    made = report(pa.table({"event_timestamp": ODD_COLUMNS["times beyond any calendar"][0]}))
    (in_time,) = (r for r in made.expectation_results if r.expectation.kind == "in_time")
    assert (made.status, in_time.outcome) == ("failed", Outcome.ERROR)
    assert "cannot be judged" in in_time.message
    assert "LINE 1" not in in_time.message


def test_text_with_a_nul_is_compared() -> None:
    (failed,) = report(
        table({"x": ["a\x00b", "a", "'"]}), expectations=[in_set("x", ["a\x00b", "'"])]
    ).failed_expectations
    assert failed.examples == (1,)
