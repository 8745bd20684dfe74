"""A store behind failover on backends that survive it, each with a script of faults, on a fake clock in one thread."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from e2i_fs.backend import ArrowRows, Backend, Capabilities, OnlineRow, ScanPart
from e2i_fs.config import load_config
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendUnavailableError, DeadlineExceededError
from e2i_fs.failover.router import Failover
from e2i_fs.online import pick, row_order
from e2i_fs.ops import materialize
from e2i_fs.ops.ledger import Ledger
from e2i_fs.pit.latest import LatestRows
from e2i_fs.plugins import Plugins
from e2i_fs.store import Store
from e2i_fs.telemetry.events import BreakerMoved, Event
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.disk import Disk, KeptNative
from e2i_fs.testing.failover_model import World
from e2i_fs.testing.failover_story import NAMES, Story
from e2i_fs.testing.faults import METHODS, Call, Crash, Faulty, Script, fails
from e2i_fs.testing.oracle import Row
from e2i_fs.testing.virtual_time import VirtualTime
from e2i_fs.values import arrow_type

__all__ = ["EVERY", "Rig", "holds", "plain_engine"]

EVERY = (*METHODS, "point_in_time", "batches", "online_rows")
DEADLINE, HISTORICAL_DEADLINE, WRITE_DEADLINE, LONGEST = 0.25, 1.0, 5.0, 20.0


class _Remote(KeptNative):
    """A backend in memory that is called as one behind a network is, unless ``is_local``."""

    is_local = False

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, local=self.is_local)


class Rig:
    """The backends of a story, their faults, and the store that is open on them."""

    def __init__(self, story: Story, start: datetime, folder: Path, **failover: Any) -> None:
        self.clock = FakeClock(start)
        self.time = VirtualTime(self.clock)
        self.folder = folder
        self.trace: list[Call | BreakerMoved] = []
        """What was called, and how breakers moved, in order."""
        names = NAMES[: story.backends]
        self.disks = [Disk() for _ in names]
        self._local = [number >= story.backends - story.local for number in range(story.backends)]
        self.backends = [
            Faulty(self._opened(n), self.clock, name, self.time.spend, self.trace) for n, name in enumerate(names)
        ]
        self._saved: dict[Path, bytes] | None = None
        self._dead: list[tuple[Faulty, Script]] = []
        self._config = load_config(
            {
                "backends": [{"name": name, "backend": "memory"} for name in names],
                "state": str(folder),
                "failover": {
                    "deadline": DEADLINE, "historical_deadline": HISTORICAL_DEADLINE, "write_deadline": WRITE_DEADLINE,
                    "shadow_rate": 0, "background": False,
                    "breaker": {
                        "failures": story.failures, "successes": story.successes, "open_for": 5, "longest": LONGEST, "jitter": 0,
                    },
                    **failover,
                },
            }
        )  # fmt: skip
        self.open()

    def _opened(self, number: int) -> _Remote:
        made = _Remote(NAMES[number], self.clock, self.disks[number])
        made.is_local = self._local[number]
        return made

    def open(self) -> None:
        """Open the store anew, as a process that starts does."""
        ledger = Ledger(str(self.folder))
        openers = {backend.name: self._opener(n) for n, backend in enumerate(self.backends)}
        self._running = False
        try:
            with self.time.installed():
                router = Failover(openers, self._config.failover, ledger, self.clock, self._told)
            router.open_all()
        except BaseException:
            ledger.close()
            raise
        self.store = Store(router, self._config, _plugins(), ledger, self.clock)
        self._running = True

    def _opener(self, number: int) -> Callable[[], Backend]:
        def opener() -> Backend:
            faulty = self.backends[number]
            faulty.inner = self._opened(number)
            try:
                faulty.ping(1.0)  # opening meets what a call would
            except DeadlineExceededError as error:
                raise BackendUnavailableError(f"{faulty.name} cannot be opened: {error}") from error
            return faulty

        return opener

    def _told(self, event: Event) -> None:
        if isinstance(event, BreakerMoved):
            self.trace.append(event)

    def dying(self) -> None:
        """Keep the store's records as they are in the moment of a crash; from then on nothing is reached any more."""
        self._saved = {
            path: path.read_bytes() for path in self.folder.glob("ledger.sqlite*") if path.suffix != ".sqlite-shm"
        }
        self._dead = [(backend, backend.put(fails(_dead), *EVERY)) for backend in self.backends]

    def die(self) -> None:
        """End the process that crashed: what it did after its last moment never happened. Open the store anew."""
        self.close()
        assert self._saved is not None
        for path in self.folder.glob("ledger.sqlite*"):
            path.unlink()
        for path, content in self._saved.items():
            path.write_bytes(content)
        self._saved = None
        for backend, script in self._dead:
            backend.remove(script)
        self.open()

    def close(self) -> None:
        """Close the store; harmless when it could not be opened."""
        if self._running:
            self.store.close()

    def remove(self) -> None:
        """Close the store and remove its records."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _dead() -> BaseException:
    return Crash("the process is dead")


@cache
def _plugins() -> Plugins:
    """The installed plugins; to find them takes longer than anything else here."""
    return Plugins()


def holds(disk: Disk, view: str, world: World, now: datetime) -> str | None:
    """Return in what a backend's rows are others than those of ``world``, now or a minute later; None when in nothing."""
    kept, names = disk.views[view], [name for name, _ in world.fields]
    found = {
        Row((row["k"],), row["event_timestamp"], None, tuple(row.get(name) for name in names))
        for table in kept.batches.values()
        for row in table.to_pylist()
    }
    if found != world.history:
        return f"history is {_rows(found)}, not {_rows(world.history)}"
    for key in {row.key for row in world.known} | set(kept.online):
        for seconds in (0, 60):
            at_us = round(now.timestamp() * 1e6) + seconds * 1_000_000
            row = pick(kept.online.get(key, ()), at_us=at_us)
            there = None if row is None else (row.event_us, tuple(row.values.get(name) for name in names))
            answer = world.online(key, datetime.fromtimestamp(at_us / 1e6, tz=now.tzinfo), None)
            right = None if answer.event is None else (round(answer.event.timestamp() * 1e6), answer.values)
            if there != right:
                return f"online, key {key[0]!r}, in {seconds} s, is {there}, not {right}"
    return None


def _rows(rows: Any) -> list[Any]:
    return sorted((r.key[0], str(r.event), *map(str, r.values)) for r in rows)


@contextmanager
def plain_engine() -> Iterator[None]:
    """While the block runs, materialisation finds its rows in plain Python: a run of DuckDB takes longer than a whole story."""
    with mock.patch.object(materialize, "latest_rows", _latest_rows):
        yield


def _latest_rows(
    view: FeatureView, join_keys: Mapping[str, DType], parts: Sequence[ScanPart], *, start_us: int | None, end_us: int,
    **_: Any,
) -> LatestRows:  # fmt: skip
    """See `e2i_fs.pit.engine.latest_rows`; of streams only, views without created times and with fields that are stored as they are."""
    best: dict[tuple[Any, ...], OnlineRow] = {}
    count = 0
    for part in parts:
        assert isinstance(part, ArrowRows)
        for row in part.reader.read_all().to_pylist():
            event = round(row[view.event_column].timestamp() * 1e6)
            if event > end_us or (start_us is not None and event < start_us):
                continue
            count += 1
            key = tuple(row[name] for name in join_keys)
            made = OnlineRow(event, None, {f.name: row.get(f.name) for f in view.schema})
            if key not in best or row_order(made, view) > row_order(best[key], view):
                best[key] = made
    keys = sorted(best)
    columns = {
        f"k{i}": pa.array([key[i] for key in keys], arrow_type(dtype)) for i, dtype in enumerate(join_keys.values())
    }
    columns["e"] = pa.array([best[key].event_us for key in keys], pa.int64())
    columns["c"] = pa.nulls(len(keys), pa.int64())
    for i, f in enumerate(view.schema):
        columns[f"v{i}"] = pa.array([best[key].values[f.name] for key in keys], arrow_type(f.dtype))
    found, newest = pa.table(columns), max((row.event_us for row in best.values()), default=None)
    return LatestRows(len(found), count, newest, found.slice, lambda: None)
