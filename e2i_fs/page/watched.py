"""What changes by the hour: freshness now and over days, what each backend may do, jobs, and what happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from e2i_fs.failover.breaker import Liveness
from e2i_fs.failover.parity import Parity
from e2i_fs.failover.table import ROUTING, Verdict
from e2i_fs.page.said import asked, without_secrets
from e2i_fs.page.shown import Shown

if TYPE_CHECKING:
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.jobs import Job
    from e2i_fs.ops.materialize import MaterializationRun
    from e2i_fs.routing import BackendHealth

__all__ = ["answering", "freshness", "freshness_history", "jobs"]

_POINTS = 240  # of a view's freshness over time; a screen shows no more
_ACTIVITIES = 2_000


def freshness(store: Shown, view: str, *, online: bool) -> Mapping[str, Any]:
    """Return a view's freshness now (F-1, F-2), or why there is none to tell."""
    if not online:
        return {"absent": "The view is not online (online=False), so nothing of it ages."}

    def ask() -> Mapping[str, Any]:
        report = store.freshness([view])[view]
        return {
            **_check(report), "max_staleness": report.max_staleness, "warning_after": report.warning_after,
            "rows": report.rows, "newest_event_timestamp": report.newest_event_timestamp,
            "served_by": report.served_by, "degraded": report.degraded,
        }  # fmt: skip

    return asked(ask)


def freshness_history(store: Shown, days: float, now: datetime) -> Mapping[str, Any]:
    """Return for each view what the checks of the last ``days`` found, the oldest first; of very many the less fresh."""

    def ask() -> Mapping[str, Any]:
        by_view: dict[str, list[FreshnessReport]] = {}
        for report in store.freshness_history(days=days):
            by_view.setdefault(report.view, []).append(report)
        span = timedelta(days=days) / _POINTS
        return {"views": {v: [_check(r) for r in _thinned(found, now, span)] for v, found in sorted(by_view.items())}}

    return asked(ask)


def _check(report: FreshnessReport) -> dict[str, Any]:
    told = {"at": report.checked_at, "age": report.age, "status": report.status.value}
    return told if report.error is None else {**told, "error": without_secrets(report.error)}


def _thinned(reports: Iterable[FreshnessReport], now: datetime, span: timedelta) -> list[FreshnessReport]:
    """Return all of them; of very many the one of each span that is least fresh, so that this never hides a view that was stale."""
    reports = list(reports)
    if len(reports) <= _POINTS:
        return reports
    kept: dict[int, FreshnessReport] = {}
    for report in reports:
        place = (now - report.checked_at) // span
        before = kept.get(place)
        if before is None or (before.age is not None and (report.age is None or report.age > before.age)):
            kept[place] = report
    return sorted(kept.values(), key=lambda r: r.checked_at)


def answering(store: Shown, views: Sequence[str], deadline: float) -> Mapping[str, Any]:
    """Return each backend's state, what it may do for each view (X-1), the whole routing table, and the journal.

    Liveness is what this process saw; parity is kept beside the store, and the same for all processes.
    """

    def ask() -> Mapping[str, Any]:
        backends = store.health(deadline)
        return {
            "backends": [_backend(b) for b in backends],
            "views": {view: {b.name: _cell(b, view) for b in backends} for view in views},
            "liveness": [str(each) for each in Liveness],
            "parity": [str(each) for each in Parity],
            "routing": {
                str(liveness): {str(parity): ROUTING[liveness, parity].value for parity in Parity}
                for liveness in Liveness
            },
            "journal": asked(lambda: _journal(store)),
        }

    return asked(ask)


def _backend(b: BackendHealth) -> dict[str, Any]:
    return {
        "name": b.name, "role": b.role, "up": b.up, "latency": b.latency, "liveness": b.liveness, "hedged": b.hedged,
        "error": None if b.error is None else without_secrets(b.error), "shadow": dict(b.shadow),
    }  # fmt: skip


def _cell(b: BackendHealth, view: str) -> dict[str, Any]:
    parity = b.parity.get(view)
    may = Verdict.NEVER
    if b.up and parity is not None:
        may = ROUTING[Liveness(b.liveness), Parity(parity)]
    return {"parity": parity, "missed": b.missed.get(view, 0), "may": may.value}


def _journal(store: Shown) -> Mapping[str, Any]:
    state = store.journal()
    diverged = {b: {v: without_secrets(why) for v, why in views.items()} for b, views in state.diverged.items()}
    return {"entries": state.entries, "bytes": state.bytes, "max_bytes": state.max_bytes, "diverged": diverged}


def jobs(store: Shown, days: float, now: datetime) -> Mapping[str, Any]:
    """Return the jobs of the last ``days``, the newest first; runs of no job, on each backend, stand for themselves."""

    def ask() -> Mapping[str, Any]:
        done = [_job(job) for job in store.jobs().history(days=days)]
        since = now - timedelta(days=days)
        runs = [run for run in store.materialization_runs(limit=_ACTIVITIES) if run.started_at >= since]
        found = [*done, *(_run(run) for run in runs if run.job_id is None)]
        found.sort(key=lambda each: each["started_at"], reverse=True)
        return {"items": found[:_ACTIVITIES], "left_out": max(0, len(found) - _ACTIVITIES)}

    return asked(ask)


def _job(job: Job) -> dict[str, Any]:
    return {
        "kind": "job", "view": job.view, "mode": job.mode, "outcome": job.outcome, "start": job.start, "end": job.end,
        "started_at": job.started_at, "duration": job.duration, "rows_read": job.rows_read,
        "rows_written": job.rows_written, "attempts": job.attempts, "recoveries": job.recoveries, "backend": None,
        "error": None if job.error is None else without_secrets(job.error),
    }  # fmt: skip


def _run(run: MaterializationRun) -> dict[str, Any]:
    return {
        "kind": "run", "view": run.view, "mode": run.mode, "outcome": run.outcome, "start": run.start, "end": run.end,
        "started_at": run.started_at, "duration": run.duration, "rows_read": run.rows_read,
        "rows_written": run.rows_written, "backend": run.backend,
        "error": None if run.error is None else without_secrets(run.error),
    }  # fmt: skip
