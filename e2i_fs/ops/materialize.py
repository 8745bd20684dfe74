"""Materialisation: the newest row of each key, from history to online, recorded (W-3, W-4).

Every run reads the whole of its window again and merges by the contract's order, so a row that arrived late is
taken up by the next run whatever its event time (W-3), and a run repeated changes nothing.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.backend import Backend, Key, OnlineRow, ParquetRows, ScanPart
from e2i_fs.batch import online_rows
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.definitions import FeatureView, fingerprint
from e2i_fs.errors import RequestError
from e2i_fs.online import row_order
from e2i_fs.ops.ledger import Ledger
from e2i_fs.pit.engine import latest_rows
from e2i_fs.pit.times import moment_to_us

if TYPE_CHECKING:
    from e2i_fs.routing import Outcome

__all__ = ["MaterializationReport", "MaterializationRun", "Progress", "materialize_view"]

CHUNK = 10_000
Progress = Callable[[str, int, int], None]
"""Called with the view, the rows written so far and the rows to write."""


@dataclass(frozen=True, slots=True)
class MaterializationRun:
    """The record of one run (W-4): one view on one backend. ``outcome`` is ``succeeded`` or ``failed``."""

    run_id: str
    backend: str
    view: str
    mode: str
    start: datetime | None
    end: datetime
    outcome: str
    rows_read: int
    rows_written: int
    newest_event_timestamp: datetime | None
    started_at: datetime
    duration: timedelta
    error: str | None = None


@dataclass(frozen=True, slots=True)
class MaterializationReport:
    """All runs of one call; ``failed`` has those that failed (a standby that was down, say)."""

    runs: tuple[MaterializationRun, ...]

    @property
    def failed(self) -> tuple[MaterializationRun, ...]:
        """The runs that failed."""
        return tuple(run for run in self.runs if run.outcome == "failed")

    @property
    def rows_written(self) -> int:
        """Rows written by all runs that succeeded."""
        return sum(run.rows_written for run in self.runs)


def materialize_view(
    backend: Backend,
    backend_name: str,
    catalog: Catalog,
    view_name: str,
    *,
    mode: str,
    start_us: int | None,
    end_us: int,
    ledger: Ledger,
    clock: Clock,
    progress: Progress | None = None,
    lock_timeout: float = 60.0,
) -> MaterializationRun:
    """Materialise one view on one backend and return the run's record, which is kept whatever happens.

    Rows with ``start_us <= event time <= end_us`` count. Raises `RunOverlapError` while another run of the view
    goes on. When the last run failed on the same window and files, its finished chunks are looked up rather than
    written again.
    """
    view, join_keys = catalog.view(view_name), catalog.join_keys(view_name)
    with ledger.run_lock(backend_name, view_name, lock_timeout):
        begun, started_us = clock.monotonic(), to_us(clock.now())
        record: dict[str, Any] = {
            "id": uuid.uuid4().hex, "backend": backend_name, "view": view_name, "mode": mode, "start_us": start_us,
            "end_us": end_us, "outcome": "running", "rows_read": 0, "rows_written": 0, "newest_event_us": None,
            "started_us": started_us, "duration": 0.0, "error": None, "snapshot": None, "chunks": 0,
        }  # fmt: skip
        ledger.save_run(record)
        try:
            parts = backend.scan(view_name, [f.name for f in view.schema], until_us=end_us)
            record["snapshot"] = _snapshot(catalog.fingerprint(view_name), start_us, end_us, parts)
            done = _finished_chunks(ledger, record)
            winners, record["rows_read"] = latest_rows(view, join_keys, parts, start_us=start_us, end_us=end_us)
            if len(winners):
                record["newest_event_us"] = pc.max(winners.column("e")).as_py()
            batch = _as_batch(winners, view, list(join_keys))
            for number, offset in enumerate(range(0, len(batch), CHUNK)):
                chunk = batch.slice(offset, CHUNK)
                keys, rows = online_rows(chunk, view, join_keys)
                if number < done:
                    keys, rows = _not_there(backend, view, keys, rows, to_us(clock.now()))
                if keys:
                    backend.online_write(view_name, keys, rows, at_us=to_us(clock.now()))
                    record["rows_written"] += len(keys)
                record["chunks"] = number + 1
                record["duration"] = clock.monotonic() - begun
                if number + 1 < -(-len(batch) // CHUNK):
                    ledger.save_run(record)
                if progress is not None:
                    progress(view_name, offset + len(chunk), len(batch))
            record["outcome"] = "succeeded"
        except BaseException as error:
            record["outcome"] = "failed"
            record["error"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            record["duration"] = clock.monotonic() - begun
            ledger.save_run(record)
    return run_of(record)


def window(start: datetime | None, end: datetime | None, now_us: int, *, reject_naive: bool) -> tuple[int | None, int]:
    """Return the window to materialise in microseconds; an end later than now is now. Raises when it is empty."""
    start_us = None if start is None else moment_to_us(start, "start", reject_naive=reject_naive)
    end_us = now_us if end is None else min(now_us, moment_to_us(end, "end", reject_naive=reject_naive))
    if start_us is not None and start_us > end_us:
        raise RequestError(
            f"The window is empty: start {from_us(start_us).isoformat()} is after end {from_us(end_us).isoformat()} "
            "(an end later than now is now)."
        )
    return start_us, end_us


def told_run(
    outcome: Outcome, view: str, mode: str, within: tuple[int | None, int], at: datetime
) -> MaterializationRun:
    """Return the record of what became of a run on one backend, the record of a failure if it could not do it."""
    if outcome.error is None:
        done: MaterializationRun = outcome.value
        return done
    start_us, end_us = within
    return MaterializationRun(
        "", outcome.backend, view, mode, None if start_us is None else from_us(start_us), from_us(end_us), "failed",
        0, 0, None, at, timedelta(0), f"{type(outcome.error).__name__}: {outcome.error}",
    )  # fmt: skip


def run_of(record: dict[str, Any]) -> MaterializationRun:
    """Return a kept record as a `MaterializationRun`."""
    newest, start = record["newest_event_us"], record["start_us"]
    return MaterializationRun(
        record["id"], record["backend"], record["view"], record["mode"], None if start is None else from_us(start),
        from_us(record["end_us"]), record["outcome"], record["rows_read"], record["rows_written"],
        None if newest is None else from_us(newest), from_us(record["started_us"]),
        timedelta(seconds=record["duration"]), record["error"],
    )  # fmt: skip


def _as_batch(winners: pa.Table, view: FeatureView, keys: list[str]) -> pa.Table:
    columns = {name: winners.column(f"k{i}") for i, name in enumerate(keys)}
    columns[view.event_column] = winners.column("e")
    if view.created_column:
        columns[view.created_column] = winners.column("c")
    columns |= {f.name: winners.column(f"v{i}") for i, f in enumerate(view.schema)}
    return pa.table(columns)


def _snapshot(view: str, start_us: int | None, end_us: int, parts: Sequence[ScanPart]) -> str | None:
    """Return a hash of what the run reads, None if that cannot be told (a stream)."""
    files = []
    for part in parts:
        if not isinstance(part, ParquetRows):
            return None
        for path in part.paths:
            if not os.path.exists(path):
                return None
            state = os.stat(path)
            files.append([path, state.st_mtime_ns, state.st_size])
    return fingerprint([view, start_us, end_us, files])


def _not_there(
    backend: Backend, view: FeatureView, keys: Sequence[Key], rows: Sequence[OnlineRow], at_us: int
) -> tuple[list[Key], list[OnlineRow]]:
    """Return what of a finished chunk is not online after all: its store may have been emptied since."""
    kept = backend.online_read(view.name, keys, at_us=at_us)
    lost = [
        (key, row)
        for key, row, there in zip(keys, rows, kept, strict=True)
        if there is None or row_order(there, view) < row_order(row, view)
    ]
    return [key for key, _ in lost], [row for _, row in lost]


def _finished_chunks(ledger: Ledger, record: dict[str, Any]) -> int:
    """Return how many chunks the last run of this view finished, if it failed on the very same work."""
    if record["snapshot"] is None:
        return 0
    earlier = [r for r in ledger.runs(record["view"]) if r["backend"] == record["backend"] and r["id"] != record["id"]]
    if not earlier or earlier[0]["outcome"] == "succeeded" or earlier[0]["snapshot"] != record["snapshot"]:
        return 0
    return int(earlier[0]["chunks"])
