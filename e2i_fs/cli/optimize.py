"""``optimize``: history sorted by key and time, so that training sets come sooner."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "optimize", example="e2i-fs optimize hcp_engagement", panel="Operations")(optimize)


def optimize(
    session: Session,
    views: Annotated[
        list[str] | None, typer.Argument(help="The views; all that have local files unless given.")
    ] = None,
) -> Answer:
    """Sort the files of views by key and time into a copy beside the store's records, which retrieval then reads instead.

    Answers stay the same. Rows written later are read as well as the copy.

    If a source file changes, the copy is not used until you run this again.
    """
    with session.store() as store:
        made = store.optimize(views or None)
    rows = [[one.view, one.backend, one.rows, one.keys, one.files, _size(one.size)] for one in made]
    columns = ["view", "backend", "rows", "keys", "files", "size"]
    shown = table("Sorted", columns, rows, right=range(2, 6)) if made else "No view has local files to sort."
    return Answer({"optimized": [asdict(one) for one in made]}, [shown])


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
