"""A store to look at: E2I data over three days, with an outage made for real, a source that was gone, and a write missed."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

import e2i_fs as fs
from e2i_fs.cli.demo.repository import feature_repo
from e2i_fs.testing.clock import FakeClock

__all__ = ["VIEW", "World", "e2i_world"]

VIEW = "hcp_conversion_features"
_SETTINGS = Path(__file__).parents[1] / "feature_repo" / "materialisation.yaml"


class World:
    """E2I in two DuckDB folders behind failover; time moves when told."""

    def __init__(self, folder: Path, days: float, scale: float) -> None:
        made = feature_repo("generate").generate(folder / "data", scale=scale)
        self.folder = folder
        self.clock = FakeClock(made.until - timedelta(days=days))
        self.config: dict[str, Any] = {
            "project": "e2i",
            "backends": [
                {"name": n, "backend": "duckdb", "path": str(folder / n)} for n in ("primary", "standby")
            ],
            "state": str(folder / "state"),
            "failover": {"background": False, "shadow_rate": 0, "deadline": 5, "breaker": {"jitter": 0}},
            "materialisation": yaml.safe_load(_SETTINGS.read_text(encoding="utf-8")),
        }  # fmt: skip
        with self.open() as store:
            store.apply(feature_repo().definitions(folder / "data"))

    def open(self) -> Any:
        """Open the store, as a process of its own would."""
        return fs.connect(self.config, clock=self.clock)

    def away(self, path: str) -> None:
        """Take a folder or file away; nobody can make it anew meanwhile."""
        where = self.folder / path
        os.rename(where, f"{where}.away")
        where.write_bytes(b"")

    def back(self, path: str) -> None:
        """Put it back."""
        where = self.folder / path
        where.unlink()
        os.rename(f"{where}.away", where)

    def watch(self, checks: int, hours: float = 4.0) -> None:
        """Run the jobs and check freshness so often, so many hours apart."""
        with self.open() as store:
            jobs = store.jobs(sleep=lambda seconds: self.clock.advance(timedelta(seconds=seconds)))
            for number in range(checks):
                if number % 3 == 0:
                    jobs.incremental()
                jobs.check_freshness()
                self.clock.advance(timedelta(hours=hours))

    def ask(self, store: Any, times: int, minutes: float = 5.0) -> Any:
        """Ask online so often, some minutes apart, and return who answered last."""
        for _ in range(times):
            answer = store.get_online_features([f"{VIEW}:trx_count"], [{"hcp_id": "h", "brand_id": "b"}])
            self.clock.advance(timedelta(minutes=minutes))
        return answer.provenance

    def write(self, store: Any) -> Any:
        """Write one row of now."""
        view, now = store.get_feature_view(VIEW), self.clock.now()
        row: dict[str, Any] = {"hcp_id": "h", "brand_id": "b", view.event_column: now, view.created_column: now}
        return store.write(VIEW, [row | {f.name: 3 if f.dtype == fs.Int64 else 0.5 for f in view.schema}])


def e2i_world(folder: Path) -> World:
    """Return the store after three days: the primary was away, and missed a write; at last the standby did."""
    world = World(folder, days=3, scale=0.02)
    world.watch(8)
    world.away("primary")
    with world.open() as store:
        assert world.ask(store, 8).served_by == "standby"
        assert set(world.write(store).missed) == {"primary"}
    world.back("primary")
    with world.open() as store:
        assert world.ask(store, 2).served_by == "standby"
        assert store.catch_up("primary")["primary"].done
        assert world.ask(store, 2).served_by == "primary"
    world.watch(7)
    world.away("standby")
    with world.open() as store:
        assert set(world.write(store).missed) == {"standby"}
    world.back("standby")
    return world
