"""Small words for the tests of the Feast backend."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.testing.clock import FakeClock
from tests import kit

NOW = int(kit.NOW.timestamp()) * 1_000_000
SECOND = 1_000_000
ZONE = "America/New_York"
MAKE = """
import os, sys, datetime as dt
from feast.cli.cli import cli
os.chdir(sys.argv[1])
cli(["init", "demo"], standalone_mode=False)
import shutil
shutil.copytree("demo", "never_applied")
os.chdir("demo/feature_repo")
cli(["apply"], standalone_mode=False)
cli(["materialize", "2020-01-01T00:00:00", dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")], standalone_mode=False)
"""
"""Makes the template of `feast init` twice: as it is, and applied and materialised by the `feast` command in `ZONE`."""


def view(name: str = "stats", *fields: fs.Field, **more: Any) -> fs.FeatureView:
    """Return a view of one driver, with the fields given or a number."""
    more.setdefault("entities", [fs.Entity("driver", join_keys={"driver_id": fs.Int64})])
    return fs.FeatureView(name, schema=fields or [fs.Field("trips", fs.Int64)], **more)


def apply(backend: Any, *definitions: Any, allow_breaking: bool = False) -> None:
    """Apply through the protocol as the core does."""
    before = backend.definitions()
    after, _ = before.planned(definitions, "/", allow_breaking=allow_breaking)
    assert backend.apply(after, expected=before.revision)


def remove(backend: Any, name: str) -> None:
    before = backend.definitions()
    after, _ = before.without(name)
    assert backend.apply(after, expected=before.revision)


def row(event_us: int, trips: Any, created_us: int | None = None) -> OnlineRow:
    return OnlineRow(event_us, created_us, {"trips": trips})


def write(backend: Any, *rows: OnlineRow, key: Sequence[Any] = (1,), name: str = "stats", at_us: int = NOW) -> int:
    changed: int = backend.online_write(name, [tuple(key)] * len(rows), rows, at_us=at_us)
    return changed


def read(backend: Any, *, key: Sequence[Any] = (1,), name: str = "stats", at_us: int = NOW) -> Any:
    (found,) = backend.online_read(name, [tuple(key)], at_us=at_us)
    return found


def write_many(options: dict[str, Any], seed: int, keys: int, rounds: int) -> None:
    """Write rows in an order of its own from a process of its own; the greatest event time carries its own number."""
    from e2i_fs_feast import open_backend

    backend = open_backend(name="writer", options=options, clock=FakeClock(kit.NOW), base="/")
    shuffled = random.Random(seed)
    try:
        for _ in range(rounds):
            chosen = [(shuffled.randrange(keys),) for _ in range(20)]
            times = [NOW - shuffled.randrange(1000) for _ in chosen]
            rows = [OnlineRow(t, None, {"trips": t, "check": -t}) for t in times]
            backend.online_write("stats", chosen, rows, at_us=NOW)
    finally:
        backend.close()


def apply_many(options: dict[str, Any], number: int, views: int) -> None:
    """Apply views of its own, one after the other, from a process of its own, again whenever somebody was faster."""
    from e2i_fs_feast import open_backend

    backend = open_backend(name="applier", options=options, clock=FakeClock(kit.NOW), base="/")
    try:
        for i in range(views):
            while True:
                before = backend.definitions()
                after, _ = before.planned([view(f"v{number}_{i}")], "/")
                if backend.apply(after, expected=before.revision):
                    break
    finally:
        backend.close()
