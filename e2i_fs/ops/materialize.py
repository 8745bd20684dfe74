"""Materialisation: the newest row of each key, from history to online, recorded (W-3, W-4).

A run reads its window in steps and merges by the contract's order, so a run repeated changes nothing. An incremental run
reads what arrived since the last one, whatever its event time (W-3): see `e2i_fs.ops.seen`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from e2i_fs.backend import Backend, Key, KnowsLosses, OnlineRow
from e2i_fs.batch import online_rows
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.definitions import FeatureView
from e2i_fs.entries import Live
from e2i_fs.errors import RunTimeoutError
from e2i_fs.online import GRACE_US, row_order
from e2i_fs.ops.ledger import Ledger
from e2i_fs.ops.pace import Pace
from e2i_fs.ops.seen import Seen, Standing, Witness, file_states, witnesses_of
from e2i_fs.ops.steps import Step, Work, arrivals, windows
from e2i_fs.pit.latest import LatestRows, latest_rows

__all__ = ["MaterializationReport", "MaterializationRun", "materialize_view", "preview_view", "run_of"]

CHUNK = 10_000

_log = logging.getLogger("e2i_fs.materialize")


@dataclass(frozen=True, slots=True)
class MaterializationRun:
    """The record of one run: one view on one backend (W-4).

    ``mode`` is ``full`` or ``incremental``; the window is ``start`` (None: from the beginning) to ``end``, both
    included, in UTC. ``outcome`` is ``succeeded``, ``failed``, ``running`` or ``planned`` (a dry run). ``error`` says
    why it failed, as ``Type: message``. ``job_id`` names the `Job` that it was a try of, if any.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     (run,) = store.materialize_incremental().runs
    >>> run.view, run.mode, run.outcome, run.rows_read, run.rows_written, run.newest_event_timestamp.day
    ('hcp_stats', 'incremental', 'succeeded', 3, 2, 8)
    """

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
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class MaterializationReport:
    """All runs of one call, one per view and backend; ``failed`` has those that failed, say on a standby that was down.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     report = store.materialize_incremental()
    >>> report.rows_written, report.failed
    (2, ())
    """

    runs: tuple[MaterializationRun, ...]

    @property
    def failed(self) -> tuple[MaterializationRun, ...]:
        """The runs that failed."""
        return tuple(run for run in self.runs if run.outcome == "failed")

    @property
    def rows_written(self) -> int:
        """The number of rows written by all runs that succeeded."""
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
    batch_us: int | None = None,
    live: Live | None = None,
    lock_timeout: float = 60.0,
) -> MaterializationRun:
    """Materialise one view on one backend and return the run's record, which is kept whatever happens.

    Rows with ``start_us <= event time <= end_us`` count; with ``batch_us`` they are read in windows of so long. An
    incremental run (``mode``) that is ``live`` reads what arrived since the last one. What an earlier run that failed had
    finished is not done again while its files are the same and its rows are there. Raises `RunOverlapError` while another
    run of the view goes on, `RunTimeoutError` when the time for it is over.
    """
    with ledger.run_lock(backend_name, view_name, lock_timeout):
        run = _Run(backend, backend_name, catalog, view_name, ledger, clock, live or Live())
        run.record |= {"mode": mode, "start_us": start_us, "end_us": end_us}
        ledger.begin_run(run.record, run.record["started_us"], GRACE_US)
        try:
            run.carry_out(batch_us, everything=live is None)
            run.record["outcome"] = "succeeded"
        except BaseException as error:
            run.record |= {"outcome": "failed", "error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            run.end()
    return run_of(run.record)


def preview_view(
    backend: Backend, backend_name: str, catalog: Catalog, view_name: str, *, mode: str, start_us: int | None, end_us: int,
    ledger: Ledger, clock: Clock, batch_us: int | None = None,
) -> MaterializationRun:  # fmt: skip
    """Return what a run would read and write now, as a record whose ``outcome`` is ``planned``. Nothing is changed."""
    run = _Run(backend, backend_name, catalog, view_name, ledger, clock, Live())
    run.record |= {"id": "", "mode": mode, "start_us": start_us, "end_us": end_us, "outcome": "planned"}
    for step, _, done in run.steps(batch_us, everything=False):
        with closing(run.winners(step)) as found:
            run.count(found)
            run.record["rows_written"] += max(0, found.rows - done * CHUNK)
    return run_of(run.record)


class _Run:
    """One run: its record, and how far it is."""

    def __init__(
        self, backend: Backend, name: str, catalog: Catalog, view: str, ledger: Ledger, clock: Clock, live: Live
    ) -> None:
        self._backend = backend
        self._view = catalog.view(view)
        self._join_keys = catalog.join_keys(view)
        self._fingerprint = catalog.fingerprint(view)
        self._ledger = ledger
        self._clock = clock
        self._live = live
        self._begun = clock.monotonic()
        self._witnesses: list[Witness] = []
        self._covered: Seen | None = None
        self._loss = backend.lost(view) if isinstance(backend, KnowsLosses) else 0
        self._standing = Standing(self._fingerprint, loss=self._loss)
        self._pace = Pace(view, live.progress)
        self.record: dict[str, Any] = {
            "id": uuid.uuid4().hex, "backend": name, "view": view, "outcome": "running", "rows_read": 0, "rows_written": 0,
            "newest_event_us": None, "started_us": to_us(clock.now()), "duration": 0.0, "error": None, "chunks": 0,
            "job": live.job,
        }  # fmt: skip

    # ---- what is to be done -------------------------------------------------------------------------------

    def steps(self, batch_us: int | None, *, everything: bool) -> Iterator[tuple[Step, Work, int]]:
        """Yield the steps to do, each with the work to note while it is done, and how many of its pieces are done already."""
        record, at_us = self.record, to_us(self._clock.now())
        start_us, end_us = record["start_us"], record["end_us"]
        parts = self._backend.scan(self._view.name, [f.name for f in self._view.schema], until_us=end_us)
        files = file_states(parts)
        left = self._left(at_us)
        work = Work(self._standing, [] if left is None else left.done)
        seen = self._seen(at_us)
        for earlier in (seen, left):
            if earlier is not None:
                self._standing = self._standing.joined(earlier.standing)
        if record["mode"] == "incremental" and start_us is None and not everything:
            for step, fresh, old in arrivals(parts, files, self._fingerprint, end_us, seen, left):
                work.fresh, work.old, work.until_us = fresh, old, step.seen_until_us
                yield self._begin(step, work, left)
                self._covered = Seen(self._standing, step.end_us, {**fresh, **old})
            return
        every = windows(parts, files, self._fingerprint, (start_us, end_us), batch_us, left)
        to_do = [s for s in every if s.state is None or (s.start_us, s.end_us, s.state) not in work.done]
        self._pace.steps_left = len(to_do)
        for step in to_do:
            yield self._begin(step, work, left)
            if step.state is not None:
                work.done = [*work.done, (step.start_us, step.end_us, step.state)]
        if start_us is None:
            self._covered = Seen(self._standing, end_us, files)

    def _begin(self, step: Step, work: Work, left: Work | None) -> tuple[Step, Work, int]:
        work.standing = self._standing
        work.current = None if step.state is None else (step.start_us, step.end_us, step.state)
        same = left is not None and step.state is not None and left.current == work.current
        return step, work, left.chunks if left is not None and same else 0

    def _left(self, at_us: int) -> Work | None:
        """Return what the last run of this mode did not finish; None when that is worth nothing any more."""
        found = self._ledger.work(self.record["backend"], self._view.name, self.record["mode"])
        left = None if found is None else Work.unpacked(*found)
        if left is None or not self._holds(left.standing, at_us):
            return None
        return left

    def _seen(self, at_us: int) -> Seen | None:
        """Return what earlier runs covered; None when the online rows, or the view, are others by now."""
        found = self._ledger.seen(self.record["backend"], self._view.name)
        seen = None if found is None else Seen.unpacked(found)
        if seen is None or not self._holds(seen.standing, at_us):
            return None
        return seen

    def _holds(self, standing: Standing, at_us: int) -> bool:
        return standing.holds(self._backend, self._view.name, self._fingerprint, at_us, self._loss)

    # ---- doing it -----------------------------------------------------------------------------------------

    def carry_out(self, batch_us: int | None, *, everything: bool) -> None:
        """Do every step."""
        for step, work, done in self.steps(batch_us, everything=everything):
            self._ledger.save_work(self._timed(), done, work.packed(), self._packed())
            with closing(self.winners(step)) as found:
                self._check_time()
                self._pace.begin(found.rows)
                self._put_online(found, done)
                self.count(found)
            sequence, _, rows = self._backend.position(self._view.name)
            reached = Standing(self._fingerprint, sequence, rows, tuple(self._witnesses), self._loss)
            self._standing = self._standing.joined(reached)
            self._witnesses.clear()
        if self._loss:
            self._end_loss()

    def _end_loss(self) -> None:
        """Let the backend answer again, if this is a full run that has brought all of history online.

        What was written online only comes back by whoever wrote it, and that it has is for a person to say, by that run.
        """
        name, backend = self._view.name, self._backend
        assert isinstance(backend, KnowsLosses)
        why = ""
        if self.record["mode"] == "full" and self._covered is not None:
            if backend.recovered(name, self._loss, until_us=self._covered.end_us):
                return
            why = " This run did not end it: its end is before the newest of them, or rows were lost while it ran."
        _log.warning(
            "View %r of backend %r lost online rows and is not answered: write again what was written online only, then call "
            "store.materialize(None, views=[%r]).%s",
            name, self.record["backend"], name, why,
        )  # fmt: skip

    def winners(self, step: Step) -> LatestRows:
        """Find the rows of one step."""
        return latest_rows(
            self._view, self._join_keys, step.parts, start_us=step.start_us, end_us=step.end_us, seen=step.seen,
            seen_until_us=step.seen_until_us,
        )  # fmt: skip

    def count(self, found: LatestRows) -> None:
        """Count what a step has looked at."""
        record = self.record
        record["rows_read"] += found.looked_at
        if found.newest_us is not None:
            record["newest_event_us"] = max(found.newest_us, record["newest_event_us"] or found.newest_us)

    def _put_online(self, found: LatestRows, done: int) -> None:
        for number in range(-(-found.rows // CHUNK)):
            batch = _as_batch(found.piece(number * CHUNK, CHUNK), self._view, list(self._join_keys))
            keys, rows = online_rows(batch, self._view, self._join_keys)
            if number < done and self._loss:
                continue  # what was written since the loss is there, else there was another one
            if number < done:
                keys, rows = _not_there(self._backend, self._view, keys, rows, to_us(self._clock.now()))
            if keys:
                self._check_time()
                self._backend.online_write(self._view.name, keys, rows, at_us=self._present_us())
                self._witnesses += witnesses_of(keys, rows)
            self.record["rows_written"] += len(keys)
            self.record["chunks"] += 1
            if number >= done:
                self._ledger.save_work(self._timed(), number + 1)
            self._pace.tell(min((number + 1) * CHUNK, found.rows))

    def _present_us(self) -> int:
        """Return the moment of a write: never later than when the run began, which is how far it is noted to have reached."""
        return min(to_us(self._clock.now()), int(self.record["started_us"]))

    def end(self) -> None:
        """Keep the record as it is, and what the run covered if it succeeded."""
        if self.record["outcome"] != "succeeded":
            self._ledger.save_run(self._timed())
            return
        self._ledger.end_run(self._timed(), self._packed())

    def _packed(self) -> bytes | None:
        return None if self._covered is None else replace(self._covered, standing=self._standing).packed()

    def _timed(self) -> dict[str, Any]:
        self.record["duration"] = self._clock.monotonic() - self._begun
        return self.record

    def _check_time(self) -> None:
        if self._live.until is not None and self._clock.monotonic() >= self._live.until:
            raise RunTimeoutError(
                f"The run of view {self._view.name!r} took longer than {self._live.timeout:g} s. What it wrote "
                f"({self.record['rows_written']} rows) stays, and the next run goes on from there; give it more time, or smaller batches."
            )


def run_of(record: dict[str, Any]) -> MaterializationRun:
    """Return a kept record as a `MaterializationRun`."""
    newest, start = record["newest_event_us"], record["start_us"]
    return MaterializationRun(
        record["id"], record["backend"], record["view"], record["mode"], None if start is None else from_us(start),
        from_us(record["end_us"]), record["outcome"], record["rows_read"], record["rows_written"],
        None if newest is None else from_us(newest), from_us(record["started_us"]),
        timedelta(seconds=record["duration"]), record["error"], record["job"],
    )  # fmt: skip


def _as_batch(winners: pa.Table, view: FeatureView, keys: list[str]) -> pa.Table:
    columns = {name: winners.column(f"k{i}") for i, name in enumerate(keys)}
    columns[view.event_column] = winners.column("e")
    if view.created_column:
        columns[view.created_column] = winners.column("c")
    columns |= {f.name: winners.column(f"v{i}") for i, f in enumerate(view.schema)}
    return pa.table(columns)


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
