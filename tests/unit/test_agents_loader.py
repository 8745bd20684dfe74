"""Training splits through the loader: aligned with their labels, audited, or refused with the reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pandas as pd
import pytest

import e2i_fs as fs
from e2i_fs.agents import FeatureRegistrar, SplitLoader
from e2i_fs.errors import (
    BackendUnavailableError,
    ConfigError,
    HoldoutLockedError,
    InvalidEntityFrameError,
    InvalidTimestampError,
    LabelRequestedError,
    LeakageError,
    RequestError,
    SplitError,
)
from e2i_fs.splits import TemporalSplit
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.faults import Faulty, fails
from tests import agents_world as world
from tests import kit


@pytest.fixture(scope="module")
def behind() -> tuple[fs.FeatureStore, Faulty, FakeClock]:
    clock = FakeClock(kit.NOW)
    store, faults = world.faulty_store(clock)
    FeatureRegistrar(store, world.spec(), clock=clock).register(world.frame())
    return store, faults, clock


def loader(behind: Any, features: Any = world.REFS, **more: Any) -> SplitLoader:
    store, _, clock = behind
    return SplitLoader(store, features, **{"target": "converted", "rule": world.RULE, "clock": clock, **more})


@pytest.mark.rule("P-6")
def test_splits_are_aligned_row_for_row_with_their_labels_whatever_order_the_rows_have_and_the_receipt_verifies(
    behind: Any,
) -> None:
    asked = world.entity_df().to_pandas().sample(frac=1, random_state=3).reset_index(drop=True)
    loaded = loader(behind).load(asked)
    truth = {(r["hcp_id"], r["event_timestamp"]): r for r in world.entity_df().to_pylist()}
    counts = {
        (r["hcp_id"], r["event_timestamp"] + timedelta(minutes=30)): r["trx_count"] for r in world.frame().to_pylist()
    }
    for split in loaded.splits:
        rows = split.to_arrow().to_pylist()
        assert len(rows) == len(split.X) == len(split.y) == len(split.rows)
        assert isinstance(split.X, pd.DataFrame)
        for row, place in zip(rows, split.rows, strict=True):
            key = row["hcp_id"], row["event_timestamp"]
            assert row["converted"] == truth[key]["converted"] == asked["converted"][place]
            assert row["trx_count"] == counts[key]
    assert loaded.audit.clean
    assert loaded.warnings == ()
    with pytest.raises(HoldoutLockedError):
        _ = loaded.splits.holdout
    assert behind[0].verify(loaded.receipt).identical
    assert loaded.baseline.training_samples == loaded.train.row_count
    assert loaded.baseline.numeric["trx_count"].mean == pytest.approx(
        loaded.train.to_arrow().to_pandas()["trx_count"].mean()
    )


@pytest.mark.rule("P-12")
def test_a_label_of_the_store_is_the_target_when_it_is_named_and_is_never_a_feature(behind: Any) -> None:
    asked = world.frame().select(["hcp_id", "brand_id", "event_timestamp"])
    loaded = loader(behind, [f"{world.VIEW}:*"], labels=[f"{world.VIEW}:converted"]).load(asked)
    assert list(loaded.train.feature_names) == ["trx_count", "market_share", "channel"]
    truth = {(r["hcp_id"], r["event_timestamp"]): r["converted"] for r in world.frame().to_pylist()}
    rows = loaded.test.to_arrow().to_pylist()
    assert [r["converted"] for r in rows] == [truth[r["hcp_id"], r["event_timestamp"]] for r in rows]
    with pytest.raises(LabelRequestedError):
        loader(behind, [f"{world.VIEW}:converted"]).load(world.entity_df(target=False))


def test_a_feature_of_the_future_is_refused_by_the_audit_unless_it_is_only_to_warn(
    behind: Any, clock: FakeClock
) -> None:
    """A view whose rows are dated a day early: they say what came of it before it did."""
    store = behind[0]
    rows = world.frame()
    hint = [int(v) * 10 + i % 3 for i, v in enumerate(rows.column("converted").to_pylist())]
    leaking = world.changed(rows, hint=hint, trx_count=None, market_share=None, channel=None, converted=None)
    named = world.spec(labels=[])
    FeatureRegistrar(store, fs.agents.FeatureSpec("hints", entities=named.entities), clock=clock).register(leaking)
    features = [*world.REFS, "hints:hint"]
    with pytest.raises(LeakageError, match="TARGET_COPY|target copy"):
        loader(behind, features).load(world.entity_df())
    loaded = loader(behind, features, leakage="warn").load(world.entity_df())
    assert any("'hint'" in warning for warning in loaded.warnings)
    assert not loaded.audit.clean


def _few(rows: Any) -> Any:
    return rows.slice(0, 20)


def _one_class(rows: Any) -> Any:
    return world.changed(rows, converted=True)


def _future(rows: Any) -> Any:
    frame = rows.to_pandas()
    frame.loc[5, "event_timestamp"] = pd.Timestamp(kit.NOW + timedelta(days=1)).as_unit("us")
    return frame


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda rows: rows.slice(0, 0), InvalidEntityFrameError, "no rows"),
        (_few, SplitError, "too few"),
        (_one_class, SplitError, "True in all .* training rows"),
        (_future, InvalidTimestampError, "row 5.*in the future"),
        (lambda rows: world.changed(rows, brand_id=None), InvalidEntityFrameError, "'brand_id'"),
        (lambda rows: world.changed(rows, converted=None), RequestError, "'converted'"),
        (
            lambda rows: world.changed(rows, converted=[None, *rows.column("converted").to_pylist()[1:]]),
            RequestError,
            "target",
        ),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused_with_the_reason(
    behind: Any, spoil: Any, error: Any, said: str
) -> None:
    with pytest.raises(error, match=said):
        loader(behind).load(spoil(world.entity_df()))


def test_a_target_that_equals_a_feature_is_refused(behind: Any) -> None:
    asked = world.entity_df(target=False).append_column("sold", world.frame().column("trx_count"))
    with pytest.raises(LeakageError, match="'trx_count' equals the target 'sold'"):
        loader(behind, target="sold").load(asked)


def test_a_store_that_is_away_raises_and_gives_no_empty_features(behind: Any) -> None:
    script = behind[1].put(fails())
    with pytest.raises(BackendUnavailableError):
        loader(behind).load(world.entity_df())
    behind[1].remove(script)


def test_a_misspelt_option_names_the_nearest(behind: Any) -> None:
    with pytest.raises(ConfigError, match="'block'"):
        loader(behind, leakage="blok")
    with pytest.raises(ConfigError, match="TemporalSplit"):
        loader(behind, rule=(0.6, 0.2, 0.2))


def test_loading_is_the_same_awaited(behind: Any) -> None:
    loaded = anyio.run(loader(behind, rule=TemporalSplit(embargo=timedelta(0))).aload, world.entity_df())
    assert loaded.train.row_count > 0
