"""Splits by time against every way of cutting there is: the same rows whatever their order, nothing lost, nothing leaked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.splits import TemporalSplit, TrainingSplits
from e2i_fs.splits.cuts import Instants, find_cuts
from e2i_fs.splits.training import NAMES

START = datetime(2024, 1, 1)
HOUR = timedelta(hours=1)


def examples(count: int) -> settings:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
    )


# Times that tie, come in bursts and leave holes, in hours: so that instants cannot be divided and gaps sit on edges.
hours = st.lists(st.integers(0, 24), min_size=10, max_size=40)
rules = st.builds(
    lambda weights, embargo, tolerance, minimum: TemporalSplit(
        ratios=tuple(w / sum(weights) for w in weights),
        embargo=embargo * HOUR,
        tolerance=tolerance,
        minimum_rows=minimum,
    ),
    st.tuples(*[st.integers(3, 12)] * 4),
    st.integers(0, 3),
    st.sampled_from([0.02, 0.05, 0.15, 0.3]),
    st.integers(1, 3),
)


def rows(times: Sequence[int], entities: Sequence[int] | None = None) -> pa.Table:
    n = len(times)
    return pa.table({
        "hcp_id": [f"hcp_{e}" for e in (entities or range(n))],
        "event_timestamp": [START + t * HOUR for t in times],
        "row": list(range(n)),
        "sold": [i % 2 for i in range(n)],
    })  # fmt: skip


def split(rule: TemporalSplit, table: pa.Table) -> TrainingSplits:
    splits = rule.split(table, target="sold", features=["row"], entity_keys=["hcp_id"])
    splits.unlock("holdout")
    return splits


def every(splits: TrainingSplits) -> dict[str, Any]:
    return {name: getattr(splits, name) for name in NAMES}


def best_off(rule: TemporalSplit, times: Sequence[int]) -> float | None:
    """The least deviation of any three cuts, tried one by one; None when no cuts give four splits large enough."""
    embargo = rule.embargo // HOUR
    distinct = sorted(set(times))
    offs = []
    for cuts in itertools.combinations(distinct[:-1], 3):
        sizes, begin = [], distinct[0]
        for cut in (*cuts, distinct[-1]):
            sizes.append(sum(begin <= t <= cut for t in times))
            begin = cut + embargo + 1  # hours are whole: the first one that is later by more than the embargo
        if all(n >= m for n, m in zip(sizes, [rule.minimum_rows] * 3 + [1], strict=True)):
            kept = sum(sizes)
            offs.append(max(abs(n / kept - r) for n, r in zip(sizes, rule.ratios, strict=True)))
    return min(offs, default=None)


@examples(80)
@example(times=list(range(24)) * 2, rule=TemporalSplit(embargo=HOUR, minimum_rows=1, tolerance=0.15))
@given(times=hours, rule=rules)
def test_rows_are_split_within_tolerance_exactly_when_some_cuts_do_it(times: list[int], rule: TemporalSplit) -> None:
    best = best_off(rule, times)
    if best is None or best > rule.tolerance:
        event("no cuts do it")
        with pytest.raises(fs.SplitError):
            split(rule, rows(times))
        return
    event("some cuts do it")
    splits = split(rule, rows(times))
    shares = [splits.boundaries[n].row_count for n in NAMES]
    off = max(abs(n / sum(shares) - r) for n, r in zip(shares, rule.ratios, strict=True))
    assert off <= rule.tolerance
    assert off <= best + 0.001 + 1e-12


@pytest.mark.parametrize("seed", range(12))
def test_among_eighty_instants_of_very_unequal_size_no_cuts_are_nearer(seed: int) -> None:
    import numpy as np

    draw = np.random.default_rng(seed)
    counts = draw.geometric(0.02 + 0.3 * draw.random(), 80) ** 2
    moments = np.cumsum(draw.integers(1, 6, 80))
    embargo = int(draw.integers(0, 12))
    ratios = (0.6, 0.2, 0.15, 0.05)
    upto = np.concatenate([[0], np.cumsum(counts)])
    resume = np.concatenate([[0], np.searchsorted(moments, moments + embargo, side="right")])
    a, b, c = np.meshgrid(*[np.arange(1, 80)] * 3, indexing="ij", sparse=True)
    sizes = [upto[a], upto[b] - upto[resume[a]], upto[c] - upto[resume[b]], upto[80] - upto[resume[c]]]
    kept = sum(sizes)
    fits = (sizes[0] > 0) & (sizes[1] > 0) & (sizes[2] > 0) & (sizes[3] > 0) & (kept > 0)
    off = np.max(
        [np.abs(np.broadcast_to(n / np.maximum(kept, 1), fits.shape) - r) for n, r in zip(sizes, ratios)], axis=0
    )
    best = off[fits].min()
    found = find_cuts(Instants(moments.tolist(), counts.tolist(), embargo), ratios, [1, 1, 1, 1], 0.02)
    assert found is not None
    if best <= 0.02:
        assert found.off <= best + 0.001 + 1e-12
    else:
        assert found.off > 0.02


@examples(60)
@given(times=hours, rule=rules)
def test_no_row_is_lost_no_instant_divided_and_every_gap_wider_than_the_embargo(
    times: list[int], rule: TemporalSplit
) -> None:
    best = best_off(rule, times)
    assume(best is not None and best <= rule.tolerance)
    splits = split(rule, rows(times))
    found = every(splits)
    dropped = splits.dropped.positions["embargo"]
    assert splits.dropped.total == len(dropped)
    assert sorted([*itertools.chain(*(s.rows for s in found.values())), *dropped]) == list(range(len(times)))
    spans = [(min(times[r] for r in s.rows), max(times[r] for r in s.rows)) for s in found.values()]
    for (_, last), (first, _) in itertools.pairwise(spans):
        assert (first - last) * HOUR > rule.embargo
    for row in dropped:  # and no row was dropped that the embargo did not ask for
        assert any(last < times[row] and (times[row] - last) * HOUR <= rule.embargo for _, last in spans[:-1])
    for s in found.values():
        assert s.row_count == len(s.rows) == len(s.X) == len(s.y) == len(s.entity_keys) == len(s.times)
        assert s.X.column("row").to_pylist() == s.rows
        assert s.y.to_pylist() == [r % 2 for r in s.rows]
        assert s.times.to_pylist() == [START + times[r] * HOUR for r in s.rows]
        assert s.entity_keys.column("hcp_id").to_pylist() == [f"hcp_{r}" for r in s.rows]


@examples(40)
@given(data=st.data(), times=hours, rule=rules, isolate=st.booleans())
def test_the_same_rows_in_another_order_give_the_same_splits(
    data: st.DataObject, times: list[int], rule: TemporalSplit, isolate: bool
) -> None:
    rule = TemporalSplit(rule.ratios, rule.embargo, isolate, 0.3, 1)
    table = rows(times, [t % 5 for t in range(len(times))])
    order = data.draw(st.permutations(range(len(times))))
    try:
        before = split(rule, table)
    except fs.SplitError:
        with pytest.raises(fs.SplitError):
            split(rule, table.take(order))
        return
    after = split(rule, table.take(order))
    for name in NAMES:
        assert sorted(order[r] for r in every(after)[name].rows) == every(before)[name].rows, name
    for why, positions in before.dropped.positions.items():
        assert sorted(order[r] for r in after.dropped.positions[why]) == positions


@examples(50)
@given(
    owned=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 11)), min_size=30, max_size=80),
    embargo=st.integers(0, 3),
)
def test_an_isolated_entity_lives_in_one_split_and_only_its_rows_elsewhere_are_dropped(
    owned: list[tuple[int, int]], embargo: int
) -> None:
    times, entities = [t for t, _ in owned], [e for _, e in owned]
    rule = TemporalSplit((0.4, 0.3, 0.2, 0.1), embargo * HOUR, True, 0.5, 1)
    try:
        splits = split(rule, rows(times, entities))
    except fs.SplitError:
        assume(False)
    found = every(splits)
    home: dict[int, set[str]] = {}
    for name, s in found.items():
        for r in s.rows:
            home.setdefault(entities[r], set()).add(name)
    assert all(len(names) == 1 for names in home.values())
    assert sorted([*itertools.chain(*(s.rows for s in found.values())),
                   *itertools.chain(*splits.dropped.positions.values())]) == list(range(len(times)))  # fmt: skip
    for row in splits.dropped.positions["isolation"]:
        (name,) = home[entities[row]]  # the entity is kept somewhere: it is not lost
        kept = [times[r] for r in found[name].rows]
        assert row not in found[name].rows
        assert times[row] not in kept, "a row of an entity's own split and instant was dropped"


@examples(20)
@given(times=st.lists(st.integers(0, 24), min_size=12, max_size=40), rule=rules)
def test_a_locked_holdout_is_in_nothing_that_can_be_pickled(times: list[int], rule: TemporalSplit) -> None:
    import pickle

    best = best_off(rule, times)
    assume(best is not None and best <= rule.tolerance)
    table = rows(times).append_column("secret", pa.array([f"secret-{i}-" for i in range(len(times))]))
    splits = rule.split(table, target="sold", features=["row", "secret"], entity_keys=["hcp_id"])
    told = pickle.dumps(splits) + b"".join(pickle.dumps(s) for s in splits) + repr(splits).encode()
    assert b"secret-0-" in told or 0 not in splits.train.rows
    held = splits.unlock("holdout").rows
    assert held
    for row in held:
        assert f"secret-{row}-".encode() not in told
