"""Jobs over days, by view and mode: how many did their work, how long they took, and what went wrong last."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2i_fs.ops.jobs import Job

__all__ = ["JobSummary", "summarised"]


@dataclass(frozen=True, slots=True)
class JobSummary:
    """The jobs of one view and mode that began within a number of days.

    ``jobs`` is the total of those that ``succeeded``, ``failed``, ``timed_out``, ``overlapped`` (another run of the
    view was going on) and are ``running``. ``recoveries`` counts how often a job was resumed. ``duration_p50``,
    ``duration_p95`` and ``duration_max`` are over the jobs that ended, all tries included, by the nearest rank; None
    when none ended. ``last_success`` is when the last successful job ended, ``last_error`` the message of the last that
    failed or timed out, and ``newest_event_timestamp`` the newest event time that any of them brought online. Times are
    in UTC.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     jobs = store.jobs()
    ...     _ = jobs.incremental()
    ...     (told,) = jobs.summary()
    >>> told.view, told.jobs, told.succeeded, told.rows_written
    ('hcp_stats', 1, 1, 2)
    """

    view: str
    mode: str
    jobs: int
    succeeded: int
    failed: int
    timed_out: int
    overlapped: int
    running: int
    recoveries: int
    rows_read: int
    rows_written: int
    duration_p50: timedelta | None
    duration_p95: timedelta | None
    duration_max: timedelta | None
    last_success: datetime | None
    last_error: str | None
    newest_event_timestamp: datetime | None


def summarised(jobs: Iterable[Job], newest: Mapping[str, datetime]) -> list[JobSummary]:
    """Return a summary for each view and mode, by name; ``newest`` is the newest event time by job."""
    of: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        of.setdefault((job.view, job.mode), []).append(job)
    return [_summary(view, mode, of[view, mode], newest) for view, mode in sorted(of)]


def _summary(view: str, mode: str, jobs: Sequence[Job], newest: Mapping[str, datetime]) -> JobSummary:
    def counted(outcome: str) -> int:
        return sum(job.outcome == outcome for job in jobs)

    ended = sorted(job.duration for job in jobs if job.outcome in ("succeeded", "failed", "timed out"))
    done = [job.started_at + job.duration for job in jobs if job.outcome == "succeeded"]
    wrong = [job for job in jobs if job.outcome in ("failed", "timed out")]
    last = max(wrong, key=lambda job: job.started_at, default=None)
    return JobSummary(
        view=view,
        mode=mode,
        jobs=len(jobs),
        succeeded=counted("succeeded"),
        failed=counted("failed"),
        timed_out=counted("timed out"),
        overlapped=counted("overlapped"),
        running=counted("running"),
        recoveries=sum(job.recoveries for job in jobs),
        rows_read=sum(job.rows_read for job in jobs),
        rows_written=sum(job.rows_written for job in jobs),
        duration_p50=_rank(ended, 0.50),
        duration_p95=_rank(ended, 0.95),
        duration_max=_rank(ended, 1.0),
        last_success=max(done, default=None),
        last_error=None if last is None else last.error,
        newest_event_timestamp=max((newest[job.job_id] for job in jobs if job.job_id in newest), default=None),
    )


def _rank(ordered: Sequence[timedelta], share: float) -> timedelta | None:
    """Return the nearest-rank quantile: the smallest that at least ``share`` of all do not exceed.

    >>> _rank([timedelta(seconds=n) for n in (1, 2, 3, 4)], 0.5)
    datetime.timedelta(seconds=2)
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
