"""A forked child goes on whatever its parent's threads are at, and takes nothing from its parent."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.agents.mcp.plans import Planned, Plans
from e2i_fs.clock import SystemClock
from e2i_fs.config_parts import HedgeConfig
from e2i_fs.failover.budget import Budget
from e2i_fs.failover.hedge import Hedge
from e2i_fs.ops.ledger import Ledger
from e2i_fs.page.book import Book
from e2i_fs.telemetry import logs
from tests.forking import in_a_child
from tests.kit import NOW, at, view
from tests.unit.test_rules_failover import connect

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")


# ---- locks of Python --------------------------------------------------------------------------------------------


def read(store: fs.Store) -> bool:
    return store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "a"}]).to_dict()["trx_count"] == [1]


def apply(store: fs.Store) -> bool:
    return store.apply(store.list_feature_views()) is not None


@pytest.mark.parametrize("work", [read, apply])
def test_a_child_reads_and_applies_though_its_parent_is_at_it(tmp_path: Path, clock: Any, work: Any) -> None:
    pair = connect(tmp_path, clock)
    with pair.store as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None, NOW)
        assert work(store)
        with store._router.journal._reading, store._router._changer._lock:
            assert in_a_child(lambda: work(store))


def test_a_child_hedges_and_retries_though_its_parent_is_at_it() -> None:
    budget, hedge = Budget(1.0), Hedge(HedgeConfig(after=1.0), SystemClock().monotonic)
    with budget._lock, hedge._lock, hedge._budget._lock:
        assert in_a_child(budget.spend)
        assert in_a_child(lambda: not hedge.applies(_remote(), []) and hedge.share(_remote()) == 0)


def _remote() -> Any:
    class Remote:
        local, name = False, "remote"

    return Remote()


def test_a_child_runs_plans_and_shows_though_its_parent_is_at_it() -> None:
    ledger, plans, book = Ledger(None), Plans(), Book(60.0, SystemClock())
    with ExitStack() as held:
        held.enter_context(ledger.run_lock("a", "v", 1.0))
        held.enter_context(plans._lock)
        held.enter_context(book._lock)
        held.enter_context(logs._attaching)

        def work() -> bool:
            with ledger.run_lock("a", "v", 0.0):
                plans.add(Planned([], allow_breaking=False, revision=""))
            logs.attach()()
            return book.page("p", lambda: {"rows": 1}) == {"rows": 1}

        assert in_a_child(work)


def test_a_child_makes_a_document_that_its_parent_is_making() -> None:
    book, made = Book(60.0, SystemClock()), []

    def make() -> dict[str, Any]:
        made.append(in_a_child(lambda: book.page("p", lambda: {"rows": 1}) == {"rows": 1}))
        return {}

    book.page("p", make)
    assert made == [True]
