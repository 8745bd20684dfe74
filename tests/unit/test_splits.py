"""Training splits: what is in them, what is refused and why, and the lock on the holdout."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.splits import TemporalSplit
from e2i_fs.testing.clock import FakeClock
from tests import kit

DAY = timedelta(days=1)
START = datetime(2024, 1, 1)


def rows(days: int = 200, **more: Any) -> dict[str, Any]:
    """One row a day, of eight entities in turn."""
    return {
        "hcp_id": [f"hcp_{i % 8}" for i in range(days)],
        "event_timestamp": [START + i * DAY for i in range(days)],
        "calls": [float(i) for i in range(days)],
        "sold": [i % 2 for i in range(days)],
        **more,
    }


def split(data: Any, rule: TemporalSplit | None = None, **more: Any) -> Any:
    return (rule or TemporalSplit()).split(data, **{"target": "sold", "entity_keys": ["hcp_id"], **more})


# ---- what is in a split -------------------------------------------------------------------------------------


def test_the_default_rule_is_sixty_twenty_fifteen_five_with_a_week_between() -> None:
    splits = split(rows(400))
    for name, ratio in zip(splits.names, (0.60, 0.20, 0.15, 0.05), strict=True):
        assert abs(splits.boundaries[name].share - ratio) <= 0.02
    spans = [(b.first, b.last) for b in splits.boundaries.values()]
    for (_, last), (first, _) in zip(spans, spans[1:], strict=False):
        assert first - last == 8 * DAY  # the first day that is later by more than seven
    assert splits.dropped.counts == {"embargo": 21, "isolation": 0, "missing_target": 0}


def test_a_row_at_exactly_the_end_of_the_embargo_is_embargoed_and_one_microsecond_later_is_not() -> None:
    times = [START + i * DAY for i in range(100)]
    rule = TemporalSplit(ratios=(0.25, 0.25, 0.25, 0.25), embargo=DAY, tolerance=0.05)
    assert split(rows(100), rule).dropped.counts["embargo"] == 3  # in each gap the row that is one day later
    later = TemporalSplit(ratios=rule.ratios, embargo=DAY - kit.US, tolerance=0.05)
    assert split(rows(100, event_timestamp=times), later).dropped.counts["embargo"] == 0


def test_rows_of_one_instant_are_never_divided() -> None:
    times = [START + (i // 20) * DAY for i in range(400)]
    splits = split(rows(400, event_timestamp=times), TemporalSplit(embargo=timedelta(0), tolerance=0.03))
    last = [b.last for b in splits.boundaries.values()]
    first = [b.first for b in splits.boundaries.values()]
    assert all(a < b for a, b in zip(last, first[1:], strict=False))
    assert all(b.row_count % 20 == 0 for b in splits.boundaries.values())


@pytest.mark.parametrize("kind", ["pandas", "polars", "lazy", "arrow", "duckdb", "list"])
def test_splits_come_in_the_kind_of_the_callers_frame_and_hold_the_same_rows(kind: str) -> None:
    data = rows()
    made: Any = {
        "pandas": lambda: pd.DataFrame(data).set_index(pd.Index(range(1000, 1200))),
        "polars": lambda: pl.DataFrame(data),
        "lazy": lambda: pl.LazyFrame(data),
        "arrow": lambda: pa.table(data),
        "duckdb": lambda: __import__("duckdb").from_arrow(pa.table(data)),
        "list": lambda: [dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True)],
    }[kind]()
    train = split(made).train
    assert train.rows == split(data).train.rows
    expected = {
        "pandas": (pd.DataFrame, pd.Series), "polars": (pl.DataFrame, pl.Series), "lazy": (pl.DataFrame, pl.Series),
    }.get(kind, (pa.Table, pa.ChunkedArray))  # fmt: skip
    assert isinstance(train.y, expected[1])
    if kind == "duckdb":
        assert train.X.columns == ["calls"]
        assert [r[0] for r in train.X.fetchall()] == [data["calls"][r] for r in train.rows]
    else:
        assert isinstance(train.X, expected[0])
    if kind == "pandas":
        assert list(train.X.index) == list(train.y.index) == [1000 + r for r in train.rows]
    assert train.to_arrow().column_names == ["hcp_id", "event_timestamp", "calls", "sold"]
    assert train.to_arrow().column("calls").to_pylist() == [data["calls"][r] for r in train.rows]


def test_x_has_features_only_and_keys_or_time_when_they_are_asked_for() -> None:
    assert split(rows()).train.X.column_names == ["calls"]
    asked = split(rows(), features=["calls", "hcp_id", "event_timestamp"]).train
    assert asked.X.column_names == ["calls", "hcp_id", "event_timestamp"]


def store_result(folder: Path, clock: Any) -> Any:
    view = fs.FeatureView(
        "hcp",
        entities=[fs.Entity("hcp_id", dtype=fs.String)],
        schema=[
            fs.Field("calls", fs.Int64),
            fs.Field("sold", fs.Bool, role="label"),
            fs.Field("lost", fs.Bool, role="label"),
        ],
    )
    store = fs.connect(kit.config("duckdb", folder / "store"), clock=clock)
    store.apply([view])
    times = [kit.NOW - (200 - i) * DAY for i in range(200)]
    keys = [f"hcp_{i % 8}" for i in range(200)]
    odd = [i % 2 == 0 for i in range(200)]
    store.write(
        "hcp", kit.table({"hcp_id": keys, "event_timestamp": times, "calls": range(200), "sold": odd, "lost": odd})
    )
    frame = pd.DataFrame({"hcp_id": keys, "event_timestamp": times, "note": "x"})
    result = store.get_historical_features(frame, ["hcp:*"], labels=["hcp:sold", "hcp:lost"])
    store.close()
    return result


@pytest.mark.rule("P-12")
def test_of_a_stores_answer_the_features_keys_time_and_provenance_are_known(tmp_path: Path, clock: FakeClock) -> None:
    result = store_result(tmp_path, clock)
    splits = TemporalSplit().split(result, target="hcp:sold")
    assert splits.target == "sold"
    assert splits.features == ("calls",)  # not the labels, nor the note
    assert list(splits.train.X.columns) == ["calls"]
    assert list(splits.train.entity_keys.columns) == ["hcp_id"]
    assert splits.train.provenance is result.provenance
    assert str(splits.train.X["calls"].dtype) == "Int64"
    with pytest.raises(fs.LabelRequestedError, match="'lost'"):
        TemporalSplit().split(result, target="sold", features=["hcp:lost"])


# ---- entities -----------------------------------------------------------------------------------------------


def test_an_isolated_entity_is_in_one_split_and_the_shares_still_hold() -> None:
    many = [f"hcp_{(i * 7) % 97}" for i in range(4000)]
    data = rows(4000, hcp_id=many)
    splits = split(data, TemporalSplit(isolate_entities=True))
    splits.unlock("holdout")
    found = {name: set(getattr(splits, name).entity_keys.column("hcp_id").to_pylist()) for name in splits.names}
    assert sum(len(f) for f in found.values()) == len(set.union(*found.values())) == 97
    assert all(abs(b.share - r) <= 0.02 for b, r in zip(splits.boundaries.values(), splits.rule.ratios, strict=True))
    assert splits.dropped.counts["isolation"] > 0


def test_entities_are_told_by_all_their_keys() -> None:
    data = rows(400, hcp_id=["a_b", "a"] * 200, brand_id=["c", "b_c"] * 200)
    with pytest.raises(fs.SplitError, match="entity may stay in one split"):
        split(data, TemporalSplit(isolate_entities=True), entity_keys=["hcp_id", "brand_id"])


def test_isolation_needs_to_know_the_entities() -> None:
    with pytest.raises(fs.RequestError, match="entity_keys"):
        split(rows(), TemporalSplit(isolate_entities=True), entity_keys=(), features=["calls"])
    keys: list[Any] = [f"h{i % 8}" for i in range(200)]
    keys[5] = None
    with pytest.raises(fs.InvalidEntityFrameError, match="'hcp_id', row 5"):
        split(rows(hcp_id=keys), TemporalSplit(isolate_entities=True))
    assert split(rows(hcp_id=keys)).train.row_count > 0  # without isolation nobody asks


# ---- the holdout --------------------------------------------------------------------------------------------


def test_the_holdout_is_locked_until_it_is_asked_for_by_name(clock: FakeClock) -> None:
    splits = split(rows(), clock=clock)
    with pytest.raises(fs.HoldoutLockedError, match=r'splits.unlock\("holdout"\)'):
        _ = splits.holdout
    assert splits.unlocked_at is None
    assert "locked" in repr(splits)
    with pytest.raises(fs.RequestError, match="holdout"):
        splits.unlock("test")
    held = splits.unlock("holdout")
    assert splits.unlocked_at == clock.now()
    clock.advance(timedelta(seconds=60))
    assert splits.unlock("holdout") is held is splits.holdout
    assert splits.unlocked_at == clock.now() - timedelta(seconds=60)  # when it was first opened
    assert "locked" not in repr(splits)


def test_iterating_gives_the_open_splits_and_never_the_holdout() -> None:
    splits = split(rows())
    assert [s.name for s in splits] == ["train", "validation", "test"]
    splits.unlock("holdout")
    assert [s.name for s in splits] == ["train", "validation", "test"]


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_the_locked_holdout_is_in_no_attribute_and_no_pickle(kind: Any) -> None:
    data = kind(rows(calls=[f"a value too long to be kept in a view {i}." for i in range(200)]))
    splits = split(data)
    assert b"kept in a view 0." in pickle.dumps(splits)  # so that looking for the last one means something
    last = b"kept in a view 199."
    assert last not in pickle.dumps(splits)
    assert all(last not in pickle.dumps(s) for s in splits)
    assert "in a view 199." not in repr({n: repr(v) for n, v in vars(splits).items()})
    again = pickle.loads(pickle.dumps(splits))
    assert again.train.rows == splits.train.rows
    assert again.boundaries == splits.boundaries
    with pytest.raises(fs.HoldoutLockedError):
        _ = again.holdout
    with pytest.raises(fs.HoldoutLockedError, match="pickled while"):
        again.unlock("holdout")
    assert copy.deepcopy(splits).unlock("holdout").row_count > 0
    splits.unlock("holdout")
    assert pickle.loads(pickle.dumps(splits)).holdout.rows == splits.holdout.rows


def test_keys_and_times_of_every_split_can_be_audited_without_unlocking() -> None:
    splits = split(rows())
    told = splits.keys_and_times("holdout")
    assert told.column_names == ["hcp_id", "event_timestamp"]
    assert len(told) == splits.boundaries["holdout"].row_count
    assert splits.unlocked_at is None
    with pytest.raises(fs.RequestError, match="'test'"):
        splits.keys_and_times("tset")


# ---- what is odd, and what is wrong -------------------------------------------------------------------------


def test_one_class_only_is_noted_and_not_refused() -> None:
    splits = split(rows(sold=[1] * 200))
    assert [n.partition(":")[0] for n in splits.notes] == ["train", "validation", "test"]  # never a word on the holdout
    assert not split(rows()).notes


def test_repeated_rows_are_kept_in_one_split_and_noted() -> None:
    twice = {name: [v for v in values for _ in (0, 1)] for name, values in rows().items()}
    splits = split(twice)
    assert splits.boundaries["train"].row_count == 2 * split(rows()).boundaries["train"].row_count
    assert any("200 rows have the keys and the time of another row" in note for note in splits.notes)


def test_rows_without_a_target_are_an_error_or_dropped_and_counted() -> None:
    sold: list[Any] = [i % 2 for i in range(200)]
    sold[3] = sold[100] = None
    with pytest.raises(fs.SplitError, match="missing in 2 of 200 rows, first in row 3"):
        split(rows(sold=sold))
    splits = split(rows(sold=sold), missing_target="drop")
    assert splits.dropped.positions["missing_target"] == [3, 100]
    assert splits.train.y.null_count == 0
    with pytest.raises(fs.SplitError, match="missing in all 200 rows"):
        split(rows(sold=[None] * 200), missing_target="drop")
    with pytest.raises(fs.RequestError, match="'drop'"):
        split(rows(), missing_target="drp")
    nan = pa.table(rows()).set_column(3, "sold", pa.array([float("nan"), *[1.0, 2.0] * 99, 3.0]))
    with pytest.raises(fs.SplitError, match="first in row 0"):
        split(nan)


MISTAKES: list[tuple[str, Any, dict[str, Any], type[Exception], str]] = [
    ("an empty frame", {k: [] for k in rows()}, {}, fs.InvalidEntityFrameError, "no rows"),
    ("an unknown target", rows(), {"target": "solt"}, fs.RequestError, "Did you mean 'sold'"),
    ("an unknown feature", rows(), {"features": ["cals"]}, fs.RequestError, "Did you mean 'calls'"),
    ("an unknown key", rows(), {"entity_keys": ["hcp"]}, fs.RequestError, "'hcp_id'"),
    ("the target as a feature", rows(), {"features": ["calls", "sold"]}, fs.LabelRequestedError, "'sold'"),
    ("a feature twice", rows(), {"features": ["calls", "calls"]}, fs.RequestError, "twice"),
    ("no time column", {k: v for k, v in rows().items() if k != "event_timestamp"}, {}, fs.InvalidTimestampError, "timestamp_column="),
    ("a missing time", rows(event_timestamp=[None, *rows()["event_timestamp"][1:]]), {}, fs.InvalidTimestampError, "row 0"),
    ("no keys named", rows(), {"entity_keys": None}, fs.RequestError, "entity_keys"),
    ("no features left", {k: v for k, v in rows().items() if k != "calls"}, {}, fs.SplitError, "No features"),
    ("too few times", rows(event_timestamp=[START] * 200), {}, fs.SplitError, "1 distinct times"),
    ("too few rows", rows(30), {}, fs.SplitError, "too few"),
    ("an embargo that eats everything", rows(45), {}, fs.SplitError, "The embargo of 7 days leaves no room"),
    ("a copy of the target", rows(copied=[bool(i % 2) for i in range(200)]), {}, fs.LeakageError, "'copied' equals the target"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "more", "error", "told"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_named(data: Any, more: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        split(data, **more)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ratios": (0.5, 0.5, 0.5, 0.5)}, "sum to 2"),
        ({"ratios": (0.7, 0.4, -0.2, 0.1)}, "above 0"),
        ({"ratios": (0.6, 0.2, 0.2, 0.0)}, "above 0"),
        ({"ratios": (0.6, 0.2, 0.2)}, "give four"),
        ({"ratios": (float("nan"), 0.2, 0.2, 0.1)}, "above 0"),
        ({"embargo": -DAY}, "embargo"),
        ({"embargo": 7}, "embargo"),
        ({"tolerance": 0}, "tolerance"),
        ({"minimum_rows": 0}, "minimum_rows"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(fs.SplitError, match=told):
        TemporalSplit(**given)


def test_an_error_says_the_nearest_that_can_be_had_and_that_can_be_had() -> None:
    times = [START + (i % 5) * 30 * DAY for i in range(200)]
    with pytest.raises(fs.SplitError, match="The nearest found") as caught:
        split(rows(event_timestamp=times))
    told = str(caught.value)
    tolerance = float(told.split("Pass tolerance=")[1].split(",")[0])
    splits = split(rows(event_timestamp=times), TemporalSplit(tolerance=tolerance))
    assert f"train {splits.train.row_count} rows" in told


def test_the_embargo_that_an_error_offers_can_be_had() -> None:
    with pytest.raises(fs.SplitError) as caught:
        split(rows(50), TemporalSplit(embargo=32 * DAY, tolerance=0.1))
    days = int(str(caught.value).split("An embargo of ")[1].split(" day")[0])
    assert split(rows(50), TemporalSplit(embargo=days * DAY, tolerance=0.1)).train.row_count


def test_times_of_mixed_zones_are_the_instants_they_are() -> None:
    zones = [UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-7))]
    utc = [t.replace(tzinfo=UTC) for t in rows()["event_timestamp"]]
    mixed = [t.astimezone(zones[i % 3]) for i, t in enumerate(utc)]
    assert split(rows(event_timestamp=mixed)).train.rows == split(rows()).train.rows


def test_times_in_the_future_are_times_like_any_other(clock: FakeClock) -> None:
    times = [datetime(2999, 1, 1) + i * DAY for i in range(200)]
    assert split(rows(event_timestamp=times), clock=clock).train.rows == split(rows()).train.rows


def test_splits_of_a_frame_that_no_store_made_have_no_receipt() -> None:
    with pytest.raises(fs.RequestError, match="no store made"):
        _ = split(rows()).receipt


def test_a_one_class_feature_that_equals_a_one_class_target_is_no_leak() -> None:
    assert split(rows(sold=[0] * 200, calls=[0] * 200)).train.row_count
