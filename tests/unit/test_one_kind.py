"""A column of two kinds of Python values is refused, whatever it comes in: Arrow would make some of them others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import e2i_fs as fs
from tests.kit import at, online, values, view

DAY, MOMENT = dt.date(2024, 3, 10), at(6)
# Two values, in this order: what Arrow makes of the second, or of both, is not what was given.
MIXED = {
    "a date, then a time": (DAY, MOMENT),
    "a time, then a date": (MOMENT, DAY),
    "a time, then a number": (MOMENT, 1_717_243_200),
    "a time, then a truth value": (MOMENT, True),
    "a number, then a truth value": (1.5, True),
    "a number, then a truth value of numpy": (1.5, np.True_),
    "text, then bytes": ("e", b"x"),
    "a duration, then a number": (dt.timedelta(days=1), 3),
    "a time of day, then a number": (dt.time(1), 3),
    "lists of a date and a time": ([DAY], [MOMENT]),
    "a list of text and bytes": (["a", b"b"], ["c"]),
    "structs of a number and a truth value": ({"n": 1.5}, {"n": True}),
}
FORMS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "rows": lambda columns: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    "columns": lambda columns: columns,
    "pandas": lambda columns: pd.DataFrame({n: pd.Series(v, dtype=object) for n, v in columns.items()}),
}


@pytest.mark.rule("P-6", "P-7", "W-1")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mixed", MIXED)
def test_a_column_of_two_kinds_of_values_is_refused_with_one_of_each(store, tmp_path, mixed, form) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    frame = FORMS[form]({"hcp_id": ["a", "b"], "event_timestamp": [at(2), at(3)], "other": list(MIXED[mixed])})
    with pytest.raises(
        fs.InvalidEntityFrameError, match=r"column 'other' holds an? .*type|column 'other' holds .* and "
    ):
        store.get_historical_features(frame, ["hcp_stats:trx_count"])
    batch = FORMS[form]({"hcp_id": ["a", "b"], "event_timestamp": [at(2), at(3)], "trx_count": list(MIXED[mixed])})
    with pytest.raises(fs.InvalidBatchError, match="column 'trx_count' holds .* and "):
        store.write("hcp_stats", batch)


@pytest.mark.rule("T-1", "P-10")
@pytest.mark.parametrize("form", FORMS)
def test_a_time_beside_a_date_does_not_lose_its_hours(store, tmp_path, form) -> None:
    """Arrow makes dates of both: what happened at six in the evening would be known at midnight."""
    store.apply([view(tmp_path, [("a", at(360), 1)])])
    mixed = FORMS[form]({"hcp_id": ["b", "a"], "event_timestamp": [DAY, at(720)]})
    with pytest.raises(fs.InvalidEntityFrameError, match="'event_timestamp' holds a date"):
        store.get_historical_features(mixed, ["hcp_stats:trx_count"])
    batch = FORMS[form]({"hcp_id": ["a", "b"], "event_timestamp": [DAY, at(700)], "trx_count": [1, 2]})
    with pytest.raises(fs.InvalidBatchError, match="'event_timestamp' holds a date"):
        store.write("hcp_stats", batch)


@pytest.mark.rule("P-7")
def test_a_truth_value_among_numbers_is_no_key_one(store, tmp_path) -> None:
    store.apply([view(tmp_path, [(1, at(1), 7)], keys={"hcp_id": fs.Int64})])
    store.materialize(None)
    rows = pd.DataFrame({"hcp_id": pd.Series([2.0, True], dtype=object)})
    with pytest.raises(fs.InvalidEntityFrameError, match="'hcp_id' holds a number, 2.0, and a truth value, True"):
        store.get_online_features(["hcp_stats:trx_count"], rows)
    assert online(store, 2.0, True, 1) == [(None, "NOT_FOUND"), (None, "NOT_FOUND"), (7, "PRESENT")]


@pytest.mark.rule("P-6")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("missing", [None, pd.NA, pd.NaT])
@pytest.mark.parametrize("there", ["text", b"bytes", 3, 2.5, True, DAY, MOMENT, dt.timedelta(days=1)])
def test_what_is_missing_is_of_any_kind(store, tmp_path, there, missing, form) -> None:
    store.apply([view(tmp_path, [("a", at(1), 1)])])
    frame = FORMS[form]({"hcp_id": ["a", "a"], "event_timestamp": [at(2), at(3)], "other": [missing, there]})
    result = store.get_historical_features(frame, ["hcp_stats:trx_count"])
    assert values(result) == [1, 1]
    assert values(result, "other") == [None, there]
