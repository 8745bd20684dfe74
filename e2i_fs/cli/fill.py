"""``materialize``, ``materialize-incremental`` and ``push``: making rows ready to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import OK, UNAVAILABLE
from e2i_fs.cli.rows import column_dtypes, parse_time, read_rows
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.errors import RequestError
from e2i_fs.sources import PushSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2i_fs.entries import Progress
    from e2i_fs.ops.materialize import MaterializationReport
    from e2i_fs.store import Store

__all__ = ["add_to"]

_PANEL = "Serving"
Views = Annotated[
    list[str] | None,
    typer.Option("--view", "-v", help="Only this view; repeat for more. All unless given.", show_default=False),
]
_TO = ("online", "offline", "both")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "materialize", example="e2i-fs materialize 2026-06-01 2026-07-01 --view hcp_engagement", panel=_PANEL)(
        materialize
    )
    command(app, "materialize-incremental", example="e2i-fs materialize-incremental", panel=_PANEL)(
        materialize_incremental
    )
    command(app, "push", example="e2i-fs push engagement_push rows.csv", panel=_PANEL)(push)


def materialize(
    session: Session,
    start: Annotated[str, typer.Argument(help="First event time, e.g. 2026-06-01 or 2026-06-01T12:00:00+02:00.")],
    end: Annotated[str | None, typer.Argument(help="Last event time; now unless given.", show_default=False)] = None,
    view: Views = None,
) -> Answer:
    """Put the newest row of each key, of those with an event time from START to END, online.

    Exits with 3 when a backend could not take it.
    """
    first, last = parse_time(start, "START"), parse_time(end, "END")
    return _run(session, lambda store, progress: store.materialize(first, last, view or None, progress=progress))


def materialize_incremental(
    session: Session,
    end: Annotated[
        str | None, typer.Option("--end", help="Last event time; now unless given.", show_default=False)
    ] = None,
    view: Views = None,
) -> Answer:
    """Put online what arrived since the last run, late rows included.

    Exits with 3 when a backend could not take it.
    """
    last = parse_time(end, "--end")
    return _run(session, lambda store, progress: store.materialize_incremental(last, view or None, progress=progress))


def _run(session: Session, work: Callable[[Store, Progress], MaterializationReport]) -> Answer:
    with session.store() as store, session.progress() as bars:
        tasks: dict[str, Any] = {}

        def progress(view: str, done: int, total: int) -> None:
            if view not in tasks:
                tasks[view] = bars.add_task(view, total=total)
            bars.update(tasks[view], completed=done, total=total)

        runs = work(store, progress).runs
    failed = [r for r in runs if r.outcome != "succeeded"]
    rows: list[tuple[Any, ...]] = [
        (r.view, r.backend, r.rows_read, r.rows_written, r.duration, r.outcome, r.error) for r in runs
    ]
    columns = ["view", "backend", "read", "written", "took", "outcome", "why not"]
    if not failed:
        columns, rows = columns[:-2], [r[:-2] for r in rows]
    document: dict[str, Any] = {"runs": runs, "rows_written": sum(r.rows_written for r in runs), "failed": len(failed)}
    return Answer(document, [table(None, columns, rows, right=[2, 3])], UNAVAILABLE if failed else OK)


def push(
    session: Session,
    source: Annotated[str, typer.Argument(help="The name of a push source.")],
    rows: Annotated[str, typer.Argument(help="Rows: .csv or .parquet, - for CSV on stdin.")],
    to: Annotated[str | None, typer.Option("--to", help="online, offline or both.", show_default="both")] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="The same key again is the same batch (W-2).", show_default=False),
    ] = None,
) -> Answer:
    """Write rows to every view that takes the push source: all of the batch or none of it."""
    if to is not None and to not in _TO:
        raise RequestError(f"--to {to}: use one of {', '.join(_TO)}.")
    with session.store() as store:
        feeds = [v for v in store.list_feature_views() if isinstance(v.source, PushSource) and v.source.name == source]
        batch = read_rows(rows, column_dtypes(store, feeds))
        receipts = store.push(source, batch, to, idempotency_key=idempotency_key)  # type: ignore[arg-type]
    rows_shown = [
        (r.view, r.rows, r.to, ", ".join(r.applied), ", ".join(r.missed) or None, "yes" if r.repeated else None)
        for r in receipts.values()
    ]
    shown = table(None, ["view", "rows", "to", "taken by", "missed by", "had it already"], rows_shown, right=[1])
    return Answer({"push_source": source, "rows": batch.num_rows, "receipts": receipts}, [shown])
