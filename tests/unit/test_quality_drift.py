"""Baselines and drift, their figures against numpy, scipy and a calculation by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
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
from e2i_fs.quality import BaselineMetrics, DriftReport, DriftThresholds, Outcome
from tests.kit import NOW

scipy_stats = pytest.importorskip("scipy.stats", reason="needs scipy")
RNG = np.random.default_rng(7)


def drift(was: Any, now: Any, **thresholds: float) -> DriftReport:
    return BaselineMetrics.of(was).drift(now, thresholds=thresholds or None, clock=lambda: NOW)


def check(made: DriftReport, kind: str, feature: str = "x") -> Any:
    return next(c for c in made.features[feature].checks if c.kind == kind)


# ---- the figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [RNG.normal(5, 2, 1001), RNG.integers(0, 7, 500), RNG.exponential(1, 37).astype(np.float32), np.array([3.0, 1.0])],
    ids=["normal", "whole", "float32", "two"],
)
def test_numeric_figures_are_numpys(values: Any) -> None:
    column = [None, *values.tolist(), math.nan, math.inf]
    given = pa.array(column, pa.float64() if values.dtype.kind == "i" else pa.from_numpy_dtype(values.dtype))
    f = BaselineMetrics.of(pa.table({"x": given})).numeric["x"]
    exact = values.astype(float)
    quartiles = np.quantile(exact, [0.25, 0.5, 0.75])
    assert (f.mean, f.std) == pytest.approx((exact.mean(), exact.std(ddof=1)), rel=1e-12)
    assert (f.min, f.max) == (exact.min(), exact.max())
    assert (f.p25, f.p50, f.p75) == pytest.approx(tuple(quartiles), rel=1e-12)
    assert (f.missing_count, f.nan_count, f.infinite_count, f.count) == (2, 1, 1, len(values))
    assert f.missing_rate == 2 / len(column)


def test_categorical_figures_are_those_of_a_count() -> None:
    values = ["b", "a", "b", None, "c", "a", "b"]
    f = BaselineMetrics.of({"x": values}).categorical["x"]
    counted = Counter(v for v in values if v is not None)
    assert (f.unique_count, f.most_common, f.most_common_count, f.frequency) == (3, "b", 3, 3 / 6)
    assert (f.missing_count, f.missing_rate, dict(f.counts), f.complete) == (1, 1 / 7, counted, True)


def test_correlations_are_pearsons_over_the_rows_that_have_both() -> None:
    x = RNG.normal(size=300)
    y = x + RNG.normal(size=300)
    y[::7] = math.nan
    made = BaselineMetrics.of({"x": x.tolist(), "y": y.tolist(), "one": [1.0] * 300}).correlation
    both = ~np.isnan(y)
    assert made["x"]["y"] == pytest.approx(np.corrcoef(x[both], y[both])[0, 1], rel=1e-10)
    assert made["y"]["x"] == made["x"]["y"] and made["x"]["x"] == 1.0
    assert made["x"]["one"] is None and made["one"]["one"] is None


def test_numbers_whose_squares_are_no_floats_have_a_mean_and_a_deviation() -> None:
    values = [1e300, 3e300, -2e300]
    f = BaselineMetrics.of({"x": values}).numeric["x"]
    assert f.mean == pytest.approx(2e300 / 3)
    assert f.std == pytest.approx(np.std([v / 1e300 for v in values], ddof=1) * 1e300)


def test_one_row_has_no_deviation_and_an_all_missing_column_no_figures() -> None:
    made = BaselineMetrics.of(pa.table({"x": [1.5], "gone": pa.array([None], pa.float64())}))
    assert (made.numeric["x"].mean, made.numeric["x"].std) == (1.5, None)
    gone = made.numeric["gone"]
    assert (gone.mean, gone.std, gone.min, gone.p50, gone.missing_rate) == (None, None, None, None, 1.0)
    assert made.warnings == ("Feature 'gone' is missing in every row.",)


@pytest.mark.parametrize(
    ("target", "rate", "shares"),
    [
        ([True, False, True, True], 0.75, {True: 0.75, False: 0.25}),
        ([1, 0, 0, None], 1 / 3, {0: 2 / 3, 1: 1 / 3}),
        (["a", "b", "a", "c"], None, {"a": 0.5, "b": 0.25, "c": 0.25}),
        ([1, 2, 2, 3], None, {2: 0.5, 1: 0.25, 3: 0.25}),
    ],
)
def test_the_target_has_a_rate_or_a_distribution(
    target: list[Any], rate: float | None, shares: dict[Any, float]
) -> None:
    made = BaselineMetrics.of({"x": [1, 2, 3, 4], "y": target}, target="y")
    assert made.target_rate == (None if rate is None else pytest.approx(rate))
    assert dict(made.target_distribution or ()) == pytest.approx(shares)
    assert "y" not in {*made.numeric, *made.categorical}


def test_a_target_of_one_class_is_told_and_one_of_many_values_has_no_distribution() -> None:
    one = BaselineMetrics.of({"x": [1, 2], "y": [0, 0]}, target="y")
    assert "one class only" in one.warnings[0]
    many = BaselineMetrics.of({"x": list(range(60)), "y": list(range(60))}, target="y")
    assert (many.target_rate, many.target_distribution, many.warnings) == (None, None, ())


def test_of_splits_only_the_train_split_is_read() -> None:
    class Part:
        def to_arrow(self) -> pa.Table:
            return pa.table({"id": ["a", "b"], "x": [1, 3], "y": [True, False]})

    class Splits:
        features, target, train = ("x",), "y", Part()

        @property
        def test(self) -> Any:
            raise AssertionError("the test split was read")

        def unlock(self, name: str) -> Any:
            raise AssertionError("the holdout was opened")

    made = BaselineMetrics.of(Splits())
    assert (list(made.numeric), list(made.categorical), made.target_rate) == (["x"], [], 0.5)


@pytest.mark.parametrize(
    ("train", "asked", "says"),
    [
        ({"x": [1]}, {"target": "y"}, "no column 'y'"),
        ({"trx": [1], "y": [1]}, {"features": ["trc"]}, "Did you mean 'trx'"),
        ({"x": [1]}, {"features": "x"}, r"e.g. \['x'\]"),
        ({"x": [1]}, {"features": ["x"], "target": "x"}, "among the features"),
        (pa.table({"x": pa.array([], pa.int64())}), {}, "no rows"),
    ],
)
def test_a_baseline_that_means_nothing_is_refused(train: Any, asked: dict[str, Any], says: str) -> None:
    with pytest.raises(fs.RequestError, match=says):
        BaselineMetrics.of(train, **asked)


def test_a_baseline_and_a_drift_report_survive_json() -> None:
    frame = {"x": [1.5, 2.5, None] * 40, "c": ["a", "b", "a"] * 40, "b": [True, False, None] * 40, "t": [NOW] * 120}
    made = BaselineMetrics.of(frame, target="b", clock=lambda: NOW)
    assert list(made.skipped) == ["t"]
    again = BaselineMetrics.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
    assert again == made
    compared = again.drift(frame, clock=lambda: NOW + timedelta(days=1))
    assert DriftReport.from_dict(json.loads(json.dumps(compared.to_dict(), allow_nan=False))) == compared


def test_what_is_no_baseline_is_told() -> None:
    for form in ({}, {"numeric": 5}, {"numeric": {}, "categorical": {}, "target_distribution": None}):
        with pytest.raises(fs.RequestError, match="no baseline that to_dict wrote"):
            BaselineMetrics.from_dict(form)


# ---- drift, by hand ---------------------------------------------------------------------------------------


def psi_by_hand(was: np.ndarray, now: np.ndarray, edges: np.ndarray) -> float:
    """The population stability index over the bins up to each edge, and beyond the last; an empty bin is half a row."""
    total = 0.0
    for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True):
        e = max(((was > low) & (was <= high)).sum(), 0.5) / len(was)
        f = max(((now > low) & (now <= high)).sum(), 0.5) / len(now)
        total += (f - e) * math.log(f / e)
    return total


@pytest.mark.parametrize("shift", [0.0, 0.3, 4.0])
@pytest.mark.parametrize("sizes", [(5000, 3000), (997, 4001)])
def test_psi_and_ks_of_continuous_numbers_are_those_by_hand(shift: float, sizes: tuple[int, int]) -> None:
    was, now = RNG.normal(size=sizes[0]), RNG.normal(shift, 1.2, size=sizes[1])
    made = drift({"x": was.tolist()}, {"x": now.tolist()})
    tenths = np.unique(np.quantile(was, np.arange(1, 10) / 10, method="inverted_cdf"))
    assert check(made, "psi").value == pytest.approx(psi_by_hand(was, now, tenths), rel=1e-9)
    true = scipy_stats.ks_2samp(was, now).statistic
    assert true - 1 / 200 - 1 / sizes[0] <= check(made, "ks").value <= true + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_psi_and_ks_of_few_values_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    was, now = rng.integers(0, 9, 400), rng.integers(-1, 8, 300)
    made = drift({"x": was.tolist()}, {"x": now.tolist()})
    assert check(made, "ks").value == pytest.approx(scipy_stats.ks_2samp(was, now).statistic, abs=1e-12)
    points = np.unique(was)
    total = 0.0
    for inside_was, inside_now in [
        *((was == p, now == p) for p in points),
        (~np.isin(was, points), ~np.isin(now, points)),
    ]:
        e, f = max(inside_was.sum(), 0.5) / len(was), max(inside_now.sum(), 0.5) / len(now)
        total += (f - e) * math.log(f / e)
    assert check(made, "psi").value == pytest.approx(total, rel=1e-9)


def test_psi_of_classes_is_that_by_hand_with_one_bin_for_what_is_new() -> None:
    was, now = ["a"] * 600 + ["b"] * 400, ["a"] * 300 + ["b"] * 500 + ["z"] * 200
    pairs = [(0.6, 0.3), (0.4, 0.5), (0.5 / 1000, 0.2)]
    made = drift({"x": was}, {"x": now})
    assert check(made, "psi").value == pytest.approx(sum((f - e) * math.log(f / e) for e, f in pairs))
    new = check(made, "new_categories")
    assert (new.value, new.outcome) == (0.2, Outcome.FAILED) and "'z'" in new.message


def test_what_chance_explains_is_what_it_says() -> None:
    """Of many comparisons of unchanged data about one in a thousand exceeds ``by_chance``, and hardly any warns."""
    rng = np.random.default_rng(3)
    columns = {f"x{i}": rng.normal(size=2000) for i in range(15)} | {
        f"k{i}": rng.integers(0, 6, 2000) for i in range(150)
    }
    later = {f"x{i}": rng.normal(size=1500) for i in range(15)} | {
        f"k{i}": rng.integers(0, 6, 1500) for i in range(150)
    }
    made = drift(pa.table(columns), pa.table(later))
    exceeded = Counter(
        c.kind for f in made.features.values() for c in f.checks if (c.value or 0) > (c.by_chance or 0) > 0
    )
    assert exceeded["psi"] <= 2 and exceeded["ks"] <= 2
    assert made.outcome is Outcome.PASSED
    ratios = [check(made, "psi", n).value / check(made, "psi", n).by_chance for n in made.features]
    assert 0.15 < float(np.median(ratios)) < 0.6  # the bound is of the size that chance has, not far above it


def test_chi_squared_is_near_enough() -> None:
    from e2i_fs.quality.thresholds import psi_by_chance

    for bins in (2, 3, 10, 100, 1000):
        true = scipy_stats.chi2.ppf(0.999, bins - 1) * (1 / 300 + 1 / 500)
        assert psi_by_chance(bins, 300, 500) == pytest.approx(true, rel=0.04)


# ---- what is told -----------------------------------------------------------------------------------------

EVEN = {"x": [float(i % 100) for i in range(2000)]}


def test_unchanged_data_passes_and_says_nothing() -> None:
    made = drift(EVEN, EVEN)
    assert (made.outcome, made.messages, made.drifted) == (Outcome.PASSED, (), ())


@pytest.mark.parametrize(
    ("now", "kind", "outcome"),
    [
        ({"x": [float(i % 100) + 12 for i in range(2000)]}, "ks", Outcome.WARNING),
        ({"x": [float(i % 100) + 50 for i in range(2000)]}, "ks", Outcome.FAILED),
        ({"x": [float(i % 100) + 50 for i in range(2000)]}, "psi", Outcome.FAILED),
        ({"x": [None if i % 10 == 0 else float(i % 100) for i in range(2000)]}, "missing_rate", Outcome.WARNING),
        ({"x": [None if i % 3 == 0 else float(i % 100) for i in range(2000)]}, "missing_rate", Outcome.FAILED),
        ({"x": [7.0] * 500}, "constant", Outcome.FAILED),
        ({"y": [1.0] * 500}, "vanished", Outcome.FAILED),
        ({"x": ["1"] * 500}, "kind_changed", Outcome.FAILED),
        ({"x": [None] * 500}, "missing_rate", Outcome.FAILED),
        ({"x": [None] * 500}, "psi", Outcome.INCONCLUSIVE),
        ({"x": [1.0, 50.0, 99.0]}, "ks", Outcome.INCONCLUSIVE),
        ({"x": [1000.0] * 5}, "ks", Outcome.FAILED),
        (pa.table({"x": pa.array([], pa.float64())}), "psi", Outcome.INCONCLUSIVE),
        (pa.table({"x": pa.array([], pa.float64())}), "missing_rate", Outcome.INCONCLUSIVE),
    ],
)
def test_each_kind_of_change_is_told(now: Any, kind: str, outcome: Outcome) -> None:
    made = drift(EVEN, now)
    found = check(made, kind)
    assert found.outcome is outcome
    assert found.message in made.messages and "'x'" in found.message


def test_new_columns_are_named_and_judged_by_nobody() -> None:
    made = drift({**EVEN, "t": [NOW] * 2000}, {**EVEN, "t": [NOW] * 2000, "extra": [1] * 2000})
    assert (made.new_columns, made.outcome) == (("extra",), Outcome.PASSED)


def test_new_categories_of_a_column_with_too_many_to_keep_are_inconclusive() -> None:
    made = drift({"x": [f"id_{i}" for i in range(1500)]}, {"x": [f"id_{i}" for i in range(1500)]})
    assert check(made, "new_categories").outcome is Outcome.INCONCLUSIVE


def test_a_few_new_categories_warn() -> None:
    made = drift({"x": ["a", "b"] * 500}, {"x": ["a", "b"] * 490 + ["z"]})
    assert check(made, "new_categories").outcome is Outcome.WARNING


def test_thresholds_can_be_set_and_a_misspelt_one_names_the_nearest() -> None:
    later = {"x": [float(i % 100) + 12 for i in range(2000)]}
    assert check(drift(EVEN, later, ks_fail=0.11, ks_warn=0.01), "ks").outcome is Outcome.FAILED
    assert drift(EVEN, later, ks_fail=0.5, ks_warn=0.4, psi_warn=9, psi_fail=9).outcome is Outcome.PASSED
    for given, says in (
        ({"ks_fial": 0.5}, "Did you mean 'ks_fail'"),
        ({"ks_fail": -1.0}, "not negative"),
        ({"ks_fail": 0.05}, "above ks_fail"),
        (5, "give DriftThresholds"),
    ):
        with pytest.raises(fs.ConfigError, match=says):
            BaselineMetrics.of(EVEN).drift(EVEN, thresholds=given)
    assert DriftThresholds(psi_fail=1.0).psi_fail == 1.0


def test_a_baseline_of_parquet_is_that_of_the_frame(tmp_path: Path) -> None:
    frame = pa.table({**EVEN, "c": ["a", "b"] * 1000})
    pq.write_table(frame, tmp_path / "train.parquet", row_group_size=100)
    one = BaselineMetrics.of(frame, clock=lambda: NOW)
    other = BaselineMetrics.of(tmp_path / "train.parquet", clock=lambda: NOW)
    assert other.numeric["x"].distribution == one.numeric["x"].distribution
    assert (other.categorical, other.numeric["x"].p50) == (one.categorical, one.numeric["x"].p50)


@pytest.mark.parametrize(
    "make", [pa.table, pl.DataFrame, pd.DataFrame, dict], ids=["arrow", "polars", "pandas", "numpy"]
)
@pytest.mark.parametrize(("bad", "kind"), [(math.nan, "missing_rate"), (math.inf, "infinite_rate")])
def test_a_column_that_became_nan_or_infinite_has_drifted_in_every_kind_of_frame(
    make: Any, bad: float, kind: str
) -> None:
    was = np.arange(1000.0)
    made = drift({"x": was}, make({"x": np.where(np.arange(1000) % 10, bad, was)}))
    assert (check(made, kind).outcome, check(made, kind).value) == (Outcome.FAILED, 0.9)
    assert any("in 90.0% of the rows, and was in 0.0%" in m for m in made.messages)
    assert check(drift({"x": was}, {"x": was}), "infinite_rate").outcome is Outcome.PASSED


def test_a_zero_has_no_sign_so_the_order_of_rows_makes_no_other_baseline() -> None:
    one, other = ([*zeros, 1.0] for zeros in ([0.0, -0.0], [-0.0, 0.0]))
    figures = [BaselineMetrics.of({"x": values}).numeric["x"] for values in (one, other, [-0.0])]
    assert repr(figures[0]) == repr(figures[1])
    assert "-0.0" not in repr(figures[2])
