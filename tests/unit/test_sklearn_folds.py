"""`PurgedTimeSeriesSplit`: no training row's label looks into a test, and scikit-learn's own tools take it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

import e2i_fs as fs
from e2i_fs.sklearn import PurgedTimeSeriesSplit

START = datetime(2024, 1, 1)
HOUR = timedelta(hours=1)


def times(hours: list[int]) -> list[datetime]:
    return [START + h * HOUR for h in hours]


@settings(max_examples=80, deadline=None)
@given(
    hours=st.lists(st.integers(0, 60), min_size=12, max_size=60),
    folds=st.integers(2, 4),
    horizon=st.integers(0, 6),
    embargo=st.integers(0, 6),
    past_only=st.booleans(),
)
def test_a_row_is_trained_on_exactly_when_its_label_touches_no_test_and_the_embargo_is_over(
    hours: list[int], folds: int, horizon: int, embargo: int, past_only: bool
) -> None:
    embargo = 0 if past_only else embargo
    splitter = PurgedTimeSeriesSplit(folds, horizon=horizon * HOUR, embargo=embargo * HOUR, past_only=past_only)
    X = np.zeros((len(hours), 1))
    try:
        found = list(splitter.split(X, groups=times(hours)))
    except fs.SplitError:
        return
    tested = [set(test.tolist()) for _, test in found]
    assert len(found) == splitter.get_n_splits() == folds
    assert not any(a & b for a, b in itertools.combinations(tested, 2))
    everything = set(range(len(hours)))
    before = everything - set().union(*tested)
    assert not before or past_only  # otherwise each row is tested on once
    for train, test in found:
        for row in everything:
            # By the definition, pair by pair: [t, t + horizon] against [u, u + horizon] of each test row.
            touches = any(hours[row] <= hours[u] + horizon and hours[u] <= hours[row] + horizon for u in test.tolist())
            last = max(hours[u] for u in test.tolist())
            after = hours[row] > last
            allowed = not touches and not (after and (past_only or hours[row] <= last + horizon + embargo))
            if min(hours[u] for u in test.tolist()) <= hours[row] <= last:
                assert row in test.tolist()  # a block is whole: no instant divided, none in its middle left out
                allowed = False
            assert (row in train.tolist()) == allowed
        assert sorted(train) == train.tolist()


def test_the_edges_of_purge_and_embargo_belong_to_them() -> None:
    splitter = PurgedTimeSeriesSplit(3, horizon=2 * HOUR, embargo=1 * HOUR)
    (_, _), (train, test), _ = splitter.split(np.zeros((30, 1)), groups=times(list(range(30))))
    assert (test[0], test[-1]) == (10, 19)
    assert train.tolist() == [*range(8), *range(23, 30)]  # 8 + 2 touches 10; 19 + 2 + 1 is still embargoed


def test_blocks_hold_about_as_many_rows_each_and_the_same_ones_in_any_order() -> None:
    draw = np.random.default_rng(3)
    hours = np.sort(draw.integers(0, 500, 900))
    splitter = PurgedTimeSeriesSplit(6)
    found = [test for _, test in splitter.split(hours.reshape(-1, 1), groups=times(hours.tolist()))]
    assert all(abs(len(test) - 150) <= 6 for test in found)
    order = draw.permutation(len(hours))
    again = [test for _, test in splitter.split(hours.reshape(-1, 1), groups=times(hours[order].tolist()))]
    for a, b in zip(found, again, strict=True):
        assert sorted(order[b]) == a.tolist()


def test_past_only_trains_on_what_was_known_before_as_time_series_split_does() -> None:
    for train, test in PurgedTimeSeriesSplit(4, past_only=True, horizon=HOUR).split(
        range(50), groups=times(list(range(50)))
    ):
        assert train.max() + 1 < test.min()
        assert train.min() == 0


ZONES = [UTC, timezone(timedelta(hours=9))]
HOURS = list(range(24))


@pytest.mark.parametrize(
    "given",
    [
        times(HOURS),
        np.array(times(HOURS), dtype="datetime64[ns]"),
        list(np.array(times(HOURS), dtype="datetime64[s]")),
        pd.Series(times(HOURS), index=range(100, 124)),
        pd.DatetimeIndex(times(HOURS)).tz_localize("UTC").tz_convert("America/New_York"),
        pl.Series(times(HOURS)),
        pa.array(times(HOURS)),
        pa.chunked_array([times(HOURS[:5]), times(HOURS[5:])]),
        [t.replace(tzinfo=UTC).astimezone(ZONES[i % 2]) for i, t in enumerate(times(HOURS))],
    ],
    ids=[
        "list",
        "datetime64",
        "datetime64 scalars",
        "pandas",
        "pandas index",
        "polars",
        "arrow",
        "chunked",
        "mixed zones",
    ],
)
def test_times_come_in_any_kind_as_groups_or_for_the_splitter(given: Any) -> None:
    X = np.zeros((24, 1))
    expected = [t.tolist() for _, t in PurgedTimeSeriesSplit(3).split(X, groups=times(HOURS))]
    assert [t.tolist() for _, t in PurgedTimeSeriesSplit(3).split(X, groups=given)] == expected
    assert [t.tolist() for _, t in PurgedTimeSeriesSplit(3, times=given).split(X)] == expected


def test_times_may_be_a_column_of_x() -> None:
    frame = pd.DataFrame({"when": times(HOURS), "x": HOURS})
    assert len(list(PurgedTimeSeriesSplit(3, times="when").split(frame))) == 3
    with pytest.raises(fs.RequestError, match="Did you mean 'when'"):
        list(PurgedTimeSeriesSplit(3, times="whn").split(frame))


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({}, fs.RequestError, "pass the times|Pass the times"),
        ({"groups": times(HOURS[:5])}, fs.RequestError, "5 times and X has 24 rows"),
        ({"groups": [*times(HOURS[:-1]), None]}, fs.InvalidTimestampError, "row 23"),
        ({"groups": np.array([*times(HOURS[:-1]), "NaT"], dtype="datetime64[us]")}, fs.InvalidTimestampError, "row 23"),
        ({"groups": HOURS}, fs.InvalidTimestampError, "not times"),
        ({"groups": np.arange(24)}, fs.InvalidTimestampError, "not times"),
        (
            {"groups": np.array(["2024-01-01T00:00:00.000000001"] * 24, "datetime64[ns]")},
            fs.InvalidTimestampError,
            "finer",
        ),
        (
            {
                "groups": [
                    *np.array(times(HOURS[:-1]), "datetime64[ns]"),
                    np.datetime64("2024-01-01T00:00:00.000000001"),
                ]
            },
            fs.InvalidTimestampError,
            r"row 23: 2024-01-01T00:00:00.000000001 is finer than a microsecond \(T-2\)",
        ),
        (
            {"groups": [*np.array(times(HOURS[:-1]), "datetime64[s]"), np.datetime64("300000-01-01", "s")]},
            fs.InvalidTimestampError,
            "row 23: .* beyond",
        ),
        ({"groups": [START] * 24}, fs.SplitError, "1 distinct times"),
    ],
)
def test_times_that_are_none_are_refused(given: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        list(PurgedTimeSeriesSplit(3).split(np.zeros((24, 1)), **given))


def test_times_given_twice_and_rules_that_mean_nothing_are_refused() -> None:
    with pytest.raises(fs.RequestError, match="both"):
        list(PurgedTimeSeriesSplit(3, times=times(HOURS)).split(HOURS, groups=times(HOURS)))
    for wrong in ({"n_splits": 1}, {"horizon": -HOUR}, {"embargo": 3}, {"past_only": True, "embargo": HOUR}):
        with pytest.raises(fs.RequestError):
            PurgedTimeSeriesSplit(**wrong)
    with pytest.raises(fs.SplitError, match="Fold 0 has no training row"):
        list(PurgedTimeSeriesSplit(3, past_only=True, horizon=9 * HOUR).split(HOURS, groups=times(HOURS)))


def test_scikit_learns_own_tools_take_it() -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(300, 3))
    y = (X[:, 0] > 0).astype(int)
    when = times(list(range(300)))
    folds = PurgedTimeSeriesSplit(4, horizon=5 * HOUR, embargo=5 * HOUR)
    assert len(cross_val_score(LogisticRegression(), X, y, groups=when, cv=folds)) == 4
    assert len(cross_val_predict(LogisticRegression(), X, y, groups=when, cv=folds)) == 300
    searched = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=folds).fit(X, y, groups=when)
    assert searched.n_splits_ == 4
    own = PurgedTimeSeriesSplit(4, times=when)
    assert cross_val_score(LogisticRegression(), X, y, cv=own, n_jobs=1).min() > 0.9
    assert "n_splits=4" in repr(own)


def test_with_metadata_routing_groups_reach_it() -> None:
    import sklearn

    when = times(list(range(60)))
    X, y = np.arange(60).reshape(-1, 1), np.array([0, 1] * 30)
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(LogisticRegression(), X, y, params={"groups": when}, cv=PurgedTimeSeriesSplit(3))
    assert len(scores) == 3
