"""hcp_profiles: a snapshot of each HCP every four weeks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from .arrivals import Column, Text, arrive
from .draws import DAY, Days, Floats, Ints, draws, wander
from .world import SPECIALTIES, World

__all__ = ["hcp_profiles"]

_EVERY = 28
_PRACTICES = ("academic", "group", "hospital", "solo")
_TIERS = ("low", "medium", "high")


def hcp_profiles(seed: int, world: World, days: Days) -> pa.Table:
    """Return the snapshots as they arrived; one in twenty-five was never made."""
    random = draws(seed, "hcp_profiles")
    n = len(world.hcps)
    offset = random.permutation(n) % _EVERY  # some HCPs every day
    snapshots = (days.count - 1) // _EVERY + 1
    day = offset[:, None] + _EVERY * np.arange(snapshots)
    made = (day < days.count) & (random.random(day.shape) > 0.04)
    hcp, _ = np.nonzero(made)
    day = day[made]

    moved = np.where(random.random(n) < 0.15, random.integers(0, days.count, size=n), days.count)
    practice = random.integers(0, len(_PRACTICES), size=n)[hcp] + (day >= moved[hcp])
    drift = wander(random, n, days.count, 0.15)
    digital = world.digital[hcp] + drift[hcp, day] + random.normal(0, 0.2, size=len(day))
    volume = np.log(world.volume)[hcp] - np.log(9.0) + 0.2 * drift[hcp, day]
    began = random.integers(1, 40, size=n)
    columns: dict[str, Column | Text] = {
        "hcp_id": Text(hcp, world.hcps),
        "specialty": Text(world.specialty[hcp], SPECIALTIES, missing=0.01),
        "practice_type": Text(practice % len(_PRACTICES), _PRACTICES, missing=0.03, changes=True),
        "years_of_practice": Column(began[hcp] + day // 365, pa.int64(), missing=0.02),
        "patient_volume_tier": Text(_tier(volume * 2), _TIERS, missing=0.02, changes=True),
        "digital_engagement_tier": Text(_tier(digital), _TIERS, missing=0.04, changes=True),
        "prescribing_tier": Text(
            _tier(volume + 0.4 * random.normal(size=len(day))), _TIERS, missing=0.02, changes=True
        ),
    }
    evening = days.closes[day] - DAY // 12
    return arrive(random, evening, columns, days.until).table


def _tier(score: Floats) -> Ints:
    return np.digitize(score, [-0.45, 0.45]).astype(np.int64)
