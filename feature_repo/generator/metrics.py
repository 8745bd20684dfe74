"""business_metrics: what each HCP prescribes of each brand, a row a day, with gaps; and the sums of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .affinity import Affinity
from .arrivals import CORRECTION, FIRST, Arrived, Column, Text, arrive
from .draws import DAY, Days, Floats, Ints, draws, sigmoid
from .world import World

__all__ = ["PUBLISHED", "RESTATED", "Sums", "business_metrics"]

PUBLISHED = 6 * 3600
"""Seconds from the end of a week to the first publication of its aggregate."""
RESTATED = 28 * DAY
"""Seconds from the end of a week to its restatement."""
_SUMS = ("trx_count", "nrx_count", "total_rx_count", "market_share", "conversion_rate", "engagement_score")


@dataclass(frozen=True, slots=True)
class Sums:
    """Running sums over all blocks of rows.

    ``weekly`` has, for each version (published, restated), territory, brand and week, the sums of `_SUMS` and the
    number of rows; ``daily`` has for each territory and day trx and nrx; ``active`` says of each HCP and day
    whether a row exists.
    """

    week_closes: Ints
    weekly: Floats
    daily: Floats
    active: NDArray[np.bool_]

    @classmethod
    def empty(cls, world: World, days: Days) -> Sums:
        """Return sums of nothing. Weeks end on Mondays at 00:00 UTC."""
        closes = days.closes
        # 1970-01-01 was a Thursday, so days 4, 11, ... are Mondays
        weeks = closes[((closes // DAY) % 7 == 4) & (closes - 7 * DAY >= days.start)]
        shape = (2, len(world.territories), len(world.brands), len(weeks), len(_SUMS) + 1)
        return cls(
            weeks,
            np.zeros(shape),
            np.zeros((2, len(world.territories), days.count)),
            np.zeros((len(world.hcps), days.count), dtype=np.bool_),
        )


def business_metrics(seed: int, world: World, days: Days, block: Affinity, sums: Sums) -> pa.Table:
    """Return the rows of one block of pairs as they arrived, and add them to ``sums``."""
    random = draws(seed, "business_metrics", block.first)
    n, count = block.inclination.shape
    hcp = world.pair_hcp[block.first : block.first + n]
    brand = world.pair_brand[block.first : block.first + n]
    territory = world.hcp_territory[hcp]

    pair, day = np.nonzero(_reported(random, n, count, territory))
    lean = block.inclination[pair, day] + block.lift[pair, day]
    share = np.clip(sigmoid(lean - 0.9) + random.normal(0, 0.04, size=len(pair)), 0.0, 1.0)
    trx = random.poisson(world.volume[hcp[pair]] * share)
    nrx = random.binomial(trx, 0.15 + 0.25 * sigmoid(lean))
    others = random.poisson(world.volume[hcp[pair]] * (1 - share))
    calls = np.maximum(0.0, 3.0 + 1.5 * block.inclination[pair, day] + random.normal(0, 1.2, size=len(pair)))
    columns: dict[str, Column | Text] = {
        "hcp_id": Text(hcp[pair], world.hcps),
        "brand_id": Text(brand[pair], world.brands),
        "territory_id": Text(territory[pair], world.territories),
        "trx_count": Column(trx, pa.int64(), missing=0.01),
        "nrx_count": Column(nrx, pa.int64(), missing=0.01),
        "total_rx_count": Column(trx + others, pa.int64(), missing=0.01),
        "market_share": Column(share, pa.float32(), missing=0.03, high=1.0),
        "conversion_rate": Column(
            sigmoid(0.8 * lean - 1.2 + random.normal(0, 0.3, size=len(pair))), pa.float32(), missing=0.03, high=1.0
        ),
        "engagement_score": Column(
            sigmoid(block.inclination[pair, day] + random.normal(0, 0.5, size=len(pair))),
            pa.float32(),
            missing=0.03,
            high=1.0,
        ),
        "call_frequency": Column(calls, pa.float32(), missing=0.05),
    }
    arrived = arrive(random, days.closes[day], columns, days.until)
    _add(sums, arrived, days.closes[day], day, hcp[pair], territory[pair], brand[pair])
    return arrived.table


def _reported(random: np.random.Generator, n: int, count: int, territory: Ints) -> NDArray[np.bool_]:
    """Return which pair reports on which day: not all days, not before onboarding, not in outages."""
    reported = random.random((n, count)) < 0.86
    day = np.arange(count)
    onboarding = np.where(random.random(n) < 0.2, random.integers(0, count // 2, size=n), 0)
    reported &= day >= onboarding[:, None]
    for share, shortest, longest in ((0.35, 7, 46), (0.15, 3, 15)):
        begin = random.integers(0, count, size=n)
        length = np.where(random.random(n) < share, random.integers(shortest, longest, size=n), 0)
        reported &= ~((day >= begin[:, None]) & (day < (begin + length)[:, None]))
    # the feed of one territory was down for ten days, a year in
    down = count * 2 // 3
    reported[np.ix_(territory == 0, np.arange(down, min(down + 10, count)))] = False
    return reported


def _add(sums: Sums, arrived: Arrived, event: Ints, day: Ints, hcp: Ints, territory: Ints, brand: Ints) -> None:
    """Add what arrived: each row as first reported, and for each correction the change that it makes."""
    sums.active[hcp, day] = True
    week = np.searchsorted(sums.week_closes, event)
    whole = (week < len(sums.week_closes)) & (event > sums.week_closes[0] - 7 * DAY)
    first = arrived.kind == FIRST
    base = {name: np.zeros(len(event)) for name in _SUMS}
    for name in _SUMS:
        base[name][arrived.row[first]] = arrived.values[name][first]
    for name, target in (("trx_count", 0), ("nrx_count", 1)):
        np.add.at(
            sums.daily[target], (territory[arrived.row[first]], day[arrived.row[first]]), arrived.values[name][first]
        )
    for kind in (FIRST, CORRECTION):
        rows = np.flatnonzero((arrived.kind == kind) & whole[arrived.row])
        source = arrived.row[rows]
        for version, after in enumerate((PUBLISHED, RESTATED)):
            known = arrived.created[rows] <= sums.week_closes[week[source]] + after
            at: Any = (
                np.full(int(known.sum()), version),
                territory[source[known]],
                brand[source[known]],
                week[source[known]],
            )
            for i, name in enumerate(_SUMS):
                change = arrived.values[name][rows] - (base[name][source] if kind == CORRECTION else 0.0)
                np.add.at(sums.weekly, (*at, i), change[known])
            if kind == FIRST:
                np.add.at(sums.weekly, (*at, len(_SUMS)), 1.0)
