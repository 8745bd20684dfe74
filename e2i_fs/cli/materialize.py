"""``materialize`` and ``materialize-incremental``: rows brought online as jobs, with their tries, windows and records."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import OK, UNAVAILABLE, named_exit_code
from e2i_fs.cli.rows import parse_time
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import duration, table
from e2i_fs.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from e2i_fs.entries import Progress
    from e2i_fs.ops.jobs import Job, JobReport, Jobs
    from e2i_fs.store import Store

__all__ = ["Views", "ViewsList", "add_to", "chosen_views", "done", "job_table", "jobs_of"]

_PANEL = "Serving"
_MODES = ("full", "incremental")
Views = Annotated[
    list[str] | None,
    typer.Option("--view", "-v", help="Only this view; repeat for more. All unless given.", show_default=False),
]
ViewsList = Annotated[
    str | None, typer.Option("--views", help="Only these views, as a,b,c; the same as --view.", show_default=False)
]
End = Annotated[str | None, typer.Option("--end", help="Last event time; now unless given.", show_default=False)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only count the rows to read and to write.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "materialize", example="e2i-fs materialize --days-back 30 --views hcp_engagement --dry-run", panel=_PANEL)(
        materialize
    )  # fmt: skip
    command(app, "materialize-incremental", example="e2i-fs materialize-incremental", panel=_PANEL)(
        materialize_incremental
    )


def materialize(
    session: Session,
    start: Annotated[
        str | None,
        typer.Argument(help="First event time, e.g. 2026-06-01 or 2026-06-01T12:00:00+02:00.", show_default=False),
    ] = None,
    end: Annotated[str | None, typer.Argument(help="Last event time; now unless given.", show_default=False)] = None,
    mode: Annotated[
        str, typer.Option("--mode", help="full: a window of event times. incremental: what arrived since the last run.")
    ] = "full",
    view: Views = None,
    views: ViewsList = None,
    start_option: Annotated[str | None, typer.Option("--start", help="The same as START.", show_default=False)] = None,
    end_option: Annotated[str | None, typer.Option("--end", help="The same as END.", show_default=False)] = None,
    days_back: Annotated[
        float | None,
        typer.Option(
            "--days-back",
            help="Days before the end, instead of START; full.lookback_days unless given.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
) -> Answer:
    """Put the newest row of each key online, of a window of event times or of what arrived since the last run.

    Runs as jobs by the configuration's materialisation: in batches, retried, recorded; see `e2i-fs jobs`. Exits with 2
    when a job failed by your mistake, with 3 when it failed otherwise or a backend could not take it.
    """
    if mode not in _MODES:
        raise RequestError(f"--mode {mode}: use one of {', '.join(_MODES)}.")
    first = parse_time(_one(start, start_option, "START"), "START")
    last = parse_time(_one(end, end_option, "END"), "END")
    names = chosen_views(view, views)
    if mode == "incremental":
        given = "a start" if first is not None else "--days-back" if days_back is not None else None
        if given is not None:
            raise RequestError(
                f"--mode incremental with {given}: an incremental job reads what arrived since the last one, whatever its event "
                "time. Leave it out, or use --mode full."
            )
        return _incremental(session, names, last, dry_run=dry_run)
    if first is not None and days_back is not None:
        raise RequestError("A start and --days-back are both given; give one of them.")

    def work(jobs: Jobs, progress: Progress) -> JobReport:
        return jobs.full(names, start=first, end=last, days_back=days_back, dry_run=dry_run, progress=progress)

    return done(session, work, mode=mode, dry_run=dry_run)


def materialize_incremental(
    session: Session, end: End = None, view: Views = None, views: ViewsList = None, dry_run: DryRun = False
) -> Answer:
    """Put online what arrived since the last run, late rows included: `materialize --mode incremental`.

    Exits with 2 when a job failed by your mistake, with 3 when it failed otherwise or a backend could not take it.
    """
    return _incremental(session, chosen_views(view, views), parse_time(end, "--end"), dry_run=dry_run)


def _one(argument: str | None, option: str | None, name: str) -> str | None:
    """Return a value that may stand in two places, and stands in one of them."""
    if argument is not None and option is not None:
        raise RequestError(f"{name} and --{name.lower()} are both given, and mean the same; give one of them.")
    return option if argument is None else argument


def _incremental(session: Session, views: list[str] | None, end: datetime | None, *, dry_run: bool) -> Answer:
    def work(jobs: Jobs, progress: Progress) -> JobReport:
        return jobs.incremental(views, end=end, dry_run=dry_run, progress=progress)

    return done(session, work, mode="incremental", dry_run=dry_run)


def chosen_views(view: Sequence[str] | None, views: str | None) -> list[str] | None:
    """Return the names of ``--view`` and ``--views`` together, each once, in order; None when there are none.

    >>> chosen_views(["b"], "a, b")
    ['b', 'a']
    """
    listed = [] if views is None else [name.strip() for name in views.split(",")]
    if not all((*listed, *(view or ()))):
        raise RequestError("A name of a view is empty; write --views a,b or --view a --view b.")
    return list(dict.fromkeys([*(view or ()), *listed])) or None


def done(session: Session, work: Callable[[Jobs, Progress], JobReport], *, mode: str, dry_run: bool = False) -> Answer:
    """Do ``work`` with a store's jobs, with bars on a terminal, and return what to say of it."""
    with jobs_of(session) as (_, jobs, progress):
        report = work(jobs, progress)
        runs = [run for job in report.jobs for run in jobs.runs(job.job_id)]
    bad = [job for job in report.jobs if job.outcome not in ("succeeded", "planned")]
    document = {
        "mode": mode, "dry_run": dry_run, "jobs": report.jobs, "runs": runs,
        "rows_read": sum(job.rows_read for job in report.jobs), "rows_written": sum(job.rows_written for job in report.jobs),
        "failed": len(bad),
    }  # fmt: skip
    shown: list[Any] = [job_table(report.jobs, planned=dry_run)]
    if not report.jobs:
        shown = ["There was nothing to do."]
    return Answer(document, shown, max((_code(job) for job in report.jobs), default=OK))


@contextmanager
def jobs_of(session: Session) -> Iterator[tuple[Store, Jobs, Progress]]:
    """Yield the store of a session, its jobs, which say on stderr why they try again, and what shows their progress."""
    with session.store() as store, session.progress() as bars:
        tasks: dict[str, Any] = {}

        def progress(view: str, done: int, total: int) -> None:
            if view not in tasks:
                tasks[view] = bars.add_task(view, total=total)
            bars.update(tasks[view], completed=done, total=total)

        def again(job: Job, seconds: float) -> None:
            why = f"View {job.view!r}: {job.error} " if job.error else ""
            bars.console.print(f"{escape(why)}Tried again in {seconds:g} s.")

        yield store, store.jobs(sleep=time.sleep, again=again), progress


def job_table(jobs: Sequence[Job], *, planned: bool = False) -> Table:
    """Return jobs as a table; what all of them have in common is left out."""
    columns: dict[str, Callable[[Job], Any]] = {"view": lambda j: j.view, "mode": lambda j: j.mode}
    if any(job.start is not None for job in jobs):
        columns["from"] = lambda j: j.start
    columns |= {"to": lambda j: j.end, "to read" if planned else "read": lambda j: j.rows_read}
    columns["to write" if planned else "written"] = lambda j: j.rows_written
    if not planned:
        columns["tries"] = lambda j: j.attempts
        columns["took"] = lambda j: duration(j.duration)
    columns["outcome"] = lambda j: j.outcome
    if any(job.error for job in jobs):
        columns["why not"] = lambda j: j.error
    numbers = [i for i, name in enumerate(columns) if name in ("to read", "read", "to write", "written", "tries")]
    return table(None, list(columns), [[value(job) for value in columns.values()] for job in jobs], right=numbers)


def _code(job: Job) -> int:
    if job.outcome in ("succeeded", "planned"):
        return OK if job.error is None else UNAVAILABLE  # it says which backend did not take it
    if job.outcome != "failed" or job.error is None:
        return UNAVAILABLE  # out of time, or in the way of another run: the same command may work later
    return named_exit_code(job.error.partition(":")[0])
