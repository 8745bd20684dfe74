"""``verify``: whether a training set is still what it was."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "verify", example="e2i-fs verify training.receipt.json", panel="Features")(verify)


def verify(
    session: Session,
    receipt: Annotated[str, typer.Argument(help="A training receipt as receipt.save() wrote it, its rows beside it.")],
) -> Answer:
    """Recreate the training set of a receipt; exits with 0 when it is identical, 1 when something differs."""
    from e2i_fs.receipts import TrainingReceipt

    loaded = TrainingReceipt.load(receipt)
    with session.store() as store, session.progress() as bars:
        bars.add_task(f"Making {loaded.row_count:,} rows again", total=None)
        found = store.verify(loaded)
    shown: list[Any] = [f"identical: {found.rows:,} rows, {len(loaded.columns)} features"]
    if not found.identical:
        rows = [(d.kind.value, d.feature or d.view, d.rows or None, d.message) for d in found.differences]
        shown = [
            table(
                f"{found.rows_changed:,} of {found.rows:,} rows changed",
                ["what", "of", "rows", "about"],
                rows,
                right=[2],
            )
        ]
    shown += [f"({note})" for note in found.notes]
    document = {"receipt": receipt, "content_hash": loaded.content_hash, **found.to_dict()}
    return Answer(document, shown, OK if found.identical else NO)
