"""The generator of worlds is worth what it reaches: each hard case is counted, and wrong oracles are caught."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from e2i_fs.testing import oracle, strategies
from e2i_fs.testing.compare import same_value
from e2i_fs.testing.hazards import HAZARDS, hazards
from e2i_fs.testing.worlds import Row, World, make_world

SEEDS = range(400)


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [make_world(seed) for seed in SEEDS]


def test_every_hard_case_is_met_by_many_worlds(worlds: list[World]) -> None:
    """P-1 to P-8, T-3: at least one world in forty meets each case, most far more."""
    met: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for world in worlds:
        counts = hazards(world)
        rows.update(counts)
        met.update(case for case, count in counts.items() if count)
    total = sum(len(world.times) * len(world.views) for world in worlds)
    for case in HAZARDS:
        print(f"{case:38} {met[case] / len(worlds):6.1%} of worlds {rows[case] / total:6.2%} of entity rows")
    rare = {case: met[case] for case in HAZARDS if met[case] < len(worlds) / 40}
    assert not rare


def test_every_hard_case_is_met_by_hypothesis_too() -> None:
    """P-1 to P-8, T-3: the worlds that the kit searches in, as Hypothesis draws them, meet each case as well."""
    drawn: list[World] = []

    @settings(
        max_examples=400, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @seed(0)
    @given(strategies.worlds())
    def draw(world: World) -> None:
        drawn.append(world)

    draw()
    met = Counter(case for world in drawn for case, count in hazards(world).items() if count)
    for case in HAZARDS:
        print(f"{case:38} {met[case] / len(drawn):6.1%} of drawn worlds")
    rare = {case: met[case] for case in HAZARDS if met[case] < len(drawn) / 100}
    assert not rare


def test_one_seed_is_one_world() -> None:
    """T-4: the generator itself depends on nothing but its seed."""
    assert repr(make_world(11)) == repr(make_world(11))
    assert repr(make_world(11)) != repr(make_world(12))


def _strict_event(row: Row, t, filter_by_created, as_of):  # event_ts < t
    return row.event is not None and row.event != t and REAL_VISIBLE(row, t, filter_by_created, as_of)


def _unknown_is_known(row: Row, t, filter_by_created, as_of):
    return REAL_VISIBLE(
        row if row.created or row.event is None else row._replace(created=row.event), t, filter_by_created, as_of
    )


def _created_before_t(row: Row, t, filter_by_created, as_of):
    return REAL_VISIBLE(row, t, filter_by_created, as_of) and not (filter_by_created and row.created == t)


def _created_before_as_of(row: Row, t, filter_by_created, as_of):
    return REAL_VISIBLE(row, t, filter_by_created, as_of) and not (as_of and row.created == as_of)


def _always_filters(row: Row, t, filter_by_created, as_of):
    return REAL_VISIBLE(row, t, filter_by_created or row.created is not None, as_of)


def _leaks_one_microsecond(row: Row, t, filter_by_created, as_of):
    return REAL_VISIBLE(row, t + timedelta(microseconds=1), filter_by_created, as_of)


def _as_of_cuts_events(row: Row, t, filter_by_created, as_of):
    return REAL_VISIBLE(row, min(t, as_of) if as_of else t, filter_by_created, as_of)


REAL_ANSWER, REAL_VISIBLE, REAL_RANK, REAL_ORDER, REAL_KEY = (
    oracle.answer,
    oracle._visible,
    oracle._rank,
    oracle.natural_order,
    oracle.exact_key,
)


def _rank_without_created(row: Row, types):
    event, _, values = REAL_RANK(row, types)
    return (event, values)


def _rank_without_values(row: Row, types):
    return REAL_RANK(row, types)[:2]


def _rank_created_missing_high(row: Row, types):
    event, created, values = REAL_RANK(row, types)
    return (event, (2,) if created == (0,) else created, values)


def _created_before_event(rows, t, types, *, filter_by_created=False, as_of=None, **more):
    visible = [row for row in rows if REAL_VISIBLE(row, t, filter_by_created, as_of)]
    newest = max(visible, key=lambda row: (row.created is not None, row.created or t), default=None)
    chosen = [] if newest is None else [newest]
    return REAL_ANSWER(chosen, t, types, filter_by_created=filter_by_created, as_of=as_of, **more)


def _order_missing_high(value, dtype):
    return (9,) if value is None else REAL_ORDER(value, dtype)


def _order_nan_low(value, dtype):
    return (0, 0) if isinstance(value, float) and math.isnan(value) else REAL_ORDER(value, dtype)


def _order_one_zero(value, dtype):
    return (1, 0.0, 1.0) if isinstance(value, float) and value == 0 else REAL_ORDER(value, dtype)


def _joined_key(key, types):
    exact = REAL_KEY(key, types)
    return None if exact is None else "".join(map(str, exact))


def _missing_key_matches(key, types):
    return tuple(key)


MUTANTS = {
    "_visible": [_strict_event, _unknown_is_known, _created_before_t, _created_before_as_of, _always_filters,
                 _leaks_one_microsecond, _as_of_cuts_events],
    "_rank": [_rank_without_created, _rank_without_values, _rank_created_missing_high],
    "natural_order": [_order_missing_high, _order_nan_low, _order_one_zero],
    "answer": [_created_before_event],
    "exact_key": [_joined_key, _missing_key_matches],
}  # fmt: skip


@pytest.mark.parametrize(("part", "mutant"), [(p, m) for p, ms in MUTANTS.items() for m in ms])
def test_a_wrong_oracle_is_told_from_the_right_one_within_200_worlds(worlds, part, mutant, monkeypatch) -> None:
    """P-1 to P-8: each rule broken alone changes some answer, so a backend that broke it would be caught."""
    right = [_answers(world) for world in worlds[:200]]
    monkeypatch.setattr(oracle, part, mutant)
    caught = sum(_differ(world, _answers(world), answers) for world, answers in zip(worlds[:200], right, strict=True))
    print(f"{mutant.__name__}: caught by {caught} of 200 worlds")
    assert caught >= 2


def test_a_ttl_of_another_microsecond_is_told(worlds: list[World]) -> None:
    """P-2: an edge that is one microsecond off, either way, changes some answer."""
    for off in (timedelta(microseconds=1), -timedelta(microseconds=1)):
        caught = 0
        for world in worlds[:200]:
            for view in world.views:
                request = next(world.requests())
                if view.ttl is not None and view.ttl + off > timedelta(0):
                    wrong = oracle.historical(
                        oracle.by_key(view.rows, view.key_types),
                        [(world._key(view, k), t) for k, t in zip(world.entity_keys, world.times, strict=True)],
                        view.key_types, view.types, ttl=view.ttl + off,
                    )  # fmt: skip
                    caught += [a.statuses for a in wrong] != [a.statuses for a in world.expected(view, request)]
        assert caught >= 10


def _answers(world: World):
    return [(view, world.expected(view, request)) for request in world.requests() for n, view in enumerate(world.views)
            if any(number == n for number, _ in request.asked)]  # fmt: skip


def _differ(world: World, got, right) -> bool:
    for (view, some), (_, others) in zip(got, right, strict=True):
        for a, b in zip(some, others, strict=True):
            if a.statuses != b.statuses:
                return True
            if not all(same_value(x, y, t) for x, y, t in zip(a.values, b.values, view.types, strict=True)):
                return True
    return False
