"""A catalogue of leaks, each planted in an honest frame by the slip that makes it, and found under its right name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from e2i_fs.quality import LeakKind, Outcome, audit, audit_splits
from tests.leakage_world import FEATURES, HORIZON, KEYS, LABEL, World

K = LeakKind
BY = list(KEYS)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def store(world: World, tmp_path_factory: pytest.TempPathFactory):
    with world.store(tmp_path_factory.mktemp("catalogue")) as opened:
        yield opened


@dataclass
class Planted:
    """One slip: the frame it makes, what is found and where, how many cells if that is known, and what else may be said."""

    frame: Any
    kind: LeakKind
    feature: str | None
    cells: int | None = None
    also: tuple[LeakKind, ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)
    world: World | None = None


CATALOGUE: dict[str, Callable[[World], Planted]] = {}


def leak(make: Callable[[World], Planted]) -> Callable[[World], Planted]:
    CATALOGUE[make.__name__] = make
    return make


def test_the_catalogue_is_large_enough() -> None:
    assert len(CATALOGUE) + len(SPLITS) >= 25


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.rule("P-1", "P-2", "P-3", "P-4", "P-5", "P-7", "P-10", "P-12")
def test_a_planted_leak_is_found_under_its_name(name: str, world: World, store, tmp_path: Path) -> None:
    planted = CATALOGUE[name](world)
    asked = {"features": FEATURES, "target": "converted", **planted.asked}
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(planted.world.store(tmp_path)) if planted.world else store
        report = audit(planted.frame, own, asked.pop("features"), **asked)
    of_kind = [f for f in report.findings if f.kind is planted.kind and f.feature == planted.feature]
    assert of_kind, f"{name}: {report}"
    if planted.cells is not None:
        assert of_kind[0].cells == planted.cells
    assert {f.kind for f in report.findings} <= {planted.kind, *planted.also}, f"{name}: {report}"
    assert not report.clean
    assert not [c for c in report.checks if c.outcome is Outcome.ERROR]


@pytest.mark.rule("P-1", "P-6")
def test_the_frame_that_the_leaks_are_planted_in_is_clean(world: World, store) -> None:
    for frame in (world.frame(), world.arrow()):
        report = audit(
            frame.drop(columns="amount") if isinstance(frame, pd.DataFrame) else frame.drop_columns(["amount"]),
            store, FEATURES, target="converted", labels=[LABEL], label_timestamp_column="label_at",
        )  # fmt: skip
        assert report.clean, report
        assert report.cells == 4 * len(world.asked)


# ---- cells ------------------------------------------------------------------------------------------------


def _source(world: World, row: int, later: bool) -> Any:
    """The first source row of the entity row's key after (or the last before) its time."""
    key, t = world.asked[row]
    own = sorted((r for r in world.rows if r.key == key), key=lambda r: r.event)
    found = [r for r in own if r.event > t] if later else [r for r in own if r.event <= t][::-1]
    return next((r for r in found if r.values[0] is not None), None)


def _frame(world: World) -> pd.DataFrame:
    return world.frame().drop(columns=["amount", "label_at"])


def _plant_cells(world: World, values: dict[int, Any], column: str = "trx") -> pd.DataFrame:
    frame = _frame(world)
    for row, value in values.items():
        frame.loc[row, column] = value
    return frame


@leak
def one_future_row_in_one_cell(world: World) -> Planted:
    row = next(r for r in range(100, 400) if _source(world, r, later=True))
    return Planted(
        _plant_cells(world, {row: _source(world, row, later=True).values[0]}), K.FUTURE_VALUE, "visits:trx", 1
    )


@leak
def the_next_row_in_a_tenth_of_the_rows(world: World) -> Planted:
    rows = [r for r in range(0, len(world.asked), 10) if _source(world, r, later=True)]
    values = {r: _source(world, r, later=True).values[0] for r in rows}
    return Planted(_plant_cells(world, values), K.FUTURE_VALUE, "visits:trx", len(rows))


@leak
def a_late_row(world: World) -> Planted:
    """Event before, known after: the join by event time that every tutorial shows."""
    answers = world.answered(filter_by_created=False)
    differ = sum(a.values[0] != b.values[0] for a, b in zip(answers, world.answers))
    frame = world.frame(answers).drop(columns=["amount", "label_at"])
    return Planted(frame, K.LATE_VALUE, "visits:trx", differ, asked={"filter_by_created_timestamp": True})


@leak
def a_backfilled_row(world: World) -> Planted:
    """One source row reported three weeks after its event, used as if it had been known."""
    own = World(seed=3)
    key, t = own.asked[200]
    row = next(
        i for i, r in enumerate(own.rows) if r.event == max(q.event for q in own.rows if q.key == key and q.event <= t)
    )
    own.rows[row] = own.rows[row]._replace(created=t + timedelta(days=21), values=(4_321, *own.rows[row].values[1:]))
    own.answers = own.answered()
    frame = own.frame()
    frame.loc[200, "trx"] = 4_321
    return Planted(frame.drop(columns=["amount", "label_at"]), K.BACKFILLED_ROW, "visits:trx", 1, world=own)


@leak
def the_ttl_ignored(world: World) -> Planted:
    answers = world.answered(ttl=None)
    expired = sum(
        b.statuses[0] == "OUTSIDE_MAX_AGE" and a.values[0] is not None for a, b in zip(answers, world.answers)
    )
    return Planted(world.frame(answers).drop(columns=["amount", "label_at"]), K.EXPIRED_VALUE, "visits:trx", expired)


@leak
def a_merge_without_time(world: World) -> Planted:
    """Each key's last row, joined to all of its entity rows."""
    last = world.history().drop_duplicates(BY, keep="last")[[*BY, *["trx", "engagement", "tier", "active"]]]
    frame = _frame(world)[[*BY, "event_timestamp", "converted"]].merge(last, on=BY)
    return Planted(
        frame,
        K.FUTURE_VALUE,
        "visits:trx",
        also=(K.FILLED_VALUE, K.STALE_VALUE, K.EXPIRED_VALUE, K.LOST_VALUE, K.LATE_VALUE),
    )


@leak
def a_merge_that_fans_out(world: World) -> Planted:
    """The key is not unique in the history, so each entity row becomes as many as its key has."""
    columns = [*BY, *["trx", "engagement", "tier", "active"]]
    frame = _frame(world)[[*BY, "event_timestamp", "converted"]].head(40).merge(world.history()[columns], on=BY)
    rows = len(frame) - 40
    everything = (K.FUTURE_VALUE, K.STALE_VALUE, K.EXPIRED_VALUE, K.FILLED_VALUE, K.LOST_VALUE, K.LATE_VALUE)
    return Planted(frame, K.DUPLICATE_ROWS, None, rows, also=everything)


@leak
def an_off_by_one_time_zone(world: World) -> Planted:
    """The history's times were local time, read as UTC: each row sees one hour ahead."""
    answers = world.answered(timedelta(hours=9), filter_by_created=False)
    frame = world.frame(answers).drop(columns=["amount", "label_at"])
    return Planted(frame, K.TIME_SHIFT, "visits:trx", also=(K.TIME_SHIFT, K.LATE_VALUE, K.LOST_VALUE))


@leak
def a_join_by_date_to_the_end_of_the_day(world: World) -> Planted:
    day = timedelta(days=1)
    asked = world.asked
    world.asked = [
        (k, t.replace(hour=0, minute=0, second=0, microsecond=0) + day - timedelta(microseconds=1)) for k, t in asked
    ]
    try:
        answers = world.answered(filter_by_created=False)
    finally:
        world.asked = asked
    frame = world.frame(answers).drop(columns=["amount", "label_at"])
    # A boolean that the past holds too, where the row that answers says NULL, looks filled.
    also = (K.LATE_VALUE, K.LOST_VALUE, K.EXPIRED_VALUE, K.STALE_VALUE, K.FILLED_VALUE)
    return Planted(frame, K.FUTURE_VALUE, "visits:trx", also=also)


def _asof(world: World, **how: Any) -> pd.DataFrame:
    frame = _frame(world)[[*BY, "event_timestamp", "converted"]]
    history = world.history().drop(columns="known").rename(columns={"happened": "event_timestamp"})
    return pd.merge_asof(frame, history, on="event_timestamp", by=BY, **how)


@leak
def a_nearest_join(world: World) -> Planted:
    also = (K.LATE_VALUE, K.LOST_VALUE, K.EXPIRED_VALUE, K.STALE_VALUE, K.FILLED_VALUE)
    return Planted(_asof(world, direction="nearest"), K.FUTURE_VALUE, "visits:trx", also=also)


@leak
def a_forward_join(world: World) -> Planted:
    also = (K.LATE_VALUE, K.LOST_VALUE, K.STALE_VALUE, K.FILLED_VALUE)
    return Planted(_asof(world, direction="forward"), K.FUTURE_VALUE, "visits:trx", also=also)


@leak
def a_forward_fill_over_null(world: World) -> Planted:
    """The winner's value is missing, and an older row's was put in its place (P-5)."""
    history = world.history()
    history["trx"] = history.groupby(BY)["trx"].ffill()
    filled = world.rows
    by_event = {(r.hcp, r.brand, r.happened): r.trx for r in history.itertuples()}
    world.rows = [
        r._replace(values=(None if pd.isna(v := by_event[*r.key, pd.Timestamp(r.event)]) else int(v), *r.values[1:]))
        for r in filled
    ]
    try:
        answers = world.answered()
    finally:
        world.rows = filled
    count = sum(a.values[0] != b.values[0] for a, b in zip(answers, world.answers))
    return Planted(world.frame(answers).drop(columns=["amount", "label_at"]), K.FILLED_VALUE, "visits:trx", count)


@leak
def a_constant_in_place_of_missing(world: World) -> Planted:
    frame = _frame(world)
    count = int(frame["engagement"].isna().sum())
    frame["engagement"] = frame["engagement"].fillna(-1.0)
    return Planted(frame, K.FILLED_VALUE, "visits:engagement", count)


@leak
def a_boundary_that_leaves_out_equal_times(world: World) -> Planted:
    """Half of the entity rows ask exactly at an event, and the join takes only what was before."""
    own = World(seed=2, at_events=True, late=(0, 0), ttl=None)
    also = (K.LOST_VALUE, K.FILLED_VALUE)
    return Planted(_asof(own, allow_exact_matches=False), K.STALE_VALUE, "visits:trx", also=also, world=own)


@leak
def keys_written_together(world: World) -> Planted:
    """("1", "23") and ("12", "3") got each other's values."""
    own = World(seed=4, confusable=True, late=(0, 0), ttl=None)
    frame, history = _frame(own)[[*BY, "event_timestamp", "converted"]], own.history().drop(columns="known")
    for table in (frame, history):
        table["joined"] = table["hcp"] + table["brand"]
    history = history.rename(columns={"happened": "event_timestamp"}).drop(columns=BY)
    frame = pd.merge_asof(frame, history, on="event_timestamp", by="joined").drop(columns="joined")
    return Planted(
        frame,
        K.WRONG_ENTITY,
        "visits:trx",
        also=(K.LOST_VALUE, K.STALE_VALUE, K.FUTURE_VALUE, K.FILLED_VALUE),
        world=own,
    )


@leak
def values_joined_by_row_order(world: World) -> Planted:
    """The frame was sorted after its features were computed."""
    frame = _frame(world)
    honest = frame["engagement"].copy()
    frame["engagement"] = np.roll(frame["engagement"].to_numpy(), 1)
    wrong = int((frame["engagement"].notna() & (frame["engagement"] != honest)).sum())
    also = (K.LOST_VALUE, K.STALE_VALUE, K.FUTURE_VALUE)
    return Planted(frame, K.WRONG_ENTITY, "visits:engagement", None if wrong else 0, also=also)


@leak
def values_from_nowhere(world: World) -> Planted:
    rows = [r for r, a in enumerate(world.answers) if a.values[0] is not None][50:52]
    return Planted(_plant_cells(world, dict(zip(rows, (123_456_789, 987_654_321)))), K.UNEXPLAINED, "visits:trx", 2)


# ---- the target, in a column ------------------------------------------------------------------------------


def _with(world: World, name: str, values: Any) -> pd.DataFrame:
    frame = _frame(world)
    frame[name] = values
    return frame


@leak
def a_copy_as_bool(world: World) -> Planted:
    return Planted(_with(world, "copied", world.converted), K.TARGET_COPY, "copied", also=(K.LABEL_AS_FEATURE,))


@leak
def a_copy_as_text(world: World) -> Planted:
    return Planted(_with(world, "said", ["yes" if y else "no" for y in world.converted]), K.TARGET_COPY, "said")


@leak
def a_copy_as_category(world: World) -> Planted:
    words = pd.Categorical(["won" if y else "lost" for y in world.converted])
    return Planted(_with(world, "stage", words), K.TARGET_COPY, "stage")


@leak
def a_copy_as_finer_category(world: World) -> Planted:
    """Six outcomes, three of them successes: no single one is the target."""
    words = [f"{'won' if y else 'lost'}_{i % 3}" for i, y in enumerate(world.converted)]
    return Planted(_with(world, "stage", words), K.TARGET_COPY, "stage")


@leak
def a_negated_copy(world: World) -> Planted:
    return Planted(
        _with(world, "declined", [int(not y) for y in world.converted]),
        K.TARGET_COPY,
        "declined",
        also=(K.LABEL_AS_FEATURE,),
    )


@leak
def a_noisy_copy(world: World) -> Planted:
    rng = np.random.default_rng(3)
    flips = rng.random(len(world.converted)) < 0.015
    return Planted(_with(world, "flagged", np.array(world.converted) ^ flips), K.TARGET_COPY, "flagged")


@leak
def a_score_computed_from_the_target(world: World) -> Planted:
    rng = np.random.default_rng(4)
    score = np.array(world.converted) * 0.8 + rng.normal(0, 0.15, len(world.converted))
    return Planted(_with(world, "score", score), K.TARGET_COPY, "score")


@leak
def a_log_of_a_number_to_predict(world: World) -> Planted:
    frame = (
        _with(world, "log_amount", np.log1p(np.array(world.amount) + 10))
        .assign(revenue=world.amount)
        .drop(columns="converted")
    )
    return Planted(frame, K.TARGET_COPY, "log_amount", asked={"target": "revenue"}, also=(K.LABEL_AS_FEATURE,))


@leak
def a_number_to_predict_with_noise_and_turned(world: World) -> Planted:
    rng = np.random.default_rng(5)
    amount = np.array(world.amount)
    frame = _with(world, "owed", 100 - amount + rng.normal(0, 0.03 * amount.std(), len(amount))).assign(revenue=amount)
    return Planted(frame.drop(columns="converted"), K.TARGET_COPY, "owed", asked={"target": "revenue"})


@leak
def a_piece_of_a_one_hot_target(world: World) -> Planted:
    classes = ["gold", "silver", "bronze"]
    y = [classes[int(a) % 3] for a in world.amount]
    frame = _with(world, "is_gold", [int(v == "gold") for v in y]).assign(medal=y).drop(columns="converted")
    return Planted(frame, K.TARGET_COPY, "is_gold", asked={"target": "medal"})


@leak
def missing_where_the_target_is_false(world: World) -> Planted:
    rng = np.random.default_rng(6)
    reason = [rng.choice(["price", "need", "trust"]) if y else None for y in world.converted]
    return Planted(_with(world, "reason_won", reason), K.TARGET_IN_MISSINGNESS, "reason_won")


@leak
def an_id_whose_prefix_is_the_outcome(world: World) -> Planted:
    ids = [f"{'W' if y else 'L'}-{i:05d}" for i, y in enumerate(world.converted)]
    return Planted(_with(world, "order_id", ids), K.TARGET_IN_KEY, "order_id")


@leak
def an_id_given_in_the_order_of_the_outcome(world: World) -> Planted:
    order = np.argsort(np.argsort(np.array(world.converted), kind="stable"), kind="stable")
    return Planted(_with(world, "case", [f"case-{n:05d}" for n in order]), K.TARGET_IN_KEY, "case")


@leak
def a_target_encoding_over_the_whole(world: World) -> Planted:
    frame = _frame(world)
    frame["hcp_rate"] = frame.groupby("hcp")["converted"].transform("mean")
    return Planted(frame, K.TARGET_IN_ENCODING, "hcp_rate")


@leak
def a_target_encoding_that_leaves_the_row_out(world: World) -> Planted:
    frame = _frame(world)
    y, by = frame["converted"].astype(int), frame.groupby("brand")["converted"]
    frame["brand_rate"] = (by.transform("sum") - y) / (by.transform("count") - 1)
    return Planted(frame, K.TARGET_IN_ENCODING, "brand_rate", also=(K.TARGET_COPY,))


@leak
def a_centred_rolling_mean(world: World) -> Planted:
    frame = _frame(world).assign(sales=world.amount).drop(columns="converted")
    frame["smooth"] = frame.groupby(BY)["sales"].transform(lambda s: s.rolling(3, center=True).mean())
    return Planted(frame, K.TARGET_IN_WINDOW, "smooth", asked={"target": "sales"})


@leak
def a_rolling_mean_in_the_order_of_the_file(world: World) -> Planted:
    frame = _frame(world).sample(frac=1, random_state=5).reset_index(drop=True)
    frame["smooth"] = frame["converted"].astype(float).rolling(3, min_periods=1).mean()
    return Planted(frame, K.TARGET_IN_WINDOW, "smooth")


@leak
def a_running_count_with_the_present_label(world: World) -> Planted:
    frame = _frame(world)
    frame["wins_so_far"] = frame.groupby(BY)["converted"].cumsum()
    return Planted(frame, K.TARGET_IN_WINDOW, "wins_so_far")


# ---- labels -----------------------------------------------------------------------------------------------


@leak
def a_label_through_a_wildcard(world: World) -> Planted:
    """`SELECT *` of the view brought the outcomes along."""
    frame = world.frame().drop(columns=["label_at"])
    return Planted(frame, K.LABEL_AS_FEATURE, "amount", asked={"features": ["visits:*"]})


@leak
def a_label_through_a_service(world: World) -> Planted:
    asked = {"features": "careless", "target": None}
    return Planted(
        _frame(world),
        K.LABEL_AS_FEATURE,
        LABEL,
        asked=asked,
        also=(K.LABEL_AS_FEATURE, K.LOST_VALUE, K.UNEXPLAINED, K.FUTURE_VALUE, K.STALE_VALUE, K.FILLED_VALUE),
    )


@leak
def a_label_named_as_a_feature(world: World) -> Planted:
    asked = {"features": ["visits:trx", LABEL], "target": None}
    return Planted(_frame(world), K.LABEL_AS_FEATURE, LABEL, asked=asked)


@leak
def a_renamed_copy_of_a_label(world: World) -> Planted:
    """Each key's last amount, which only the end of the world knows."""
    last = {key: a for (key, _), a in zip(world.asked, world.amount)}
    frame = _with(world, "typical_spend", [last[key] for key, _ in world.asked])
    return Planted(frame, K.LABEL_AS_FEATURE, "typical_spend")


@leak
def a_shuffled_label(world: World) -> Planted:
    frame = world.frame().drop(columns="amount")
    rng = np.random.default_rng(8)
    frame["converted"] = rng.permutation(frame["converted"].to_numpy())
    return Planted(
        frame, K.SHUFFLED_LABEL, "converted", asked={"labels": [LABEL], "label_timestamp_column": "label_at"}
    )


@leak
def features_after_the_label(world: World) -> Planted:
    frame = _frame(world)
    frame["closed_at"] = frame["event_timestamp"] - pd.Timedelta(days=3)
    return Planted(frame, K.COMPUTED_AFTER_LABEL, None, len(frame), asked={"label_timestamp_column": "closed_at"})


# ---- what is fitted ---------------------------------------------------------------------------------------


def _split(frame: pd.DataFrame) -> list[str]:
    return ["train" if i < 0.7 * len(frame) else "test" for i in range(len(frame))]


def _fitted(world: World, column: str, values: Callable[[pd.Series], pd.Series], source: str = "engagement") -> Planted:
    frame = _frame(world)
    frame["split"] = _split(frame)
    frame[column] = values(frame[source] if source in frame else pd.Series(world.amount))
    return Planted(frame, K.FITTED_ON_TEST, column, asked={"splits": "split"})


@leak
def a_scale_fitted_on_all_rows(world: World) -> Planted:
    return _fitted(world, "age_scaled", lambda s: (s - s.mean()) / s.std(), "noise")


@leak
def a_range_fitted_on_all_rows(world: World) -> Planted:
    drift = pd.Series(np.linspace(0, 30, len(world.asked)))
    return _fitted(
        world,
        "age_ranged",
        lambda s: ((s + drift) - (s + drift).min()) / ((s + drift).max() - (s + drift).min()),
        "noise",
    )


@leak
def a_fill_fitted_on_all_rows(world: World) -> Planted:
    def fill(s: pd.Series) -> pd.Series:
        holes = s.where(np.arange(len(s)) % 6 > 0)
        return holes.fillna(holes.mean())

    return _fitted(world, "age_filled", fill, "noise")


def _quarters(frame: pd.DataFrame, names: str = "train validation test holdout") -> list[str]:
    return [names.split()[4 * i // len(frame)] for i in range(len(frame))]


@leak
def a_scale_fitted_on_all_but_the_holdout(world: World) -> Planted:
    split = np.array(_quarters(_frame(world)))
    seen = split != "holdout"
    planted = _fitted(world, "age_scaled", lambda s: (s - s[seen].mean()) / s[seen].std(), "noise")
    planted.frame["split"] = split
    return planted


@leak
def a_fill_fitted_on_what_is_not_trained_on(world: World) -> Planted:
    split = np.array(_quarters(_frame(world)))

    def fill(s: pd.Series) -> pd.Series:
        holes = s.where(np.arange(len(s)) % 6 > 0)
        return holes.fillna(holes[np.isin(split, ["validation", "test"])].mean())

    planted = _fitted(world, "age_filled", fill, "noise")
    planted.frame["split"] = split
    return planted


# ---- splits -----------------------------------------------------------------------------------------------


def _by_time(world: World, *, gap: timedelta = HORIZON) -> dict[str, pd.DataFrame]:
    frame = _frame(world)
    times = frame["event_timestamp"]
    first, second = times.quantile(0.6), times.quantile(0.8)
    return {
        "train": frame[times < first - gap],
        "validation": frame[(times >= first) & (times < second - gap)],
        "test": frame[times >= second],
    }


def _random(world: World) -> dict[str, pd.DataFrame]:
    frame = _frame(world).sample(frac=1, random_state=1)
    return {"train": frame.iloc[:200], "test": frame.iloc[200:]}


def _one_entity_in_both(world: World) -> dict[str, pd.DataFrame]:
    frame = _frame(world)
    names = sorted(frame["hcp"].unique())
    chosen = frame["hcp"].isin(names[:20])
    return {"train": frame[chosen], "test": frame[~chosen | (frame["hcp"] == names[0])]}


def _one_row_in_both(world: World) -> dict[str, pd.DataFrame]:
    parts = _by_time(world)
    return {**parts, "validation": pd.concat([parts["train"].tail(1), parts["validation"]])}


def _swapped(world: World) -> dict[str, pd.DataFrame]:
    parts = _by_time(world)
    return {"train": parts["test"], "validation": parts["validation"], "test": parts["train"]}


SPLITS: dict[str, tuple[Callable[[World], Any], set[LeakKind], dict[str, Any]]] = {
    "split_at_random": (_random, {K.ENTITY_OVERLAP, K.TIME_OVERLAP}, {}),
    "one_entity_in_train_and_test": (
        _one_entity_in_both,
        {K.ENTITY_OVERLAP, K.TIME_OVERLAP, K.ROW_IN_TWO_SPLITS},
        {"isolate_entities": True},
    ),
    "entities_shared_where_they_should_not_be": (_by_time, {K.ENTITY_OVERLAP}, {"isolate_entities": True}),
    "an_embargo_of_7_days_kept_for_2": (
        lambda w: _by_time(w, gap=timedelta(days=2)),
        {K.EMBARGO_BROKEN},
        {"embargo": HORIZON},
    ),
    "one_row_in_train_and_validation": (_one_row_in_both, {K.ROW_IN_TWO_SPLITS, K.TIME_OVERLAP, K.ENTITY_OVERLAP}, {}),
    "trained_on_what_comes_last": (_swapped, {K.TIME_OVERLAP}, {}),
}


@pytest.mark.parametrize("name", SPLITS)
def test_what_two_splits_share_is_found_under_its_name(name: str, world: World) -> None:
    make, kinds, asked = SPLITS[name]
    report = audit_splits(make(world), entity_keys=BY, **asked)
    found = {f.kind for f in report.findings}
    assert found == kinds, report
    assert report.outcome is Outcome.FAILED


def test_splits_by_time_with_their_gap_are_clean(world: World) -> None:
    report = audit_splits(_by_time(world), entity_keys=BY, embargo=HORIZON)
    assert report.clean, report
    assert {c.name for c in report.checks} == {"split rows", "split entities", "split times", "embargo"}
