"""``push``: rows of a file to every view that takes them."""

from __future__ import annotations

from typing import Annotated

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.rows import column_dtypes, read_rows
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.errors import RequestError
from e2i_fs.sources import PushSource

__all__ = ["add_to"]

_PANEL = "Serving"
_TO = ("online", "offline", "both")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "push", example="e2i-fs push engagement_push rows.csv", panel=_PANEL)(push)


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
    """Write rows to every view that takes the push source: the whole batch or none of it."""
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
