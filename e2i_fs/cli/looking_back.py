"""``events`` and ``job-summary``: what happened to a store, and to its jobs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table

__all__ = ["Days", "add_to"]

_PANEL = "Operations"
Days = Annotated[float, typer.Option("--days", help="How many days to look back.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "events", example="e2i-fs events --days 1 --kind FailedOver", panel=_PANEL)(events)
    command(app, "job-summary", example="e2i-fs job-summary --days 7", panel=_PANEL)(job_summary)


def events(
    session: Session,
    days: Days = 7.0,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", "-k", help="Only this kind, e.g. FailedOver; repeat for more.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most this many, the newest.")] = 100,
) -> Answer:
    """List what happened to the store, in any process: failovers, breakers, parity, stale views, jobs, applied changes.

    The newest comes first; the same event repeated within a minute is counted.
    """
    with session.store() as store:
        found = store.events(days=days, kinds=kind or None, limit=limit)
    rows = [(record.last_at, record.count, record.kind, record.text) for record in found]
    document = [
        {"kind": r.kind, "at": r.at, "last_at": r.last_at, "count": r.count, "about": r.about, "text": r.text}
        for r in found
    ]
    nothing = f"Nothing happened in the last {days:g} days."
    shown: Any = table(None, ["last", "times", "kind", "about"], rows, right=[1]) if rows else nothing
    return Answer({"events": document}, [shown])


def job_summary(session: Session, days: Days = 7.0) -> Answer:
    """Summarise jobs over days, by view and mode: how many succeeded, how long they took, and the last error."""
    with session.store() as store:
        found = store.jobs().summary(days=days)
    columns = ["view", "mode", "jobs", "done", "failed", "timed out", "overlapped", "taken up", "read", "written"]
    rows = [
        (
            s.view, s.mode, s.jobs, s.succeeded, s.failed, s.timed_out, s.overlapped, s.recoveries, s.rows_read,
            s.rows_written,
        )
        for s in found
    ]  # fmt: skip
    times = [
        (s.view, s.mode, s.duration_p50, s.duration_p95, s.duration_max, s.last_success, s.newest_event_timestamp)
        for s in found
    ]
    if not found:
        return Answer({"jobs": found}, [f"No job began in the last {days:g} days."])
    parts: list[Any] = [
        table(None, columns, rows, right=range(2, 10)),
        table(None, ["view", "mode", "p50", "p95", "longest", "last done", "newest event"], times),
    ]
    wrong = [(s.view, s.mode, s.last_error) for s in found if s.last_error is not None]
    if wrong:
        parts.append(table("Last errors", ["view", "mode", "why"], wrong))
    return Answer({"jobs": found}, parts)
