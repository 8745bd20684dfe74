"""What is done by schedule, as plain functions that any scheduler can call.

Each opens the store of a configuration, does its work, closes the store, and returns a plain dictionary that JSON can
hold. One that did not do its work raises, so that every scheduler sees a failed task; whatever could be done was done by then.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import e2i_fs as fs  # by the door that users take: the store stands above this package
from e2i_fs.clock import Clock
from e2i_fs.config import brief_config, load_config
from e2i_fs.errors import JobsFailedError, RequestError, StaleViewsError, unstopped
from e2i_fs.json_values import as_json
from e2i_fs.ops.job_records import PROCESS_ENDED
from e2i_fs.ops.schedule import FRESHNESS_CHECK, FULL, INCREMENTAL, Entry
from e2i_fs.ops.settings import MaterializationConfig

if TYPE_CHECKING:
    from e2i_fs.ops.jobs import JobReport
    from e2i_fs.store import Store

__all__ = ["Settings", "freshness_check", "full", "incremental", "online_views", "run", "settings_of", "single_view"]

Settings = str | os.PathLike[str] | Mapping[str, Any]
Result = dict[str, Any]
_NOT_FRESH = ("STALE", "EXPIRED", "UNKNOWN")
_TOLD = 20


def incremental(
    config: Settings, views: Sequence[str] | None = None, *, without: Sequence[str] = (), clock: Clock | None = None
) -> Result:
    """Bring online what arrived since the last run of each view, late rows included (W-3); see `Jobs.incremental`.

    ``config`` is what `connect` takes; ``views`` are names, None for all that are online but for those in ``without``. Returns
    ``task``, ``views``, ``jobs`` (each a `Job`, times as ISO text, durations in seconds), ``rows_read``, ``rows_written`` and
    ``overlapped``: the views of which another run was going on. Raises `JobsFailedError` when a job was given up, after the others.

    >>> import tempfile
    >>> incremental({"backend": "duckdb", "path": tempfile.mkdtemp()})
    {'task': 'incremental', 'views': [], 'jobs': [], 'rows_read': 0, 'rows_written': 0, 'overlapped': []}
    """
    with fs.connect(brief_config(config), clock=clock) as store:
        names = _online(store, views, without)
        return _done(INCREMENTAL, names, store.jobs().incremental(names))


def full(
    config: Settings,
    views: Sequence[str] | None = None,
    *,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    days_back: float | None = None,
    clock: Clock | None = None,
) -> Result:
    """Bring online the newest row of each key in a window, whatever runs there were before; see `Jobs.full`.

    Times may be ISO text. Returns and raises as `incremental`.
    """
    first, last = _moment(start, "start"), _moment(end, "end")
    with fs.connect(brief_config(config), clock=clock) as store:
        names = _online(store, views)
        return _done(FULL, names, store.jobs().full(names, start=first, end=last, days_back=days_back))


def single_view(
    config: Settings,
    view: str,
    *,
    mode: Literal["incremental", "full"] = "incremental",
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    days_back: float | None = None,
    taken_up_again: bool = False,
    clock: Clock | None = None,
) -> Result:
    """Do one view, ``incremental`` or ``full``. Returns and raises as these.

    ``taken_up_again`` says that the process that did it before has ended. When that has happened to more of its latest
    jobs than ``recovery.max_attempts``, it is given up with `JobsFailedError`: whatever kills it would go on for ever.
    """
    if mode not in (INCREMENTAL, FULL):
        raise RequestError(f"mode is {mode!r}; give 'incremental' or 'full'.")
    if mode == INCREMENTAL and not start == end == days_back == None:  # noqa: E711
        raise RequestError("start, end and days_back are for mode='full': an incremental run takes all that arrived.")
    first, last = _moment(start, "start"), _moment(end, "end")
    with fs.connect(brief_config(config), clock=clock) as store:
        jobs = store.jobs()
        (name,) = _online(store, [view])
        if taken_up_again:
            _not_for_ever(store, name, settings_of(config))
        if mode == INCREMENTAL:
            report = jobs.incremental([name])
        else:
            report = jobs.full([name], start=first, end=last, days_back=days_back)
        return _done("single_view", [name], report)


def freshness_check(
    config: Settings,
    views: Sequence[str] | None = None,
    *,
    fail_when_stale: bool | None = None,
    clock: Clock | None = None,
) -> Result:
    """Check how old each view is and keep a record of it (F-1 to F-3); observers are told of those that are not fresh.

    Returns ``task``, ``views`` (each a `FreshnessReport`, ages in seconds) and ``stale``: the status of each view that is stale,
    expired or unknown. With ``fail_when_stale`` (unless given, ``schedule.fail_when_stale``) raises `StaleViewsError` when there are any.
    A check that could not be made raises its own error.
    """
    with fs.connect(brief_config(config), clock=clock) as store:
        reports = store.jobs().check_freshness(views)
    stale = {name: report.status.value for name, report in reports.items() if report.status.value in _NOT_FRESH}
    result = {"task": FRESHNESS_CHECK, "views": as_json(reports), "stale": stale}
    fails = settings_of(config).schedule.fail_when_stale if fail_when_stale is None else fail_when_stale
    if stale and fails:
        told = ", ".join(f"{name} is {_aged(reports[name])}" for name in list(stale)[:_TOLD])
        raise StaleViewsError(f"{len(stale)} of {len(reports)} views are not fresh: {told}.", stale, result)
    return result


def run(config: Settings, entry: Entry, *, clock: Clock | None = None) -> Result:
    """Do what an entry of the schedule says; return and raise as the task that it names."""
    views = entry.views or None
    if entry.task == INCREMENTAL:
        return incremental(config, views, without=entry.without, clock=clock)
    return (full if entry.task == FULL else freshness_check)(config, views, clock=clock)


def online_views(config: Settings, views: Sequence[str] | None = None, without: Sequence[str] = ()) -> list[str]:
    """Return the names of ``views``, checked; of None all that are online but for those in ``without``."""
    with fs.connect(brief_config(config)) as store:
        return _online(store, views, without)


def settings_of(config: Settings) -> MaterializationConfig:
    """Return the settings of a configuration's ``materialisation``, or the usual ones."""
    return load_config(config).materialisation or MaterializationConfig()


def _online(store: Store, views: Sequence[str] | None, without: Sequence[str] = ()) -> list[str]:
    if isinstance(views, str):
        raise RequestError(f"views is {views!r}; give a list of names.")
    if views is not None:
        return [store.get_feature_view(name).name for name in views]
    return [view.name for view in store.list_feature_views() if view.online and view.name not in without]


def _done(task: str, views: list[str], report: JobReport) -> Result:
    result = {
        "task": task,
        "views": views,
        "jobs": as_json(report.jobs),
        "rows_read": sum(job.rows_read for job in report.jobs),
        "rows_written": sum(job.rows_written for job in report.jobs),
        "overlapped": sorted({job.view for job in report.jobs if job.outcome == "overlapped"}),
    }
    failed: dict[str, str] = {}
    for job in report.failed:
        told = unstopped(job.error)
        failed[job.view] = f"{failed[job.view]}; {told}" if job.view in failed else told
    if failed:
        told = "; ".join(f"{view}: {error}" for view, error in itertools.islice(failed.items(), _TOLD))
        raise JobsFailedError(
            f"{len(report.failed)} of {len(report.jobs)} jobs did not do their work: {told}.", failed, result
        )
    return result


def _not_for_ever(store: Store, view: str, settings: MaterializationConfig) -> None:
    times = 0
    for job in store.jobs().history(view, days=7):
        if job.error != PROCESS_ENDED:
            break
        times += 1
    if times > settings.recovery.max_attempts:
        why = (
            f"the process that did it has ended before it was done {times} times in a row (killed, or out of memory?), and "
            "recovery.max_attempts allows no more. The next run by schedule tries it anew"
        )
        raise JobsFailedError(f"View {view!r} is not taken up again: {why}.", {view: why})


def _moment(value: datetime | str | None, name: str) -> datetime | None:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise RequestError(f"{name} is {value!r}; give an ISO time such as '2026-06-01T12:00:00+00:00'.") from error


def _aged(report: Any) -> str:
    if report.age is None:
        return f"{report.status.value} (nothing is online)"
    hours = report.age.total_seconds() / 3_600
    limit = "" if report.max_staleness is None else f" of at most {report.max_staleness.total_seconds() / 3_600:g}"
    return f"{report.status.value} ({hours:.1f} h old{limit})"
