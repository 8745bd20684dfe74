"""A forked child goes on whatever its parent's threads are at, and takes nothing from its parent."""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from importlib import _bootstrap
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.agents.mcp.plans import Planned, Plans
from e2i_fs.clock import SystemClock
from e2i_fs.config_parts import HedgeConfig
from e2i_fs.entries import Entry
from e2i_fs.failover.budget import Budget
from e2i_fs.failover.hedge import Hedge
from e2i_fs.forks import within_sqlite
from e2i_fs.ops.job_records import _JOB
from e2i_fs.ops.ledger import Ledger
from e2i_fs.ops.records import Records
from e2i_fs.page.book import Book
from e2i_fs.telemetry import logs
from tests.forking import in_a_child
from tests.kit import NOW, at, table, view
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


# ---- imports ----------------------------------------------------------------------------------------------------


def test_a_fork_waits_for_what_a_first_read_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, forking = threading.Event(), threading.Event()
    waits = _bootstrap._lock_unlock_module

    class Slow:
        """Finds the module only once a fork waits for it, for a thread that is not the one that forks."""

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "e2i_fs.answering" and threading.current_thread() is not threading.main_thread():
                inside.set()
                assert forking.wait(20)

    def waited(name: str) -> None:
        forking.set()
        waits(name)

    with fs.connect({"backend": "memory"}) as store:
        store.apply([view(tmp_path, [])])
        monkeypatch.delitem(sys.modules, "e2i_fs.answering", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Slow(), *sys.meta_path])
        monkeypatch.setattr(_bootstrap, "_lock_unlock_module", waited)

        def ask() -> Any:
            return store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "b"}])

        first = threading.Thread(target=ask)
        first.start()
        assert inside.wait(20)
        assert in_a_child(lambda: ask().to_dict()["trx_count"] == [None])
        first.join()


# ---- SQLite -----------------------------------------------------------------------------------------------------


class _Watched(sqlite3.Connection):
    """A connection that notes what is called where a fork would not wait for it."""

    seen: list[str]


def _noting(name: str) -> Any:
    def call(self: _Watched, *args: Any, **more: Any) -> Any:
        self.seen.append(name if within_sqlite._depth.here else f"{name} outside: {args}")
        return getattr(sqlite3.Connection, name)(self, *args, **more)

    return call


for _name in ("execute", "executemany", "executescript", "commit", "close"):
    setattr(_Watched, _name, _noting(_name))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is called of SQLite from now on; marked where no fork would wait for it."""
    found: list[str] = []
    real = sqlite3.connect

    def opened(*args: Any, factory: type[Any] = sqlite3.Connection, **more: Any) -> Any:
        found.append("connect" if within_sqlite._depth.here else f"connect outside: {args}")
        return real(*args, factory=type("Watched", (_Watched, factory), {"seen": found}), **more)

    monkeypatch.setattr(sqlite3, "connect", opened)
    return found


def used(config: dict[str, Any], folder: Path) -> None:
    """Do with a store, in one thread after another, what it uses SQLite for."""
    stats = view(folder, [("a", at(1), 1)])
    with fs.connect(config) as store:
        store.apply([stats, view(folder, [], name="other")])
        store.materialize(None, NOW)
        rows = table({"hcp_id": ["b"], "event_timestamp": [at(2)], "trx_count": [2]})
        store.write("hcp_stats", rows)
        other = threading.Thread(target=lambda: store.write("hcp_stats", rows, to="online"))
        other.start()
        other.join()
        gc.collect()  # its connections are closed, in this thread
        assert read(store)
        store.delete("other", kind="view")
        store.health()
        store.freshness()
        store.materialization_runs("hcp_stats")
    with fs.connect(config) as store:
        assert read(store)


def _config(kind: str, folder: Path) -> dict[str, Any]:
    if kind == "two":
        two = [{"name": name, "backend": "duckdb", "path": str(folder / name)} for name in ("a", "b")]
        return {"backends": two, "state": str(folder / "state")}
    online = {"online_store": {"type": "sqlite", "enable_openai_compatible_store": True}}
    return {"backend": kind.split()[0], "path": str(folder / "store"), **(online if "columns" in kind else {})}


@pytest.mark.parametrize("kind", ["duckdb", "feast", "feast of other columns", "two"])
def test_a_fork_waits_for_every_call_of_sqlite(tmp_path: Path, seen: list[str], kind: str) -> None:
    used(_config(kind, tmp_path), tmp_path)
    assert [call for call in seen if "outside" in call] == []
    assert {"connect", "execute", "close"} <= set(seen)


@pytest.mark.parametrize("kind", ["duckdb", "feast", "two"])
def test_a_child_that_closes_the_store_closes_nothing_of_its_parents(
    tmp_path: Path, seen: list[str], kind: str
) -> None:
    with fs.connect(_config(kind, tmp_path)) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None, NOW)
        assert read(store)
        seen.clear()

        def closes() -> bool:
            store.close()
            return seen == []

        assert in_a_child(closes)
        assert read(store)


# ---- the name under which a process writes ----------------------------------------------------------------------


def _writes(records: Records) -> bool:
    with records.transaction():
        pass
    gc.collect()  # what was the parent's is forgotten
    return True


def _fails(records: Records) -> bool:
    records.disown()
    return True


def _closes(records: Records) -> bool:
    records.close()
    return True


@pytest.mark.parametrize("work", [_writes, _fails, _closes])
def test_a_child_does_not_give_up_its_parents_name(tmp_path: Path, work: Callable[[Records], bool]) -> None:
    records, other = Records(str(tmp_path), ""), Records(str(tmp_path), "")
    name = records.writer
    assert in_a_child(lambda: work(records))
    assert other.busy(name)
    assert records.query("SELECT 1") == [(1,)]
    records.close()
    assert not other.busy(name)
    other.close()


def test_a_name_is_given_up_with_its_process_though_a_child_lives_on(tmp_path: Path) -> None:
    told, tell = os.pipe()
    wait, go_on = os.pipe()

    def parent() -> bool:
        records = Records(str(tmp_path), "")
        if os.fork() == 0:
            os.close(go_on)
            os.read(wait, 1)
            os._exit(0)
        os.write(tell, records.writer.encode())
        return True

    assert in_a_child(parent)
    other = Records(str(tmp_path), "")
    assert not other.busy(os.read(told, 100).decode())
    os.close(go_on)
    other.close()


def test_what_a_child_begins_is_noted_under_its_own_name(tmp_path: Path, clock: Any) -> None:
    with connect(tmp_path, clock).store as store:
        store.apply([view(tmp_path, [])])
        journal, records, jobs = store._router.journal, store._ledger.records, store._job_records
        seq = journal.begin(Entry("hcp_stats", "materialize:all", "k", "c", {}), ["primary"])[0]
        parents = records.query("SELECT writer FROM missed WHERE seq = ?", (seq,))
        assert parents == [(records.writer,)]

        def begins() -> bool:
            own = journal.begin(Entry("hcp_stats", "materialize:all", "l", "c", {}), ["primary"])[0]
            (noted,) = records.query("SELECT writer FROM missed WHERE seq = ?", (own,))
            return noted == (records.writer,) and [noted] != parents

        def saves() -> bool:
            jobs.save({**dict.fromkeys(_JOB, 0), "id": "j", "view": "v", "mode": "full", "outcome": "running"})
            return records.query("SELECT writer FROM jobs") == [(records.writer,)] != parents

        assert in_a_child(begins)
        assert in_a_child(saves)
