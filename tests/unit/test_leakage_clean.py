"""Twenty honest training sets, of many kinds: an audit finds nothing in any of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import e2i_fs as fs
from e2i_fs.quality import Outcome, audit
from tests.leakage_world import FEATURES, HORIZON, KEYS, LABEL, World

BY = list(KEYS)
Made = tuple[World, Any, dict[str, Any]]
CLEAN: dict[str, Callable[[], Made]] = {}


def clean(make: Callable[[], Made]) -> Callable[[], Made]:
    CLEAN[make.__name__] = make
    return make


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_is_found_in_an_honest_training_set(name: str, tmp_path: Path) -> None:
    world, frame, asked = CLEAN[name]()
    asked = {"features": FEATURES, "target": "converted", **asked}
    unjudged = asked.pop("unjudged", False)
    with world.store(tmp_path) as store:
        report = audit(frame, store, asked.pop("features"), **asked)
    assert report.findings == (), f"{name}: {report}"
    assert not [c for c in report.checks if c.outcome is Outcome.ERROR], report
    assert report.outcome is (Outcome.INCONCLUSIVE if unjudged else Outcome.PASSED), report


def test_there_are_twenty_of_them() -> None:
    assert len(CLEAN) >= 20


def _frame(world: World, *, without: str = "amount") -> pd.DataFrame:
    return world.frame().drop(columns=[without, "label_at"])


@clean
def strong_but_honest_features() -> Made:
    """The target follows the features closely: the best of them alone ranks with an AUC of about 0.95."""
    world = World(seed=11, strength=6.0)
    return world, _frame(world), {}


@clean
def features_that_tell_nothing() -> Made:
    world = World(seed=12, strength=0.0)
    return world, _frame(world), {}


@clean
def a_rare_target() -> Made:
    world = World(seed=13, balance=-3.4)
    assert 8 <= sum(world.converted) < 0.12 * len(world.converted)
    return world, _frame(world), {}


@clean
def a_number_to_predict() -> Made:
    world = World(seed=14)
    return world, _frame(world, without="converted"), {"target": "amount"}


@clean
def a_number_with_a_strong_feature() -> Made:
    """R² of 0.9 by an honest feature that is not the store's."""
    world = World(seed=15)
    frame = _frame(world, without="converted")
    frame["estimate"] = frame["amount"] + np.random.default_rng(1).normal(0, 0.33 * frame["amount"].std(), len(frame))
    return world, frame, {"target": "amount"}


@clean
def many_categories() -> Made:
    world = World(seed=16)
    frame = _frame(world)
    frame["zip"] = [f"zip_{n}" for n in np.random.default_rng(2).integers(0, 200, len(frame))]
    frame["plan"] = pd.Categorical(np.random.default_rng(3).choice(list("abcdefghij"), len(frame)))
    return world, frame, {}


@clean
def many_missing_values() -> Made:
    world = World(seed=17, missing=0.5)
    return world, _frame(world), {}


@clean
def ties_in_event_time() -> Made:
    world = World(seed=18, ties=0.4)
    return world, _frame(world), {}


@clean
def a_tiny_set() -> Made:
    world = World(seed=19, keys=4, asked_each=3)
    return world, _frame(world), {"unjudged": True}


@clean
def a_small_set() -> Made:
    world = World(seed=20, keys=10, asked_each=4, strength=3.0)
    return world, _frame(world), {}


@clean
def exact_types_in_arrow() -> Made:
    world = World(seed=21)
    return world, world.arrow().drop_columns(["amount", "label_at"]), {}


@clean
def a_polars_frame() -> Made:
    pl = pytest.importorskip("polars", reason='needs polars: pip install "e2i-fs[polars]"')
    world = World(seed=22)
    frame = pl.from_arrow(world.arrow().drop_columns(["amount", "label_at"]))
    return world, frame.with_columns(pl.col("tier").cast(pl.Categorical)), {}


@clean
def what_pandas_makes_of_types() -> Made:
    """Whole numbers as float32 where they fit, truth as 0 and 1, categories, times in another zone."""
    world = World(seed=23)
    frame = _frame(world)
    frame["trx"] = frame["trx"].astype("float32")
    frame["active"] = frame["active"].astype("float64")
    frame["tier"] = frame["tier"].astype("category")
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_convert("Asia/Kolkata")
    return world, frame, {}


@clean
def no_limit_of_age_and_known_at_once() -> Made:
    world = World(seed=24, ttl=None, late=(0, 0), at_events=True)
    return world, _frame(world), {}


@clean
def the_label_beside_its_features() -> Made:
    world = World(seed=25)
    asked = {"labels": [LABEL], "label_timestamp_column": "label_at"}
    return world, world.frame().drop(columns="amount"), asked


@clean
def a_label_whose_time_nobody_says() -> Made:
    """Taken seven days after each row, every one: a horizon, not a shuffle."""
    world = World(seed=26)
    return world, _frame(world), {"labels": [LABEL]}


@clean
def splits_by_time_with_a_gap() -> Made:
    world = World(seed=27)
    frame = _frame(world)
    times = frame["event_timestamp"]
    first, second = times.quantile(0.6), times.quantile(0.8)
    frame["split"] = None
    frame.loc[times < first - HORIZON, "split"] = "train"
    frame.loc[(times >= first) & (times < second - HORIZON), "split"] = "validation"
    frame.loc[times >= second, "split"] = "test"
    return world, frame, {"splits": "split", "embargo": HORIZON}


@clean
def scaled_and_filled_by_the_train_split() -> Made:
    """The same figures as a leak has, but of the training rows alone."""
    world = World(seed=28)
    frame = _frame(world)
    train = np.arange(len(frame)) < 0.7 * len(frame)
    noise = pd.Series(np.random.default_rng(5).gamma(2, 3, len(frame)))
    frame["spend"] = (noise - noise[train].mean()) / noise[train].std()
    holes = noise.where(np.arange(len(frame)) % 6 > 0)
    frame["visits"] = holes.fillna(holes[train].mean())
    rows = {"train": np.flatnonzero(train), "test": np.flatnonzero(~train)}
    return world, frame, {"splits": rows}


@clean
def counts_and_scales_of_four_splits() -> Made:
    """A scale of the train rows beside a holdout, and whole numbers whose commonest is the mean of some of them."""
    world = World(seed=34)
    frame = _frame(world)
    part = np.arange(len(frame)) * 4 // len(frame)
    rng = np.random.default_rng(8)
    noise = pd.Series(rng.gamma(2, 3, len(frame)))
    frame["spend"] = (noise - noise[part == 0].mean()) / noise[part == 0].std()
    calls = rng.integers(0, 40, len(frame))
    calls[rng.random(len(frame)) < 0.1] = 15
    others = np.flatnonzero((part == 1) & (calls != 15))
    off = int(calls[others].sum()) - 15 * len(others)
    for row in others:  # until the mean of the second split's others is 15 exactly
        step = int(np.clip(-off, -calls[row], 14 - calls[row] if calls[row] < 15 else 40))
        calls[row] += step
        off += step
    assert calls[others].mean() == 15
    frame["calls"] = calls
    frame["split"] = [("train", "validation", "test", "holdout")[n] for n in part]
    return world, frame, {"splits": "split"}


@clean
def means_of_labels_that_were_known() -> Made:
    """Rolling and expanding means of the target that end before the row, and an encoding by the rows before."""
    world = World(seed=29)
    frame = _frame(world)
    y = frame["converted"].astype(float)
    frame["last_three"] = y.groupby([frame[k] for k in BY]).transform(lambda s: s.shift(1).rolling(3).mean())
    frame["so_far"] = y.groupby(frame["hcp"]).transform(lambda s: s.shift(1).expanding().mean())
    return world, frame, {}


@clean
def one_key_with_ids_that_mean_nothing() -> Made:
    world = World(seed=30)
    frame = _frame(world)
    rng = np.random.default_rng(6)
    frame["visit_id"] = [f"v-{n:06d}" for n in rng.permutation(len(frame))]
    frame["row_number"] = rng.permutation(len(frame))
    return world, frame, {}


@clean
def several_classes() -> Made:
    world = World(seed=31)
    frame = _frame(world)
    score = frame["engagement"].fillna(0) + np.random.default_rng(7).normal(0, 0.5, len(frame))
    frame["medal"] = np.select([score > 0.7, score > -0.3], ["gold", "silver"], "bronze")
    return world, frame.drop(columns="converted"), {"target": "medal"}


@clean
def joined_by_merge_asof_on_the_time_of_knowing() -> Made:
    """What a careful notebook does; the history is such that later known is later happened."""
    world = World(seed=32, late=(2, 2))
    history = world.history().drop(columns="happened").rename(columns={"known": "event_timestamp"})
    frame = _frame(world)[[*BY, "event_timestamp", "converted"]]
    frame = pd.merge_asof(frame, history, on="event_timestamp", by=BY, tolerance=world.ttl - timedelta(hours=2))
    return world, frame, {}


def test_a_frame_that_the_store_made_is_clean_but_for_what_was_late(tmp_path: Path) -> None:
    """By default created time only breaks ties (P-3): the audit says so, and warns; asked for known values it is silent."""
    world = World(seed=33)
    asked = world.arrow().select([*BY, "event_timestamp"])
    with world.store(tmp_path, "duckdb") as store:
        default = store.get_historical_features(asked, FEATURES)
        known = store.get_historical_features(asked, FEATURES, filter_by_created_timestamp=True)
        report = audit(default, store, FEATURES)
        assert report.outcome is Outcome.WARNING
        assert {f.kind.value for f in report.findings} == {"LATE_VALUE"}
        assert audit(default, store, FEATURES, filter_by_created_timestamp=True).outcome is Outcome.FAILED
        assert audit(default, store, FEATURES, filter_by_created_timestamp=False).clean
        assert audit(known, store, FEATURES).clean
        assert isinstance(store, fs.FeatureStore)
