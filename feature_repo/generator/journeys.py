"""patient_journeys: each patient on therapy, a row a day with gaps, until some weeks after the patient has left."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from .arrivals import Column, Text, arrive
from .draws import DAY, Days, draws, sigmoid, wander
from .world import World

__all__ = ["BLOCK", "patient_journeys"]

BLOCK = 1000
"""Patients that are made at a time."""
_SEEN_AFTER_LEAVING = 21
_REFILL_EVERY = 30


def patient_journeys(seed: int, world: World, days: Days, block: int) -> pa.Table:
    """Return the rows of one block of patients as they arrived.

    Adherence falls in the eight weeks before a patient leaves; ``is_churned`` turns true on leaving.
    """
    random = draws(seed, "patient_journeys", block)
    patients = np.arange(block * BLOCK, min((block + 1) * BLOCK, len(world.patients)))
    n, count = len(patients), days.count
    starts = random.integers(-200, count - 40, size=n)
    stays = random.exponential(420 * np.exp(0.6 * world.persistence[patients])).astype(np.int64) + 30
    leaves = starts + stays

    grid = np.arange(count)
    on = (grid >= starts[:, None]) & (grid < (leaves + _SEEN_AFTER_LEAVING)[:, None])
    on &= random.random((n, count)) < 0.8
    begin, length = random.integers(0, count, size=n), random.integers(0, 40, size=n) * (random.random(n) < 0.3)
    on &= ~((grid >= begin[:, None]) & (grid < (begin + length)[:, None]))
    row, day = np.nonzero(on)

    walk = wander(random, n, count, 0.25)
    fading = np.clip((day - leaves[row] + 56) / 56, 0.0, 1.5)
    lean = 1.4 + 0.6 * world.persistence[patients][row] + walk[row, day] - 2.5 * fading
    adherence = sigmoid(lean + random.normal(0, 0.25, size=len(day)))
    therapy_day = day - starts[row]
    gap = np.maximum(0, (therapy_day % _REFILL_EVERY - 30 * adherence + 30 * fading)).astype(np.int64)
    columns: dict[str, Column | Text] = {
        "patient_id": Text(patients[row], world.patients),
        "brand_id": Text(world.patient_brand[patients][row], world.brands),
        "days_on_therapy": Column(therapy_day, pa.int64(), missing=0.005, changes=False),
        "therapy_start_date": Column(
            (days.start + starts[row] * DAY) * 1_000_000, pa.timestamp("us", "UTC"), missing=0.01, changes=False
        ),
        "adherence_rate": Column(adherence, pa.float32(), missing=0.04, high=1.0),
        "refill_count": Column((therapy_day * adherence / _REFILL_EVERY).astype(np.int64), pa.int64(), missing=0.01),
        "gap_days": Column(gap, pa.int64(), missing=0.01),
        "is_churned": Column(day >= leaves[row], pa.bool_(), missing=0.01),
        "churn_risk_score": Column(
            sigmoid(0.5 - 1.3 * lean + random.normal(0, 0.8, size=len(day))), pa.float32(), missing=0.04, high=1.0
        ),
    }
    return arrive(random, days.closes[day], columns, days.until).table
