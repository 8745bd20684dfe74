"""Whatever arrives, whenever, and wherever runs are killed: after the next run online equals the oracle (W-3, W-4, O-6)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from e2i_fs_duckdb.online import OnlineRows
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.ops import materialize
from e2i_fs.ops.ledger import Ledger
from e2i_fs.testing import oracle
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.directed import NOW

HOUR = timedelta(hours=1)
KEYS = ["a", "b", "c", "d", "e"]

Rows = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(-60, 6), st.integers(0, 3)), min_size=1, max_size=6)
"""Rows as key, event time in hours from now (late ones, ones of the future), value."""

Step = st.one_of(
    st.tuples(st.just("file"), Rows),
    st.tuples(st.just("rewritten"), Rows),
    st.tuples(st.just("offline"), Rows),
    st.tuples(st.just("push"), Rows),
    st.tuples(st.just("again"), st.integers(0, 9)),
    st.tuples(st.just("clock"), st.integers(1, 40)),
    st.tuples(st.just("incremental"), st.none() | st.integers(0, 12)),
    st.tuples(st.just("full"), st.none() | st.integers(0, 12)),
    st.tuples(st.just("incremental"), st.none() | st.integers(0, 12)),
)


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def killed_after(calls: int | None) -> Iterator[None]:
    """After so many calls that change anything durable, be as a killed process is: nothing durable changes any more."""
    left = [calls if calls is not None else -1]

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*args, **more)

        return call

    names = [(Ledger, n) for n in ("begin_run", "save_run", "save_work", "end_run")] + [(OnlineRows, "write")]
    patches = [mock.patch.object(owner, name, dying(getattr(owner, name))) for owner, name in names]
    for patch in patches:
        patch.start()
    try:
        yield
    except Killed:
        event("killed")
    finally:
        for patch in patches:
            patch.stop()


class World:
    """A store over a folder of files, and all rows that ever arrived."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock(NOW)
        self.rows: list[tuple[str, datetime, datetime, int]] = []
        self.batches: list[list[tuple[str, datetime, datetime, int]]] = []
        self.files = 0
        self.file([("a", 0, 0)])
        self.store = self.open()
        source = fs.ParquetSource(str(folder / "in"), created_timestamp_field="created")
        schema = [fs.Field("x", fs.Int64)]
        self.store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=schema, source=source)])

    def open(self) -> fs.FeatureStore:
        return fs.connect({"backend": "duckdb", "path": str(self.folder / "store")}, clock=self.clock)

    def made(
        self, rows: list[tuple[str, int, int]], *, latest: timedelta | None = None
    ) -> list[tuple[str, datetime, datetime, int]]:
        now = self.clock.now()
        times = [timedelta(hours=h) if latest is None else min(timedelta(hours=h), latest) for _, h, _ in rows]
        return [(k, now + t, now, x) for (k, _, x), t in zip(rows, times, strict=True)]

    def table(self, rows: list[tuple[str, datetime, datetime, int]]) -> pa.Table:
        keys, events, created, values = zip(*rows, strict=True)
        stamp = pa.timestamp("us", "UTC")
        return pa.table(
            {"k": keys, "event_timestamp": pa.array(events, stamp), "created": pa.array(created, stamp), "x": values}
        )

    def file(self, rows: list[tuple[str, int, int]]) -> None:
        self.files += 1
        self._put(f"{self.files}.parquet", self.made(rows))

    def rewritten(self, rows: list[tuple[str, int, int]]) -> None:
        """Rows are added to a file that is there: it is written again."""
        path = self.folder / "in" / f"{1 + len(rows) % self.files}.parquet"
        kept = pq.read_table(path)
        new = self.made(rows)
        pq.write_table(pa.concat_tables([kept, self.table(new).cast(kept.schema)]), path)
        self.rows += new

    def _put(self, name: str, rows: list[tuple[str, datetime, datetime, int]]) -> None:
        (self.folder / "in").mkdir(exist_ok=True)
        pq.write_table(self.table(rows), self.folder / "in" / name)
        self.rows += rows
        self.batches.append(rows)

    def again(self, number: int) -> None:
        """A batch that came before comes once more, as a file of its own."""
        self.files += 1
        self._put(f"{self.files}.parquet", list(self.batches[number % len(self.batches)]))

    def offline(self, rows: list[tuple[str, int, int]]) -> None:
        new = self.made(rows, latest=timedelta(0))
        self.store.write("v", self.table(new), to="offline")
        self.rows += new

    def push(self, rows: list[tuple[str, int, int]]) -> None:
        new = self.made(rows, latest=timedelta(0))
        self.store.write("v", self.table(new), to="both")
        self.rows += new

    def run(self, mode: str, calls: int | None) -> None:
        """Do a run; one that is to be killed is, after so many calls, and the store is opened again."""
        with killed_after(calls):
            if mode == "incremental":
                self.store.materialize_incremental()
            else:
                self.store.materialize(NOW - 100 * HOUR, None, batch=timedelta(days=1))
            return
        self.store.close()
        self.store = self.open()

    def check(self) -> None:
        """Every key online has the oracle's answer now."""
        self.store.materialize_incremental()
        rows = [oracle.Row((k,), event, created, (x,)) for k, event, created, x in self.rows]
        right = oracle.online(
            oracle.by_key(rows, [fs.String]), [(k,) for k in KEYS], self.clock.now(), [fs.String], [fs.Int64]
        )
        answer = self.store.get_online_features(["v:x"], [{"k": key} for key in KEYS])
        got = list(zip(answer.to_dict()["x"], [str(s) for s in answer.statuses["v:x"]], strict=True))
        assert got == [(r.values[0], r.statuses[0]) for r in right]


@pytest.mark.rule("W-3", "W-4", "O-6")
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(Step, min_size=3, max_size=10))
def test_after_the_next_run_online_is_what_the_oracle_says(steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(materialize, "CHUNK", 2):
        world = World(Path(folder))
        try:
            for name, value in steps:
                match name:
                    case "clock":
                        world.clock.advance(timedelta(hours=value))
                    case "incremental" | "full":
                        world.run(name, value)
                    case _:
                        getattr(world, name)(value)
                if name in ("incremental", "full"):
                    world.check()
            world.check()
        finally:
            world.store.close()
