"""Make E2I data of any size: the same rows for the same seed, scale and end, on any day and in any time zone.

::

    python -m feature_repo data --scale 0.1
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .generator import journeys
from .generator.affinity import BLOCK, Affinity, affinity
from .generator.draws import Days
from .generator.journeys import patient_journeys
from .generator.metrics import Sums, business_metrics
from .generator.profiles import hcp_profiles
from .generator.territories import business_metrics_by_territory, territory_metrics
from .generator.triggers import triggers
from .generator.world import World, world

__all__ = ["DEFAULT_UNTIL", "SOURCES", "Generated", "generate"]

DEFAULT_UNTIL = datetime(2026, 7, 1, 5, tzinfo=UTC)
SOURCES = (
    "business_metrics",
    "business_metrics_by_territory",
    "hcp_profiles",
    "patient_journeys",
    "triggers",
    "territory_metrics",
)
OUTCOMES = "hcp_conversion_outcomes"


@dataclass(frozen=True, slots=True)
class Generated:
    """What was written: ``rows`` for each file (without ``.parquet``) in ``folder``, for the 18 months before ``until``."""

    folder: Path
    rows: Mapping[str, int]
    until: datetime

    @property
    def outcomes(self) -> Path:
        """The training entity rows: ``hcp_id, brand_id, event_timestamp, converted``."""
        return self.folder / f"{OUTCOMES}.parquet"


def generate(
    folder: str | os.PathLike[str],
    *,
    scale: float = 1.0,
    seed: int = 7,
    until: datetime = DEFAULT_UNTIL,
    progress: Callable[[str], None] | None = None,
) -> Generated:
    """Write the six sources and the outcomes of HCP conversion as Parquet into ``folder``, and return what they are.

    ``scale`` is the size: 1 is 240 HCPs and about 400,000 rows, and rows grow in proportion. Nothing has an
    ``event_timestamp`` or a ``created_at`` after ``until`` (naive is UTC). Times are microseconds, UTC; rates
    are float32 in 0..1, counts int64. ``progress`` is told the name of each file that is done.

    Raises ValueError when ``scale`` is not positive.
    """
    if not scale > 0:
        raise ValueError(f"scale={scale!r}: give a positive number; 1 is 240 HCPs, 0.1 a small trial.")
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    days, people = Days.before(until), world(seed, scale)
    sums = Sums.empty(people, days)
    asked: list[pa.Table] = []

    def metrics() -> Iterator[pa.Table]:
        for block in range(-(-len(people.pair_hcp) // BLOCK)):
            pairs = affinity(seed, people, days, block)
            asked.append(_outcomes(people, pairs))
            yield business_metrics(seed, people, days, pairs, sums)

    def patients() -> Iterator[pa.Table]:
        for block in range(-(-len(people.patients) // journeys.BLOCK)):
            yield patient_journeys(seed, people, days, block)

    makers: dict[str, Callable[[], Iterator[pa.Table]]] = {
        "business_metrics": metrics,  # first: others are sums of it
        "business_metrics_by_territory": lambda: iter([business_metrics_by_territory(people, days, sums)]),
        "hcp_profiles": lambda: iter([hcp_profiles(seed, people, days)]),
        "patient_journeys": patients,
        "triggers": lambda: iter([triggers(seed, people, days)]),
        "territory_metrics": lambda: iter([territory_metrics(seed, people, days, sums)]),
        OUTCOMES: lambda: iter(asked),
    }
    rows = {}
    for name, tables in makers.items():
        rows[name] = _write(home / f"{name}.parquet", tables())
        if progress is not None:
            progress(name)
    return Generated(home, rows, until if until.tzinfo else until.replace(tzinfo=UTC))


def _outcomes(people: World, pairs: Affinity) -> pa.Table:
    """Return who was asked about and when, and whether prescribing stepped up within 28 days."""
    order = np.lexsort((pairs.decision_pair, pairs.decision_at_us))
    pair = pairs.decision_pair[order]
    return pa.table(
        {
            "hcp_id": pa.array(people.hcps).take(pa.array(people.pair_hcp[pair])),
            "brand_id": pa.array(people.brands).take(pa.array(people.pair_brand[pair])),
            "event_timestamp": pa.array(pairs.decision_at_us[order]).cast(pa.timestamp("us", "UTC")),
            "converted": pairs.converted[order],
        }
    )


def _write(path: Path, tables: Iterator[pa.Table]) -> int:
    rows = 0
    first = next(tables)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in (first, *tables):
            writer.write_table(table)
            rows += table.num_rows
    return rows
