"""A store that was closed says so, whatever it is asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.store import Store
from e2i_fs.testing import example_store
from tests.kit import STAMP, at

ROWS = pa.table({"hcp_id": ["hcp_1"], "event_timestamp": pa.array([at(0)], STAMP)})
BATCH = [
    {"hcp_id": "a", "event_timestamp": at(0), "created_at": at(0), "trx_count": 1, "engagement": 0.5, "converted": None}
]
CALLS: dict[str, Callable[[Any], Any]] = {
    "apply": lambda s: s.apply([fs.Entity("brand")]),
    "catalog": lambda s: s.catalog(),
    "catch_up": lambda s: s.catch_up(),
    "delete": lambda s: s.delete("hcp_model"),
    "diff": lambda s: s.diff("one", "two"),
    "events": lambda s: s.events(),
    "freshness": lambda s: s.freshness(),
    "freshness_history": lambda s: s.freshness_history(),
    "get_feature_view": lambda s: s.get_feature_view("hcp_stats"),
    "get_historical_features": lambda s: s.get_historical_features(ROWS, "hcp_model"),
    "get_online_features": lambda s: s.get_online_features("hcp_model", [{"hcp_id": "hcp_1"}]),
    "health": lambda s: s.health(),
    "isolate": lambda s: s.isolate("one"),
    "jobs": lambda s: s.jobs(),
    "journal": lambda s: s.journal(),
    "list_entities": lambda s: s.list_entities(),
    "list_feature_services": lambda s: s.list_feature_services(),
    "list_feature_views": lambda s: s.list_feature_views(),
    "list_on_demand_feature_views": lambda s: s.list_on_demand_feature_views(),
    "materialization_runs": lambda s: s.materialization_runs(),
    "materialize": lambda s: s.materialize(None),
    "materialize_incremental": lambda s: s.materialize_incremental(),
    "observe": lambda s: s.observe("one"),
    "optimize": lambda s: s.optimize(),
    "push": lambda s: s.push("crm", BATCH),
    "readmit": lambda s: s.readmit("one"),
    "rebuild": lambda s: s.rebuild("one"),
    "release": lambda s: s.release("one"),
    "search": lambda s: s.search(),
    "sorted_copies": lambda s: s.sorted_copies(),
    "statistics": lambda s: s.statistics("hcp_stats:trx_count"),
    "view_statistics": lambda s: s.view_statistics("hcp_stats"),
    "write": lambda s: s.write("hcp_stats", BATCH),
}
HARMLESS = {"close", "emit", "verify"}  # verify wants a receipt, and asks as get_historical_features does


def test_every_method_of_a_store_is_among_those_called_here() -> None:
    methods = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    assert methods - HARMLESS == CALLS.keys()


@pytest.mark.rule("G-4")
@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize("backends", [1, 2])
@pytest.mark.parametrize("method", CALLS)
def test_a_closed_store_says_that_it_is_closed(method: str, backends: int, kept: bool, tmp_path: Path) -> None:
    names = ["one", "two"][:backends]
    parts = [
        {"name": n, "backend": "duckdb", "path": str(tmp_path / n)} if kept else {"name": n, "backend": "memory"}
        for n in names
    ]
    store = example_store({"backends": parts})
    store.close()
    with pytest.raises(fs.BackendUnavailableError, match=r"^This store is closed\. Open it again with connect\.$"):
        CALLS[method](store)
