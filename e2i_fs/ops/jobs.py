"""Jobs: one view's window, tried until it is done or given up, and recorded whatever happens (W-4)."""

from __future__ import annotations

import concurrent.futures
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.errors import BackendError, E2IError, FailoverError, RequestError, RunOverlapError, RunTimeoutError
from e2i_fs.ops.job_records import JobRecords
from e2i_fs.ops.job_summary import JobSummary, summarised
from e2i_fs.ops.periods import since_us
from e2i_fs.ops.runs import Runner, Wanted
from e2i_fs.ops.settings import MaterializationConfig
from e2i_fs.pool import DaemonPool, carried
from e2i_fs.telemetry.events import JobEnded

if TYPE_CHECKING:
    from e2i_fs.entries import Progress
    from e2i_fs.ops.checks import Checks
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.materialize import MaterializationReport, MaterializationRun

__all__ = ["Job", "JobReport", "Jobs"]

_AGAIN = (BackendError, FailoverError)  # what may be otherwise the next time
_LEEWAY = 5.0
_MOST_TRIES = 10_000


class _HungError(RunTimeoutError):
    """The try is still at it, in a thread that nobody waits for any more."""


@dataclass(frozen=True, slots=True)
class Job:
    """One materialisation job: a view, a window of event times, and how it ended.

    ``mode`` is ``full`` or ``incremental``. The window is ``start`` to ``end``, both included (UTC); ``start`` is None
    for an incremental job. ``outcome`` is ``succeeded``, ``failed``, ``timed out``, ``overlapped`` (another run of the
    view was going on), ``running`` or ``planned``. ``attempts`` counts all tries, ``recoveries`` how often the job was
    resumed after it had failed for good. ``rows_read`` and ``rows_written`` are the totals of its tries on the first
    backend, each row counted once. ``error`` is the last try's, as ``Type: message``.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     (job,) = store.jobs().full(days_back=7).jobs
    >>> job.view, job.mode, job.outcome, job.attempts, job.rows_written
    ('hcp_stats', 'full', 'succeeded', 1, 2)
    """

    job_id: str
    view: str
    mode: str
    start: datetime | None
    end: datetime
    outcome: str
    attempts: int
    recoveries: int
    rows_read: int
    rows_written: int
    started_at: datetime
    duration: timedelta
    error: str | None = None


@dataclass(frozen=True, slots=True)
class JobReport:
    """How the jobs of one call ended, in order; ``failed`` has those that did not succeed.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     report = store.jobs().incremental()
    >>> len(report.jobs), report.failed
    (1, ())
    """

    jobs: tuple[Job, ...]

    @property
    def failed(self) -> tuple[Job, ...]:
        """The jobs that failed or timed out."""
        return tuple(job for job in self.jobs if job.outcome in ("failed", "timed out"))


class Jobs:
    """Materialises the views of one store as jobs, by its settings; returned by `Store.jobs`.

    Each try has the settings' time limit. A run checks the time only between two pieces, so a try is waited for
    ``leeway`` seconds longer; then it is abandoned. ``sleep(seconds)`` waits between two tries, and
    ``again(job, seconds)``, if given, is called before that with the job as its last try left it. A job that fails is
    in the report, and not raised.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     jobs = store.jobs()
    ...     _ = jobs.incremental()
    ...     [(job.view, job.outcome) for job in jobs.history()]
    [('hcp_stats', 'succeeded')]
    """

    def __init__(
        self, runs: Runner, views: Callable[[Sequence[str] | None], list[str]], settings: MaterializationConfig,
        records: JobRecords, clock: Clock, sleep: Callable[[float], None] = time.sleep,
        leeway: float = _LEEWAY, *, checks: Checks, again: Callable[[Job, float], None] | None = None,
    ) -> None:  # fmt: skip
        self._leeway = leeway
        self._again = again
        self._checks = checks
        self._runs = runs
        self._views = views
        self._settings = settings
        self._records = records
        self._clock = clock
        self._sleep = sleep

    def incremental(
        self, views: Sequence[str] | None = None, *, end: datetime | None = None, dry_run: bool = False,
        progress: Progress | None = None,
    ) -> JobReport:  # fmt: skip
        """Copy to online what arrived since the last run of each view, late and corrected rows included (W-3).

        ``views`` are names, all online views by default; ``end`` is at most now; ``dry_run=True`` only counts rows;
        ``progress(view, done, total)`` is called with numbers of rows. However long ago the last run was, nothing in
        between is lost. Full jobs that failed for good, or whose process ended, are resumed first, at most
        ``recovery.max_attempts`` times. A view that fails does not stop the others. Raises `UnknownFeatureError` for an
        unknown view.
        """
        names = self._views(views)
        end = self._runs.moment(end, "end")
        wanted = [self._wanted(name, "incremental", None, end) for name in names]
        if dry_run:
            return JobReport(tuple(self._planned(job) for job in wanted))
        return JobReport((*self._recovered(names, progress), *(self._done(job, end, progress) for job in wanted)))

    def full(
        self, views: Sequence[str] | None = None, *, start: datetime | None = None, end: datetime | None = None,
        days_back: float | None = None, dry_run: bool = False, progress: Progress | None = None,
    ) -> JobReport:  # fmt: skip
        """Copy the newest row of each key with ``start <= event time <= end`` to online, whatever was run before.

        Without ``start`` the window begins ``days_back`` days (or ``full.lookback_days``) before ``end``, rounded down
        to the beginning of a batch. ``end`` is at most now, and now by default. A window of more than
        ``full.max_days_per_job`` days becomes several jobs, the oldest first. ``views``, ``dry_run`` and ``progress``
        are those of `incremental`. Raises `RequestError` for an empty window, for ``start`` together with
        ``days_back``, or for ``days_back`` that is not above 0, and `UnknownFeatureError` for an unknown view.
        """
        if start is not None and days_back is not None:
            raise RequestError("start and days_back are both given; give one of them.")
        if days_back is not None and not days_back > 0:
            raise RequestError(f"days_back is {days_back!r}; give a number of days above 0.")
        start, end = self._runs.moment(start, "start"), self._runs.moment(end, "end")
        last = self._clock.now() if end is None else min(end, self._clock.now())
        days = self._settings.full.lookback_days if days_back is None else days_back
        first = self._batch_start(_before(last, days)) if start is None else start
        wanted = [
            self._wanted(name, "full", lo, hi)
            for name in self._views(views)
            for lo, hi in _jobs(first, last, timedelta(days=self._settings.full.max_days_per_job))
        ]
        if dry_run:
            return JobReport(tuple(self._planned(job) for job in wanted))
        return JobReport(tuple(self._done(job, job.end, progress) for job in wanted))

    def recover(self, views: Sequence[str] | None = None, *, progress: Progress | None = None) -> JobReport:
        """Resume the full jobs that failed for good or whose process ended, unless a later job covered them (W-4).

        A job is resumed at most ``recovery.max_attempts`` times. Returns a `JobReport` of those that were resumed.
        """
        return JobReport(tuple(self._recovered(self._views(views), progress)))

    def check_freshness(self, views: Sequence[str] | None = None) -> dict[str, FreshnessReport]:
        """Check the freshness of each online view (or of those named) by these settings, and record it (F-3).

        Returns a `FreshnessReport` by view name. `Store.freshness_history` reads the records, which are kept for
        ``freshness.history_days``. A check that errors has failed (F-2): it is recorded as such, the other views are
        still checked, and then the first error is raised, with the others as its notes.
        """
        return self._checks.check(self._views(views), named=views is not None)

    def history(self, view: str | None = None, *, days: float = 7.0) -> list[Job]:
        """Return the jobs that began in the last ``days``, the newest first: of one view, or of all (W-4).

        Raises `RequestError` unless ``days`` is a number above 0 and at most 36,500.
        """
        since = since_us(self._clock.now(), days)
        return [_job(record) for record in self._records.since(since, view)]

    def summary(self, *, days: float = 7.0) -> list[JobSummary]:
        """Return a `JobSummary` for each view and mode, by name, of jobs begun in the last ``days`` (W-4).

        Raises `RequestError` unless ``days`` is a number above 0 and at most 36,500.
        """
        since = since_us(self._clock.now(), days)
        newest = {job: from_us(us) for job, us in self._records.newest_events(since).items()}
        return summarised(map(_job, self._records.since(since)), newest)

    def runs(self, job_id: str) -> list[MaterializationRun]:
        """Return the records of a job's tries on each backend, newest first; empty for an unknown job (W-4)."""
        return self._runs.records(None, _MOST_TRIES, job=job_id)

    def last_started(self, view: str, mode: str) -> datetime | None:
        """Return when the newest job of ``view`` in a mode (``incremental``, ``full``) began, in UTC, or None."""
        found = self._records.last_started(view, mode)
        return None if found is None else from_us(found)

    # ---- one job ------------------------------------------------------------------------------------------

    def _wanted(self, view: str, mode: str, start: datetime | None, end: datetime | None) -> Job:
        now = self._clock.now()
        last = now if end is None else min(end, now)
        return Job(uuid.uuid4().hex, view, mode, start, last, "running", 0, 0, 0, 0, now, timedelta(0))

    def _planned(self, job: Job) -> Job:
        (run, *_) = self._runs.preview(Wanted(job.mode, [job.view], job.start, job.end, self._batch(job))).runs
        outcome = "planned" if run.error is None else "failed"
        return replace(job, outcome=outcome, rows_read=run.rows_read, rows_written=run.rows_written, error=run.error)

    def _done(self, job: Job, end: datetime | None, progress: Progress | None) -> Job:
        """Try the job, up to ``end`` (None: what is now then), until it is done, or there are no tries left."""
        begun, settings = self._clock.monotonic(), self._settings.jobs
        if not job.attempts:  # it begins now, not when the call did, which has done other views since
            job = replace(job, started_at=self._clock.now())
        earlier = job.duration
        for number in range(settings.retries + 1):
            if number:
                seconds = settings.retry_delay_seconds * settings.retry_backoff ** (number - 1)
                if self._again is not None:
                    self._again(job, seconds)
                self._sleep(seconds)
            over = number == settings.retries
            job = replace(job, outcome="running", attempts=job.attempts + 1)
            self._keep(job)
            try:
                job = replace(job, outcome="succeeded", error=_missed(self._try(job, end, progress)))
            except RunOverlapError as error:
                job = replace(job, outcome="overlapped", error=str(error))
            except RunTimeoutError as error:
                job = replace(job, outcome="timed out", error=f"{RunTimeoutError.__name__}: {error}")
                over = over or isinstance(error, _HungError)
            except _AGAIN as error:
                job = replace(job, outcome="failed", error=f"{type(error).__name__}: {error}")
            except E2IError as error:
                job = replace(job, outcome="failed", error=f"{type(error).__name__}: {error}")
                over = True  # the caller's mistake, which it stays
            except BaseException as error:
                said = f"{type(error).__name__}: {error}".removesuffix(": ")  # KeyboardInterrupt says nothing more
                self._ended(replace(job, outcome="failed", error=said))
                raise
            read, written = self._records.rows_of(job.job_id)
            duration = earlier + timedelta(seconds=self._clock.monotonic() - begun)
            job = replace(job, rows_read=read, rows_written=written, duration=duration)
            self._keep(job)
            if over or job.outcome in ("succeeded", "overlapped"):
                break
        self._tell(job)
        if job.outcome == "succeeded":
            self._checks.note(job.view)
        return job

    def _try(self, job: Job, end: datetime | None, progress: Progress | None) -> MaterializationReport:
        timeout = self._settings.jobs.timeout_seconds
        batch = self._batch(job)
        wanted = Wanted(job.mode, [job.view], job.start, end, batch, timeout, progress, job.job_id)
        thread = DaemonPool("e2i_fs job", 1)
        running = thread.submit(carried(lambda: self._runs.run(wanted)))
        thread.close()  # it ends with the run
        concurrent.futures.wait([running], timeout + self._leeway)
        if running.done():
            return running.result()
        raise _HungError(
            f"The run of view {job.view!r} exceeded its limit of {timeout:g} s and did not stop within {self._leeway:g} s after it: a "
            "source or a backend hangs. It was abandoned, and no other run of the view begins before it ends."
        )

    def _recovered(self, views: Iterable[str], progress: Progress | None) -> Iterator[Job]:
        most = self._settings.recovery.max_attempts
        for name in views:
            for record in self._records.unfinished(name, most):
                left = replace(_job(record), outcome="running", recoveries=record["recoveries"] + 1)
                yield self._done(left, left.end, progress)

    def _ended(self, job: Job) -> None:
        self._keep(job)
        self._tell(job)

    def _tell(self, job: Job) -> None:
        self._runs.emit(
            lambda at: JobEnded(
                at, job.view, job.mode, job.outcome, job.attempts, job.rows_read, job.rows_written,
                job.duration.total_seconds(), job.error, job.job_id,
            )
        )  # fmt: skip

    def _keep(self, job: Job) -> None:
        self._records.save({
            "id": job.job_id, "view": job.view, "mode": job.mode,
            "start_us": None if job.start is None else to_us(job.start), "end_us": to_us(job.end), "outcome": job.outcome,
            "attempts": job.attempts, "recoveries": job.recoveries, "rows_read": job.rows_read,
            "rows_written": job.rows_written, "started_us": to_us(job.started_at), "duration": job.duration.total_seconds(),
            "error": job.error,
        })  # fmt: skip

    def _batch(self, job: Job) -> timedelta | None:
        return None if job.mode == "incremental" else timedelta(days=self._settings.full.batch_days)

    def _batch_start(self, moment: datetime) -> datetime:
        """Return the beginning of the batch in which ``moment`` lies: so that two runs cut alike, and one resumes the other."""
        batch = timedelta(days=self._settings.full.batch_days) // timedelta(microseconds=1)
        return from_us(to_us(moment) // batch * batch)


def _before(moment: datetime, days: float) -> datetime:
    try:
        return moment - timedelta(days=days)
    except OverflowError as error:
        raise RequestError(
            f"{days:g} days before {moment:%Y-%m-%d} is before the year 1; give fewer days back."
        ) from error


def _jobs(first: datetime, last: datetime, longest: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Yield a window in pieces of at most ``longest``, the oldest first; each begins a microsecond after the one before."""
    if first > last:
        raise RequestError(f"The window is empty: start {first.isoformat()} is after end {last.isoformat()}.")
    while last - first >= longest:
        yield first, first + longest - timedelta(microseconds=1)
        first += longest
    yield first, last


def _missed(report: MaterializationReport) -> str | None:
    """Return which backends did not do it, and get it by replay."""
    return "; ".join(f"{run.backend}: {run.error}" for run in report.failed) or None


def _job(record: dict[str, Any]) -> Job:
    start = None if record["start_us"] is None else from_us(record["start_us"])
    return Job(
        record["id"], record["view"], record["mode"], start, from_us(record["end_us"]), record["outcome"], record["attempts"],
        record["recoveries"], record["rows_read"], record["rows_written"], from_us(record["started_us"]),
        timedelta(seconds=record["duration"]), record["error"],
    )  # fmt: skip
