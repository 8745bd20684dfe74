"""triggers: prompts sent to HCPs. One is told of up to three times: sent, answered or not, and what came of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from .arrivals import Column, Text, arrive
from .draws import DAY, Days, draws, sigmoid
from .world import World

__all__ = ["triggers"]

PER_HCP = 10
_TYPES = ("adherence_alert", "competitor_switch", "formulary_change", "new_indication", "sample_request")
_CHANNELS = ("call", "email", "portal", "visit")
_ANSWER_WITHIN = 14 * DAY
_OUTCOME_AFTER = 28 * DAY


def triggers(seed: int, world: World, days: Days) -> pa.Table:
    """Return the rows as they arrived. Outcomes are missing until they are known."""
    random = draws(seed, "triggers")
    n = PER_HCP * len(world.hcps)
    ids = tuple(f"trg_{i // 2 + 1}" + ("_1" if i % 2 else "") for i in range(n))
    pair = random.integers(0, len(world.pair_hcp), size=n)
    sent = days.start + random.integers(0, days.count * DAY, size=n)
    kind, channel = random.integers(0, len(_TYPES), size=n), random.integers(0, len(_CHANNELS), size=n)

    hcp = world.pair_hcp[pair]
    warm = world.affinity[pair] + 0.5 * world.digital[hcp] * np.isin(channel, (1, 2))
    responded = random.random(n) < sigmoid(-0.4 + 0.9 * warm + 0.5 * np.sin(2.1 * kind + channel))
    hours = np.minimum(random.lognormal(np.log(30.0), 1.0, size=n), _ANSWER_WITHIN / 3600 - 1)
    converted = responded & (random.random(n) < sigmoid(-0.8 + warm))
    roi = np.where(converted, random.lognormal(1.0, 0.5, size=n), random.normal(-0.2, 0.1, size=n))

    answered = sent + np.where(responded, (hours * 3600).astype(np.int64), _ANSWER_WITHIN)
    stage = np.repeat(np.arange(3), n)
    which = np.tile(np.arange(n), 3)
    event = np.concatenate([sent, answered, sent + _OUTCOME_AFTER])
    columns: dict[str, Column | Text] = {
        "trigger_id": Text(which, ids),
        "hcp_id": Text(hcp[which], world.hcps),
        "brand_id": Text(world.pair_brand[pair][which], world.brands),
        "trigger_type": Text(kind[which], _TYPES, missing=0.01),
        "channel": Text(channel[which], _CHANNELS, missing=0.02),
        "is_responded": Column(responded[which], pa.bool_(), known=stage >= 1),
        "response_time_hours": Column(hours[which], pa.float32(), known=(stage >= 1) & responded[which]),
        "conversion_flag": Column(converted[which], pa.bool_(), known=stage == 2),
        "roi_estimate": Column(roi[which], pa.float32(), known=stage == 2, missing=0.05, low=-5.0),
    }
    return arrive(random, event, columns, days.until).table
