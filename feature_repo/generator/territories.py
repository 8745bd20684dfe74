"""business_metrics_by_territory and territory_metrics: what `feature_repo.generator.metrics` summed, as sources."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from .arrivals import Column, Text, arrive
from .draws import Days, Ints, draws, sigmoid, wander
from .metrics import PUBLISHED, RESTATED, Sums
from .world import World

__all__ = ["business_metrics_by_territory", "territory_metrics"]


def business_metrics_by_territory(world: World, days: Days, sums: Sums) -> pa.Table:
    """Return one row for each territory, brand and week as published, and one as restated where that differs."""
    parts = []
    for version, after in enumerate((PUBLISHED, RESTATED)):
        cells = sums.weekly[version]
        told = cells[..., -1] > 0
        if version == 1:
            told &= (cells != sums.weekly[0]).any(axis=-1)
        created = sums.week_closes + after
        told &= created <= days.until
        territory, brand, week = np.nonzero(told)
        trx, nrx, total, _, conversion, engagement, rows = cells[told].T
        share = np.divide(trx, total, out=np.zeros_like(trx), where=total > 0)
        parts.append(
            pa.table(
                {
                    "territory_id": pa.array(world.territories).take(pa.array(territory)),
                    "brand_id": pa.array(world.brands).take(pa.array(brand)),
                    "trx_count": trx.round().astype(np.int64),
                    "nrx_count": nrx.round().astype(np.int64),
                    "total_rx_count": total.round().astype(np.int64),
                    "market_share": pa.array(share, mask=total <= 0).cast(pa.float32()),
                    "conversion_rate": (conversion / rows).astype(np.float32),
                    "engagement_score": (engagement / rows).astype(np.float32),
                    "event_timestamp": _instants(sums.week_closes[week]),
                    "created_at": _instants(created[week]),
                }
            )
        )
    return pa.concat_tables(parts)


def territory_metrics(seed: int, world: World, days: Days, sums: Sums) -> pa.Table:
    """Return one row for each territory and day, with gaps, as they arrived."""
    random = draws(seed, "territory_metrics")
    n = len(world.territories)
    active = np.zeros((n, days.count))
    np.add.at(active, world.hcp_territory, sums.active)
    lives = random.integers(40_000, 400_000, size=n)[:, None] * (1 + 0.02 * wander(random, n, days.count, 0.5))
    potential = np.exp(0.3 * wander(random, n, days.count, 0.2)) * lives / 1000
    reported = random.random((n, days.count)) < 0.97
    territory, day = np.nonzero(reported)
    at = (territory, day)
    effort = sigmoid(sums.daily[0][at] / 30 - potential[at] / 250 + random.normal(0, 0.3, size=len(day)))
    columns: dict[str, Column | Text] = {
        "territory_id": Text(territory, world.territories),
        "total_trx": Column(sums.daily[0][at].astype(np.int64), pa.int64(), missing=0.005),
        "total_nrx": Column(sums.daily[1][at].astype(np.int64), pa.int64(), missing=0.005),
        "active_hcp_count": Column(active[at].astype(np.int64), pa.int64(), missing=0.005),
        "covered_lives": Column(lives[at].astype(np.int64), pa.int64(), missing=0.02),
        "market_potential": Column(potential[at], pa.float32(), missing=0.02),
        "resource_allocation_score": Column(effort, pa.float32(), missing=0.04, high=1.0),
    }
    return arrive(random, days.closes[day], columns, days.until).table


def _instants(seconds: Ints) -> pa.Array:
    return pa.array(seconds.astype(np.int64) * 1_000_000).cast(pa.timestamp("us", "UTC"))
