"""``jobs``: what was materialised, by which job, with which outcome; and taking up again what was not."""

from __future__ import annotations

from typing import Annotated

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.materialize import Views, ViewsList, chosen_views, done, job_table, jobs_of
from e2i_fs.cli.session import Session
from e2i_fs.errors import RequestError

__all__ = ["add_to"]

_ACTIONS = ("list", "recover")
_LONGEST = 36_500


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "jobs", example="e2i-fs jobs --days 2 --view hcp_engagement", panel="Operations")(jobs)


def jobs(
    session: Session,
    action: Annotated[str, typer.Argument(help="list, or recover: resume full jobs that failed.")] = "list",
    days: Annotated[float, typer.Option("--days", help="How far back the list goes.")] = 7,
    view: Views = None,
    views: ViewsList = None,
) -> Answer:
    """List the jobs of the last days, the newest first; or, with `recover`, resume those that failed.

    A list exits with 1 when the latest job of a view, of either mode, did not succeed. `recover` exits with 2 when a
    job failed by your mistake, with 3 when it failed otherwise or a backend could not take it.
    """
    if action not in _ACTIONS:
        raise RequestError(f"jobs {action}: use one of {', '.join(_ACTIONS)}.")
    if not 0 < days <= _LONGEST:
        raise RequestError(f"--days {days:g}: give a number of days above 0, and at most {_LONGEST}.")
    names = chosen_views(view, views)
    if action == "recover":
        return done(session, lambda jobs, progress: jobs.recover(names, progress=progress), mode="full")
    with jobs_of(session) as (store, of_store, _):
        chosen = {store.get_feature_view(name).name for name in names or ()}
        found = [job for job in of_store.history(days=days) if not chosen or job.view in chosen]
    latest = {(job.view, job.mode): job for job in reversed(found)}
    left = [job for job in latest.values() if job.outcome in ("failed", "timed out")]
    document = {"days": days, "jobs": found, "failed": len(left)}
    shown = job_table(found) if found else f"No job has begun in the last {days:g} days."
    return Answer(document, [shown], NO if left else OK)
