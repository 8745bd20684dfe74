"""What an HCP thinks of a brand day by day, which decisions to prescribe follow, and what follows from those.

This is the signal: features report ``inclination`` with noise, and a conversion depends on it. A conversion then
lifts prescriptions, so rows from after an outcome tell the outcome: a join that lets them in will look too good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .draws import DAY, Days, Floats, Ints, draws, sigmoid, wander
from .world import World

__all__ = ["BLOCK", "OUTCOME_DAYS", "Affinity", "affinity"]

BLOCK = 1000
"""Pairs that are made at a time, so that memory does not grow with the scale."""
OUTCOME_DAYS = 28
"""An outcome is what happens within so many days."""


@dataclass(frozen=True, slots=True)
class Affinity:
    """The pairs ``first .. first + n`` of the world; matrices are of shape ``(n, days)``, decisions 1-d."""

    first: int
    inclination: Floats
    lift: Floats
    decision_pair: Ints
    decision_at_us: Ints
    """When the question is asked: microseconds."""
    converted: NDArray[np.bool_]


def affinity(seed: int, world: World, days: Days, block: int) -> Affinity:
    """Return one block of pairs; the last block may be smaller."""
    random = draws(seed, "affinity", block)
    first = block * BLOCK
    pairs = slice(first, first + BLOCK)
    lasting = world.affinity[pairs]
    n = len(lasting)
    inclination = lasting[:, None] + wander(random, n, days.count, 0.3)

    # One question about each pair each 30 days, at any time of day, whose outcome is known by the end.
    per_pair = max(1, (days.count - OUTCOME_DAYS - 30) // 30)
    slot = np.tile(np.arange(per_pair), n)
    pair = np.repeat(np.arange(n), per_pair)
    day = 30 + slot * 30 + random.integers(0, 30, size=n * per_pair)
    second = random.integers(0, DAY * 1_000_000, size=n * per_pair)
    at_us = (days.start + day * DAY) * 1_000_000 + second

    digital = world.digital[world.pair_hcp[pairs]][pair]
    before = np.maximum(day - 1, 0)
    momentum = inclination[pair, before] - inclination[pair, np.maximum(before - 28, 0)]
    logit = -1.5 + 1.25 * inclination[pair, before] + 0.45 * digital + 0.6 * momentum
    converted = random.random(n * per_pair) < sigmoid(logit)

    lift = np.zeros((n, days.count))
    for p, d in zip(pair[converted], day[converted], strict=True):
        lift[p, d + 5 : d + 60] = 0.8
    return Affinity(first, inclination, lift, pair + first, at_us, converted)
