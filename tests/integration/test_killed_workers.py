"""Workers killed by SIGKILL, for real: the next one goes on, online is exact, and the records count each row once (W-3, W-4)."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.ops import materialize
from e2i_fs.ops.ledger import Ledger
from e2i_fs.testing import oracle
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.directed import NOW
from tests.integration.killed_worker import CHUNK, SETTINGS, Nursery, Point, Task, nursery

pytestmark = [
    pytest.mark.rule("W-3", "W-4", "O-6"),
    pytest.mark.skipif(sys.platform == "win32", reason="needs fork: Linux or macOS"),
]  # fmt: skip
HOUR = timedelta(hours=1)
KEYS = [f"k{i:03}" for i in range(90)]
Row = tuple[str, datetime, datetime, int]
FEAST = (
    "prometheus_client", "feast", "feast.repo_operations", "feast.infra.offline_stores.dask", "feast.infra.online_stores.sqlite",
)  # fmt: skip
PLACES = {
    "before the first record": lambda r: Point("call", "Jobs._done", 1, r.randrange(60)),
    "before a record": lambda r: Point("call", "Ledger.begin_run", 1, r.randrange(20)),
    "while the rows are sought": lambda r: Point("return", "Ledger.save_work", 1, r.randrange(200)),
    "in the middle of a batch": lambda r: Point("call", "Backend.online_write", r.randrange(1, 5), r.randrange(120)),
    "between a write and its record": lambda r: Point("return", "Backend.online_write", r.randrange(1, 5), r.randrange(40)),
    "after the last write": lambda r: Point("call", "Ledger.end_run", 1, r.randrange(30)),
    "after the run, before the job's record": lambda r: Point("return", "Ledger.end_run", 1, r.randrange(60)),
}  # fmt: skip


class World:
    """A store over a folder of files, all rows that ever arrived, and workers on it."""

    def __init__(self, folder: Path, config: Mapping[str, Any], workers: Nursery, seed: int) -> None:
        self.folder = folder
        self.config = config
        self.workers = workers
        self.random = random.Random(seed)
        self.now = NOW
        self.rows: list[Row] = []
        self.files = 0
        self.kills = 0
        (folder / "in").mkdir()
        self.arrive(KEYS)
        source = fs.ParquetSource(str(folder / "in"), created_timestamp_field="created")
        with self.store() as store:
            store.apply(
                [fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=source)]
            )

    @contextmanager
    def store(self) -> Iterator[fs.FeatureStore]:
        with (
            mock.patch.object(materialize, "CHUNK", CHUNK),
            fs.connect(self.config, clock=FakeClock(self.now)) as store,
        ):
            yield store

    def arrive(self, keys: list[str]) -> None:
        """A file comes with a row of each of these keys: late ones, corrections, values that tie."""
        made = [(key, self.now - HOUR * self.random.randrange(100), self.now, self.random.randrange(3)) for key in keys]
        columns = list(zip(*made, strict=True))
        stamp = pa.timestamp("us", "UTC")
        types = {"k": pa.string(), "event_timestamp": stamp, "created": stamp, "x": pa.int64()}
        self.files += 1
        table = pa.table({n: pa.array(c, t) for (n, t), c in zip(types.items(), columns, strict=True)})
        pq.write_table(table, self.folder / "in" / f"{self.files}.parquet")
        self.rows += made

    def killed(self, mode: str, point: Point) -> bool:
        """Have a worker do a job that dies at ``point``; return whether it came to that."""
        self.workers.start(Task(self.config, self.now, mode, point))
        code = self.workers.ended()
        assert code in (0, -signal.SIGKILL), code
        self.kills += code != 0
        return code != 0

    def killed_from_outside(self, rows: int) -> bool:
        """Have a worker do an incremental job, and kill it as soon as so many rows are noted; return whether it was at it."""
        known = self.known()
        with self.store() as store:
            process = self.workers.start(Task(self.config, self.now, "incremental", None))
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                runs = [run for run in store.materialization_runs(limit=2) if run.run_id not in known]
                if runs and (runs[0].rows_written >= rows or runs[0].outcome != "running"):
                    break
            os.kill(process, signal.SIGKILL)
            return self.workers.ended() == -signal.SIGKILL

    def check(self, store: fs.FeatureStore) -> None:
        """Every key online has the oracle's answer."""
        rows = [oracle.Row((k,), event, created, (x,)) for k, event, created, x in self.rows]
        right = oracle.online(oracle.by_key(rows, [fs.String]), [(k,) for k in KEYS], self.now, [fs.String], [fs.Int64])
        answer = store.get_online_features(["v:x"], [{"k": key} for key in KEYS])
        got = list(zip(answer.to_dict()["x"], [str(s) for s in answer.statuses["v:x"]], strict=True))
        assert got == [(r.values[0], r.statuses[0]) for r in right]

    def counted(self, store: fs.FeatureStore, mode: str, known: set[str]) -> tuple[int, int]:
        """Return the rows read and written by all runs of a mode that are not ``known``; the jobs' own records say the same."""
        runs = [r for r in store.materialization_runs(limit=10_000) if r.mode == mode and r.run_id not in known]
        jobs = [j for j in store.jobs(SETTINGS).history(days=1e4) if j.mode == mode and j.job_id not in known]
        told = sum(r.rows_read for r in runs), sum(r.rows_written for r in runs)
        assert (sum(j.rows_read for j in jobs), sum(j.rows_written for j in jobs)) == told
        assert all(j.outcome != "running" for j in jobs) and all(r.outcome != "running" for r in runs)
        return told

    def known(self) -> set[str]:
        with self.store() as store:
            runs, jobs = store.materialization_runs(limit=10_000), store.jobs(SETTINGS).history(days=1e4)
        return {r.run_id for r in runs} | {j.job_id for j in jobs}

    def incremental(self, point: Point) -> bool:
        """Rows arrive, a worker is killed, more arrive, the next one ends it; return whether the first was killed."""
        known, keys = self.known(), self.random.sample(KEYS, self.random.randrange(12, 40))
        first = self.random.randrange(9, len(keys))
        before = len(self.rows)
        self.arrive(keys[:first])
        died = self.killed("incremental", point)
        if keys[first:] and self.random.random() < 0.5:
            self.arrive(keys[first:])
        arrived = len(self.rows) - before
        with self.store() as store:
            store.jobs(SETTINGS).incremental()
            self.check(store)
            assert self.counted(store, "incremental", known) == (arrived, arrived)
        return died

    def full(self, point: Point) -> bool:
        """A worker is killed in a full job in windows of a day; the next one takes the job up, or does it."""
        known = self.known()
        died = self.killed("full", point)
        first = (self.now - 3 * 24 * HOUR).replace(hour=0)
        within = [row for row in self.rows if row[1] >= first]
        with self.store() as store:
            jobs = store.jobs(SETTINGS)
            if not any(j.mode == "full" and j.job_id not in known for j in jobs.history(days=1e4)):
                jobs.full(days_back=3)  # it died before there was a record of it
            jobs.recover()
            expected = len(within), len({(key, event.date()) for key, event, _, _ in within})
            assert self.counted(store, "full", known) == expected
        return died

    def play(self, kills: int) -> None:
        """Have workers killed until so many were, at each kind of place in turn."""
        with self.store() as store:
            store.jobs(SETTINGS).incremental()
        dead = dict.fromkeys(PLACES, 0)
        for number in range(3 * kills):
            if self.kills >= kills and all(dead.values()):
                break
            place = list(PLACES)[number % len(PLACES)]
            self.now += HOUR * self.random.randrange(1, 30)
            act = self.full if self.random.random() < 0.25 else self.incremental
            dead[place] += act(PLACES[place](self.random))
        assert self.kills >= kills and all(dead.values()), dead


@pytest.fixture(scope="module")
def workers() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


@pytest.mark.parametrize("seed", range(4))
def test_after_25_workers_killed_at_any_point_each_row_is_online_and_counted_once(
    tmp_path: Path, workers: Nursery, seed: int
) -> None:
    World(tmp_path, {"backend": "duckdb", "path": str(tmp_path / "store")}, workers, seed).play(25)


def test_workers_killed_from_outside_are_taken_up_too(tmp_path: Path, workers: Nursery) -> None:
    world = World(tmp_path, {"backend": "duckdb", "path": str(tmp_path / "store")}, workers, 7)
    kills = 0
    for _ in range(24):
        world.now += HOUR
        known = world.known()
        if world.files > 1:
            world.arrive(world.random.sample(KEYS, 80))
        arrived = len(KEYS) if world.files == 1 else 80
        kills += world.killed_from_outside(world.random.randrange(70))
        with world.store() as store:
            store.jobs(SETTINGS).incremental()
            world.check(store)
            assert world.counted(store, "incremental", known) == (arrived, arrived)
        world.files += 1
        if kills == 8:
            return
    pytest.fail(f"Of 24 workers {kills} were killed in time.")


def test_two_workers_at_once_do_the_work_once(tmp_path: Path, workers: Nursery) -> None:
    world = World(tmp_path, {"backend": "duckdb", "path": str(tmp_path / "store")}, workers, 8)
    with nursery() as others:
        for number in range(4):
            world.now += HOUR
            known = world.known()
            world.arrive(KEYS[:70])
            for each in (workers, others):
                each.start(Task(world.config, world.now, "incremental", None))
            assert [each.ended() for each in (workers, others)] == [0, 0]
            with world.store() as store:
                world.check(store)
                arrived = 70 + (len(KEYS) if number == 0 else 0)
                assert world.counted(store, "incremental", known) == (arrived, 70 if number else len(KEYS))


def test_while_a_worker_is_stopped_in_the_middle_no_other_does_its_view_and_says_so(
    tmp_path: Path, workers: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, {"backend": "duckdb", "path": str(tmp_path / "store")}, workers, 9)
    real = Ledger.run_lock
    monkeypatch.setattr(Ledger, "run_lock", lambda self, backend, view, timeout: real(self, backend, view, 0.2))
    point = Point("return", "Backend.online_write", 2, 0)  # before it holds the records' file
    process = workers.start(Task(world.config, world.now, "incremental", point, signal.SIGSTOP))
    assert workers.ended() == -signal.SIGSTOP
    try:
        with world.store() as store:
            (job,) = store.jobs(SETTINGS).incremental().jobs
            assert job.outcome == "overlapped" and "Another materialisation of view 'v'" in str(job.error)
            told = sorted((j.outcome, j.rows_written) for j in store.jobs(SETTINGS).history())
            assert told == [("overlapped", 0), ("running", CHUNK)]
    finally:
        os.kill(process, signal.SIGCONT)
    assert workers.ended() == 0
    with world.store() as store:
        world.check(store)
        assert sorted(j.rows_written for j in store.jobs(SETTINGS).history()) == [0, len(KEYS)]


@pytest.mark.skipif(importlib.util.find_spec("feast") is None, reason='needs Feast: pip install "e2i-fs[feast]"')
def test_killed_workers_on_a_feast_store_are_taken_up_too(tmp_path: Path) -> None:
    config = {"backend": "feast", "path": str(tmp_path / "store"), "online_store": {"type": "sqlite"}}
    with nursery("e2i_fs_feast.backend", *FEAST) as feast_workers:
        World(tmp_path, config, feast_workers, 3).play(8)
