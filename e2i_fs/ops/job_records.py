"""The record of jobs, kept in the store's own file: which were done, which are left, whatever process began them (W-4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from e2i_fs.ops.records import Records

__all__ = ["PROCESS_ENDED", "JobRecords"]

PROCESS_ENDED = "The process ended while it ran."  # the error of a job whose process ended

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, view TEXT NOT NULL, mode TEXT NOT NULL, start_us INTEGER, end_us INTEGER NOT NULL,
    outcome TEXT NOT NULL, attempts INTEGER NOT NULL, recoveries INTEGER NOT NULL, rows_read INTEGER NOT NULL,
    rows_written INTEGER NOT NULL, started_us INTEGER NOT NULL, duration REAL NOT NULL, error TEXT, writer TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_by_view ON jobs (view, started_us);
CREATE INDEX IF NOT EXISTS runs_by_job ON runs (job);
"""
_JOB = (
    "id", "view", "mode", "start_us", "end_us", "outcome", "attempts", "recoveries", "rows_read", "rows_written", "started_us",
    "duration", "error", "writer",
)  # fmt: skip


class JobRecords:
    """The jobs in ``records``."""

    def __init__(self, records: Records) -> None:
        self._records = records
        records.extend(_SCHEMA)

    def save(self, job: Mapping[str, Any]) -> None:
        """Write or rewrite one job's record, as one of this process."""
        with self._records.transaction() as db:
            values = {**job, "writer": self._records.writer}  # not before: a forked child has none until then
            marks = ", ".join("?" for _ in _JOB)
            db.execute(
                f"INSERT OR REPLACE INTO jobs ({', '.join(_JOB)}) VALUES ({marks})", tuple(values[n] for n in _JOB)
            )

    def since(self, since_us: int, view: str | None = None) -> list[dict[str, Any]]:
        """Return the jobs that began at ``since_us`` or later, the newest first; of a process that ended, as failed."""
        where, values = ("AND view = ?", (since_us, view)) if view else ("", (since_us,))
        return self._found(f"WHERE started_us >= ? {where} ORDER BY started_us DESC, rowid DESC", values)

    def unfinished(self, view: str, most: int) -> list[dict[str, Any]]:
        """Return the full jobs of ``view`` that did not do their work, the oldest first, without those given up.

        Left out is what was taken up ``most`` times, and what a later job that succeeded has covered.
        """
        found = self._found("WHERE view = ? AND mode = 'full' ORDER BY started_us, rowid", (view,))
        left: list[dict[str, Any]] = []
        for job in found:
            if job["outcome"] == "succeeded":
                left = [
                    other
                    for other in left
                    if not (job["start_us"] <= other["start_us"] and other["end_us"] <= job["end_us"])
                ]
            elif job["outcome"] in ("failed", "timed out") and job["recoveries"] < most:
                left.append(job)
        return left

    def last_started(self, view: str, mode: str) -> int | None:
        """Return when the newest job of ``view`` began, in microseconds, whatever became of it; None when there was none."""
        found = self._records.query("SELECT max(started_us) FROM jobs WHERE view = ? AND mode = ?", (view, mode))
        latest: int | None = found[0][0]
        return latest

    def rows_of(self, job: str) -> tuple[int, int]:
        """Return how many rows the runs of a job have read and written, on the backend that took most of them."""
        sql = "SELECT sum(rows_read), sum(rows_written) FROM runs WHERE job = ? GROUP BY backend ORDER BY 2 DESC, 1 DESC LIMIT 1"
        found = self._records.query(sql, (job,))
        return found[0] if found else (0, 0)

    def newest_events(self, since_us: int) -> dict[str, int]:
        """Return the newest event time that each job which began at ``since_us`` or later brought online, in microseconds."""
        sql = (
            "SELECT job, max(newest_event_us) FROM runs WHERE job IN (SELECT id FROM jobs WHERE started_us >= ?) "
            "AND newest_event_us IS NOT NULL GROUP BY job"
        )
        return dict(self._records.query(sql, (since_us,)))

    def _found(self, rest: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        jobs = [
            dict(zip(_JOB, row, strict=True))
            for row in self._records.query(f"SELECT {', '.join(_JOB)} FROM jobs {rest}", values)
        ]
        return [self._as_it_is(job) if job["outcome"] == "running" else job for job in jobs]

    def _as_it_is(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return a job that was not ended with the rows of its runs so far, and with what became of it if its process ended."""
        read, written = self.rows_of(job["id"])
        job |= {"rows_read": read, "rows_written": written}
        if self._records.busy(job["writer"]):
            return job
        if self._records.query("SELECT 1 FROM runs WHERE job = ? AND outcome = 'succeeded' LIMIT 1", (job["id"],)):
            return job | {"outcome": "succeeded"}  # it had done its work, and could not say so any more
        return job | {"outcome": "failed", "error": PROCESS_ENDED}
