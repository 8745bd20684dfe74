"""Entity frames as they come: every library, dtype and habit gives the same answer, or an error that says what to do."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import e2i_fs as fs
from tests.kit import STAMP, at, values, view

T = [at(1), at(1)]
REF = "hcp_stats:trx_count"
TIMES = pa.array(T, STAMP)


def _pd(keys, times=T, **more):
    return pd.DataFrame({"hcp_id": keys, "event_timestamp": times, **more})


def _objects(*items):
    return pd.Series(list(items), dtype=object)


INTEGER_KEYS = {
    "category": (lambda: _pd(pd.Categorical([1, 2])), [0, 1]),
    "uint64": (lambda: _pd(np.array([2**64 - 1, 1], dtype="uint64")), [None, 0]),
    "int8": (lambda: _pd(np.array([2, 1], dtype="int8")), [1, 0]),
    "float32": (lambda: _pd(np.array([2, 1], dtype="float32")), [1, 0]),
    "float with inf and nan": (lambda: _pd(np.array([np.inf, np.nan])), [None, None]),
    "float beyond int64": (lambda: _pd(np.array([2.0**63, 1e300])), [None, None]),
    "Int64 with NA": (lambda: _pd(pd.array([1, None], dtype="Int64")), [0, None]),
    "objects, one a half": (lambda: _pd(_objects(1, 2.5)), [0, None]),
    "objects, one None": (lambda: _pd(_objects(1, None)), [0, None]),
    "objects, one NA": (lambda: _pd(_objects(1, pd.NA)), [0, None]),
    "booleans": (lambda: _pd(pd.Series([True, False])), [None, None]),
    "arrow dictionary": (lambda: pa.table({"hcp_id": pa.array([2, 1]).dictionary_encode(), "event_timestamp": TIMES}), [1, 0]),
    "arrow chunks": (
        lambda: pa.table({"hcp_id": pa.chunked_array([[2], [], [1]], pa.int64()), "event_timestamp": pa.chunked_array([T[:1], T[1:]], STAMP)}),
        [1, 0],
    ),
    "record batch": (lambda: pa.record_batch({"hcp_id": pa.array([2, 1]), "event_timestamp": TIMES}), [1, 0]),
}  # fmt: skip
TEXT_KEYS = {
    "category": lambda: _pd(pd.Categorical(["b", "a"])),
    "arrow strings of pandas": lambda: _pd(pd.array(["b", "a"], dtype="string[pyarrow]")),
    "numpy strings": lambda: _pd(_objects(np.str_("b"), np.str_("a"))),
    "arrow times of pandas": lambda: _pd(
        ["b", "a"], pd.Series(T).astype(pd.ArrowDtype(pa.timestamp("ns", "America/New_York")))
    ),
    "times in seconds": lambda: _pd(["b", "a"], pd.Series(T).astype("datetime64[s, UTC]")),
    "times as objects, one naive": lambda: _pd(["b", "a"], _objects(at(1), at(1).replace(tzinfo=None))),
    "dates": lambda: _pd(["b", "a"], [dt.date(2024, 3, 11)] * 2),
    "polars categorical": lambda: pl.DataFrame(
        {"hcp_id": pl.Series(["b", "a"], dtype=pl.Categorical), "event_timestamp": T}
    ),
    "polars enum": lambda: pl.DataFrame(
        {"hcp_id": pl.Series(["b", "a"], dtype=pl.Enum(["a", "b"])), "event_timestamp": T}
    ),
    "string views": lambda: pa.table({"hcp_id": pa.array(["b", "a"], pa.string_view()), "event_timestamp": TIMES}),
    "large strings": lambda: pa.table({"hcp_id": pa.array(["b", "a"], pa.large_string()), "event_timestamp": TIMES}),
}
OTHER_KEYS = {
    "decimal of other digits": (
        fs.Decimal(10, 2), [Decimal("1.10"), Decimal("2.10")], pa.array([Decimal("1.105"), Decimal("2.1")], pa.decimal128(12, 3)), [None, 1],
    ),
    "whole numbers for a decimal": (fs.Decimal(10, 2), [Decimal("1.00"), Decimal("2.10")], pa.array([1, 2]), [0, None]),
    "naive times for a time": (fs.Timestamp, [at(0), at(5)], pa.array([at(5).replace(tzinfo=None), at(0).replace(tzinfo=None)]), [1, 0]),
    "times for a date": (fs.Date, [dt.date(2024, 1, 1), dt.date(2024, 1, 2)], pa.array([dt.datetime(2024, 1, 1)] * 2), [None, None]),
    "dates in milliseconds": (fs.Date, [dt.date(2024, 1, 1), dt.date(2024, 1, 2)], pa.array([dt.date(2024, 1, 2)] * 2, pa.date64()), [1, 1]),
    "bytes": (fs.Bytes, [b"", b"\x00"], pa.array([b"\x00", b""]), [1, 0]),
    "booleans": (fs.Bool, [True, False], pa.array([False, None]), [1, None]),
}  # fmt: skip


@pytest.mark.rule("P-6", "P-7")
@pytest.mark.filterwarnings("ignore::e2i_fs.KeyTypeWarning")
@pytest.mark.parametrize("case", INTEGER_KEYS)
def test_whole_number_keys_match_whatever_they_lie_in(store, tmp_path, case) -> None:
    make, expected = INTEGER_KEYS[case]
    store.apply([view(tmp_path, [(1, at(1), 0), (2, at(1), 1)], keys={"hcp_id": fs.Int64})])
    _same_answer(store, make(), expected)


@pytest.mark.rule("P-6", "P-7", "T-1")
@pytest.mark.parametrize("case", TEXT_KEYS)
def test_text_keys_and_times_match_whatever_they_lie_in(store, tmp_path, case) -> None:
    store.apply([view(tmp_path, [("a", at(1), 0), ("b", at(1), 1)])])
    _same_answer(store, TEXT_KEYS[case](), [1, 0])


@pytest.mark.rule("P-7")
@pytest.mark.filterwarnings("ignore::e2i_fs.KeyTypeWarning")
@pytest.mark.parametrize("case", OTHER_KEYS)
def test_keys_of_every_dtype_match_exactly(store, tmp_path, case) -> None:
    dtype, kept, asked, expected = OTHER_KEYS[case]
    store.apply([view(tmp_path, [(key, at(1), n) for n, key in enumerate(kept)], keys={"hcp_id": dtype})])
    _same_answer(store, pa.table({"hcp_id": asked, "event_timestamp": TIMES}), expected)


@pytest.mark.rule("P-6")
@pytest.mark.parametrize(
    "extra", [[{1}, {2}], pd.period_range("2024", periods=2), pd.interval_range(0, 2), pd.to_timedelta([1, 2])]
)
def test_columns_that_are_none_of_our_business_come_back_as_they_are(store, tmp_path, extra) -> None:
    store.apply([view(tmp_path, [("a", at(1), 0), ("b", at(1), 1)])])
    _same_answer(store, _pd(["b", "a"], extra=extra), [1, 0])


def _same_answer(store, frame, expected) -> None:
    result = store.get_historical_features(frame, [REF])
    assert values(result) == expected
    native = result.to_native()
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(native[list(frame.columns)], frame)
    elif isinstance(frame, pl.DataFrame):
        assert native.select(frame.columns).equals(frame) and native.select(frame.columns).schema == frame.schema


@pytest.mark.rule("P-7")
@pytest.mark.parametrize("asked", [1, np.int64(1), np.int8(1), 1.0, np.float32(1.0), Decimal(1)])
def test_a_whole_number_matches_online_whatever_it_is(store, tmp_path, asked) -> None:
    store.apply([view(tmp_path, [(1, at(1), 5)], keys={"hcp_id": fs.Int64})])
    store.materialize(None)
    found = store.get_online_features([REF], [{"hcp_id": asked}]).to_dict()["trx_count"]
    assert found == ([None] if isinstance(asked, Decimal) else [5])


@pytest.mark.rule("P-7", "O-5")
@pytest.mark.filterwarnings("ignore::e2i_fs.KeyTypeWarning")
@pytest.mark.parametrize(
    "asked", ["1", True, np.True_, 1.5, float("nan"), float("inf"), None, pd.NA, pd.NaT, b"1", [1], 2**70]
)
def test_what_is_no_such_key_matches_nothing_online(store, tmp_path, asked) -> None:
    store.apply([view(tmp_path, [(1, at(1), 5)], keys={"hcp_id": fs.Int64})])
    store.materialize(None)
    answer = store.get_online_features([REF], [{"hcp_id": asked}, {"hcp_id": 1}])
    assert answer.to_dict()["trx_count"] == [None, 5]
    assert [s.name for s in answer.statuses[REF]] == ["NOT_FOUND", "PRESENT"]
