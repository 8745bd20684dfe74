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
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import RequestError
from e2i_fs.sources import PushSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2i_fs.ops.materialize import MaterializationReport, MaterializationRun
    from e2i_fs.protocol import FeatureStore

__all__ = ["add_to"]

_PANEL = "Serving"
Views = Annotated[
    list[str] | None, typer.Option("--view", "-v", help="Only this view; repeat for more.  [default: all]", show_default=False)
]
_TO = ("online", "offline", "both")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "materialize", example="e2i-fs materialize 2026-06-01 2026-07-01 --view hcp_engagement", panel=_PANEL)(
        materialize
    )
    command(app, "materialize-incremental", example="e2i-fs materialize-incremental", panel=_PANEL)(materialize_incremental)
    command(app, "push", example="e2i-fs push engagement_push rows.csv", panel=_PANEL)(push)


def materialize(
    session: Session,
    start: Annotated[str, typer.Argument(help="First event time, e.g. 2026-06-01 or 2026-06-01T12:00:00+02:00.")],
    end: Annotated[str | None, typer.Argument(help="Last event time.  [default: now]", show_default=False)] = None,
    view: Views = None,
) -> Answer:
    """Put the newest row of each key, of those with an event time from START to END, online."""
    first, last = parse_time(start, "START"), parse_time(end, "END")
    with session.store() as store:
        if last is None:
            from e2i_fs.clock import SystemClock

            last = SystemClock().now()
        return _each(session, store, view, lambda views: store.materialize(first, last, views=views))


def materialize_incremental(
    session: Session,
    end: Annotated[str | None, typer.Option("--end", help="Last event time.  [default: now]", show_default=False)] = None,
    view: Views = None,
) -> Answer:
    """Put online what arrived since the last run, late rows included."""
    last = parse_time(end, "--end")
    with session.store() as store:
        return _each(session, store, view, lambda views: store.materialize_incremental(last, views=views))


def _each(
    session: Session,
    store: FeatureStore,
    chosen: list[str] | None,
    run: Callable[[list[str]], MaterializationReport],
) -> Answer:
    """Run one view after the other, so that there is something to see meanwhile."""
    names = chosen or [v.name for v in store.list_feature_views() if isinstance(v, FeatureView) and v.online]
    if not names:
        raise RequestError("There is nothing to materialise: no view is registered. Run `e2i-fs apply` first.")
    runs: list[MaterializationRun] = []
    with session.progress() as bars:
        task = bars.add_task("Materialising", total=len(names))
        for name in names:
            bars.update(task, description=f"Materialising {name}")
            runs.extend(run([name]).runs)
            bars.advance(task)
    failed = [r for r in runs if r.outcome != "succeeded"]
    rows = [
        (r.view, r.backend, r.outcome, r.rows_read, r.rows_written, r.newest_event_timestamp, r.duration, r.error) for r in runs
    ]
    columns = ["view", "backend", "outcome", "read", "written", "newest event", "took", "why not"]
    if not failed:
        columns, rows = columns[:-1], [r[:-1] for r in rows]
    document: dict[str, Any] = {"runs": runs, "rows_written": sum(r.rows_written for r in runs), "failed": len(failed)}
    return Answer(document, [table(None, columns, rows, right=[3, 4])], UNAVAILABLE if failed else OK)


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
        feeds = [
            v
            for v in store.list_feature_views()
            if isinstance(v, FeatureView) and isinstance(v.source, PushSource) and v.source.name == source
        ]
        batch = read_rows(rows, column_dtypes(store, feeds))
        store.push(source, batch, to=to, idempotency_key=idempotency_key)
    names = [v.name for v in feeds]
    document = {"push_source": source, "rows": batch.num_rows, "views": names, "to": to or "both"}
    return Answer(document, [f"{batch.num_rows:,} rows pushed to {', '.join(names)}."])
