"""The stores that the worlds are asked of, each opened with what it needs or skipped with what is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.testing import FakeClock
from e2i_fs.testing.faults import Breakable
from e2i_fs.testing.values import ALL_KINDS
from e2i_fs.testing.worlds import World, make_world
from tests.breakable import OPENED, BreakablePlugin

NEVER = 1_000_000


@dataclass
class Opened:
    """An open store, and what happens to it while it is asked."""

    store: Any
    served_by: str
    breakable: Breakable | None = None
    seen: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def trouble(self, world: World) -> Iterator[None]:
        """Take the primary away while the block runs, where this setup is about that."""
        if self.breakable is None:
            yield
            return
        self.breakable.break_()
        try:
            yield
        finally:
            self.breakable.heal()

    def check_provenance(self, provenance: Any, *, historical: bool) -> None:
        """The backend that this setup means to test is the one that answered."""
        assert provenance.served_by == self.served_by


@dataclass(frozen=True)
class Setup:
    """One kind of store: how to open it, and which dtypes it can keep."""

    name: str
    opener: Callable[[Path, FakeClock], Any]
    kinds: tuple[str, ...] = ALL_KINDS
    key_kinds: tuple[str, ...] = ("string", "int64", "int32", "bool", "bytes", "date", "timestamp")
    hostile: bool = True
    source: str = "parquet"
    worlds: int = 200

    @contextmanager
    def open(self, path: Path, clock: FakeClock) -> Iterator[Opened]:
        with self.opener(path, clock) as opened:
            yield opened

    def world(self, seed: int) -> World:
        """Return the world of ``seed`` with the dtypes and names that this store can keep."""
        key_kinds = self.key_kinds if seed % 5 == 0 else ("string", "int64")
        return make_world(seed, kinds=self.kinds, key_kinds=key_kinds, hostile_names=self.hostile and seed % 4 == 0)


@contextmanager
def _single(config: Mapping[str, Any], clock: FakeClock) -> Iterator[Opened]:
    with fs.connect(config, clock=clock) as store:
        yield Opened(store, str(config["backend"]))


def _memory(path: Path, clock: FakeClock) -> Any:
    return _single({"backend": "memory"}, clock)


def _duckdb(path: Path, clock: FakeClock) -> Any:
    return _single({"backend": "duckdb", "path": str(path)}, clock)


def feast_config(path: Path, offline: str, online: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a Feast backend, or skip where Feast is not installed."""
    if importlib.util.find_spec("feast") is None:
        pytest.skip('needs Feast: pip install "e2i-fs[feast]"')
    return {"backend": "feast", "path": str(path), "offline_store": {"type": offline}, "online_store": dict(online)}


def _feast_sqlite(offline: str) -> Callable[[Path, FakeClock], Any]:
    return lambda path, clock: _single(feast_config(path, offline, {"type": "sqlite"}), clock)


def _feast_redis(offline: str) -> Callable[[Path, FakeClock], Any]:
    @contextmanager
    def opener(path: Path, clock: FakeClock) -> Iterator[Opened]:
        from tests import servers

        with servers.redis_server() as address:
            config = feast_config(path, offline, {"type": "redis", "connection_string": servers.patient(address)})
            with _single(config, clock) as opened:
                yield opened

    return opener


@contextmanager
def _failover(path: Path, clock: FakeClock, *, away: bool) -> Iterator[Opened]:
    primary = {
        **feast_config(path / "feast", "duckdb", {"type": "sqlite"}),
        "name": "primary",
        "inner": "feast",
        "backend": "breakable",
    }
    standby = {"name": "standby", "backend": "duckdb", "path": str(path / "duckdb")}
    breaker = {"failures": NEVER, "calls": NEVER}  # the primary is asked, and fails, each time
    config = {
        "backends": [primary, standby],
        "failover": {"deadline": 30, "shadow_rate": 0, "background": False, "breaker": breaker},
    }
    with fs.connect(config, clock=clock, plugins=[BreakablePlugin()]) as store:
        breakable = OPENED["primary"]
        yield Opened(store, "standby" if away else "primary", breakable if away else None)


ALL = (
    Setup("memory", _memory, worlds=100),
    Setup("duckdb", _duckdb),
    Setup("duckdb-tables", _duckdb, hostile=False, source="duckdb", worlds=40),
    Setup("feast-dask-sqlite", _feast_sqlite("dask"), worlds=100),
    Setup("feast-duckdb-redis", _feast_redis("duckdb")),
    # Fewer do here: DuckDB and Feast are asked more by themselves above, and failover has to give their answers.
    Setup("failover-healthy", lambda path, clock: _failover(path, clock, away=False), worlds=40),
    Setup("failover-primary-away", lambda path, clock: _failover(path, clock, away=True), worlds=40),
)
