"""A small E2I for tests of agents: two keys, a fortnightly outcome, times that end an hour before `kit.NOW`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa

import e2i_fs as fs
from e2i_fs.agents import FeatureSpec
from e2i_fs.plugins import BackendSpec, Plugins, hookimpl
from e2i_fs.splits import TemporalSplit
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.faults import Faulty
from tests import kit

DAYS = 60
HCPS = 12
RULE = TemporalSplit(embargo=timedelta(days=1), tolerance=0.05)
VIEW = "hcp_conversion"
REFS = [f"{VIEW}:trx_count", f"{VIEW}:market_share", f"{VIEW}:channel"]
NEWEST = kit.NOW - timedelta(hours=1)


def spec(**more: Any) -> FeatureSpec:
    """The metadata of `frame`."""
    given: dict[str, Any] = {
        "entities": {"hcp": ["hcp_id"], "brand": ["brand_id"]},
        "labels": ["converted"],
        "owner": "data_preparer",
        "tags": {"use_case": "hcp_conversion"},
        **more,
    }
    return FeatureSpec(VIEW, **given)


def frame(*, days: int = DAYS, hcps: int = HCPS, newest: Any = NEWEST) -> pa.Table:
    """Return a row for each prescriber and day: counts, a share with gaps, a channel, and whether they converted."""
    draw = random.Random(7)
    rows = []
    for day in range(days):
        for hcp in range(hcps):
            trx = draw.randrange(40)
            rows.append(
                {
                    "hcp_id": f"hcp_{hcp:02}",
                    "brand_id": ("Remibrutinib", "Kisqali")[hcp % 2],
                    "event_timestamp": newest - timedelta(days=days - 1 - day),
                    "trx_count": trx,
                    "market_share": None if draw.random() < 0.05 else draw.random(),
                    "channel": draw.choice(["email", "visit", "call"]),
                    "converted": trx + draw.randrange(30) > 35,
                }
            )
    return table(rows)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as a table, times as UTC microseconds."""
    types = {"event_timestamp": kit.STAMP, "created_at": kit.STAMP}
    return pa.table({n: pa.array([r[n] for r in rows], types.get(n)) for n in rows[0]})


def changed(rows: pa.Table, **columns: Any) -> pa.Table:
    """Return ``rows`` with columns set to a list, to one value for all rows, or left out (None)."""
    for name, values in columns.items():
        if name in rows.column_names and values is None:
            rows = rows.drop_columns([name])
            continue
        made = pa.array(values if isinstance(values, list) else [values] * len(rows))
        at = rows.column_names.index(name) if name in rows.column_names else None
        rows = rows.append_column(name, made) if at is None else rows.set_column(at, name, made)
    return rows


def entity_df(rows: pa.Table | None = None, *, target: bool = True) -> pa.Table:
    """Return when and whom to train on: half an hour after each row, with what came of it."""
    given = frame() if rows is None else rows
    later = [t + timedelta(minutes=30) for t in given.column("event_timestamp").to_pylist()]
    asked = given.select(["hcp_id", "brand_id", *(["converted"] if target else [])])
    return asked.append_column("event_timestamp", pa.array(later, kit.STAMP))


def contexts(count: int = 3) -> list[dict[str, Any]]:
    """Return whom to predict for."""
    return [
        {"hcp_id": f"hcp_{hcp:02}", "brand_id": ("Remibrutinib", "Kisqali")[hcp % 2], "query": f"q{hcp}"}
        for hcp in range(count)
    ]


def train(splits: Any) -> Mapping[str, float]:
    """Return the smallest model: the mean count of those who converted and of those who did not."""
    rows = splits.train.to_arrow().to_pylist()
    means = {}
    for outcome in (True, False):
        counts = [r["trx_count"] for r in rows if r["converted"] is outcome and r["trx_count"] is not None]
        means[str(outcome)] = sum(counts) / len(counts)
    return means


def predict(model: Mapping[str, float], asked: list[dict[str, Any]]) -> list[bool | None]:
    """Return for each context whether its count is nearer to those who converted, None where it has none."""
    middle = (model["True"] + model["False"]) / 2
    return [None if c.get("trx_count") is None else c["trx_count"] > middle for c in asked]


def newest_counts(rows: pa.Table | None = None) -> dict[str, int]:
    """Return the newest count of each prescriber, from the frame itself."""
    found: dict[str, Any] = {}
    for row in (frame() if rows is None else rows).to_pylist():
        if row["hcp_id"] not in found or row["event_timestamp"] >= found[row["hcp_id"]]["event_timestamp"]:
            found[row["hcp_id"]] = row
    return {hcp: row["trx_count"] for hcp, row in found.items()}


def registered(store: fs.FeatureStore) -> tuple[list[str], list[str]]:
    """Return the names of everything that a registration could have left behind."""
    return [v.name for v in store.list_feature_views()], [e.name for e in store.list_entities()]


FAULTY: dict[str, Faulty] = {}
"""The faulty backends opened last, by the name they have in their store."""


class FaultyPlugin:
    """A plugin for ``connect(plugins=[...])``: the backend ``faulty`` is the one that the option ``inner`` names, with a script of faults."""

    @hookimpl
    def e2i_fs_backends(self) -> list[BackendSpec]:
        return [BackendSpec(name="faulty", api=1, factory="tests.agents_world:open_faulty")]


def open_faulty(*, name: str, options: Mapping[str, Any], clock: Any, base: str) -> Faulty:
    """Open the backend that the option ``inner`` names, with a script of faults."""
    rest = {k: v for k, v in options.items() if k != "inner"}
    inner = Plugins().open(options["inner"], name=name, options=rest, clock=clock, base=base)
    FAULTY[name] = Faulty(inner, clock)
    return FAULTY[name]


def faulty_store(clock: FakeClock) -> tuple[fs.FeatureStore, Faulty]:
    """Return a store in memory, and the script of what goes wrong with it."""
    store = fs.connect({"backend": "faulty", "inner": "memory"}, clock=clock, plugins=[FaultyPlugin()])
    return store, FAULTY["faulty"]
