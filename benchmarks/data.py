"""The data of every benchmark, drawn with numpy from a seed and kept as Parquet: made once, read by each contender.

A history has a String key, an event time in microseconds UTC, distinct within the file, and Float64 features. It lies in no
order, as a log of many writers does. Entity rows have a key, a time anywhere in the same year, and their own number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.children import Children

START = 1_672_531_200_000_000  # 2023-01-01, in microseconds
YEAR = 365 * 86_400_000_000
DAY = 86_400_000_000
MOMENT = pa.timestamp("us", "UTC")


def names(features: int = 10) -> list[str]:
    """Return the names of the features of a view."""
    return [f"f{n}" for n in range(features)]


def key_names(keys: int) -> pa.Array:
    """Return the keys' names."""
    return pa.array([f"hcp_{n}" for n in range(keys)])


def history(rows: int, per_key: int, seed: int, *, features: int = 10, created: bool = False) -> pa.Table:
    """Return a history of exactly ``per_key`` rows a key, or as near as ``rows`` lets it."""
    rng = np.random.default_rng(seed)
    keys = max(1, rows // per_key)
    events = START + rng.permutation(rows) * (YEAR // rows)
    columns = {
        "hcp_id": key_names(keys).take(pa.array(rng.permutation(np.arange(rows) % keys))),
        "event_timestamp": pa.array(events, MOMENT),
    }
    if created:  # known a day after it became true, more or less; a fifth of all at once
        late = np.where(rng.random(rows) < 0.2, 0, rng.exponential(DAY, rows)).astype(np.int64)
        columns["created_at"] = pa.array(events + late, MOMENT)
    return pa.table(columns | {name: rng.random(rows) for name in names(features)})


def entities(rows: int, keys: int, seed: int) -> pa.Table:
    """Return entity rows, numbered in ``row``."""
    rng = np.random.default_rng(seed + 1)
    return pa.table({
        "row": pa.array(np.arange(rows)),
        "hcp_id": key_names(keys).take(pa.array(rng.integers(0, keys, rows))),
        "event_timestamp": pa.array(START + rng.integers(0, YEAR, rows), MOMENT),
    })  # fmt: skip


class Kept:
    """Histories and entity rows below a folder, each made when first asked for, and where races have their processes from."""

    def __init__(self, folder: Path, seed: int, children: Children | None = None) -> None:
        self.folder = folder
        self.children = children or Children()
        self.seed = seed

    def history(
        self, rows: int, per_key: int = 50, *, number: int = 0, features: int = 10, created: bool = False
    ) -> str:
        """Return the path of a history; ``number`` tells several of one shape apart."""
        path = self.folder / f"history-{rows}-{per_key}-{number}-{features}-{'known' if created else 'plain'}.parquet"
        if not path.exists():
            made = history(rows, per_key, self.seed * 100 + number, features=features, created=created)
            pq.write_table(made, path)
        return str(path)

    def entities(self, rows: int, keys: int) -> str:
        """Return the path of entity rows."""
        path = self.folder / f"entities-{rows}-{keys}.parquet"
        if not path.exists():
            pq.write_table(entities(rows, keys, self.seed), path)
        return str(path)
