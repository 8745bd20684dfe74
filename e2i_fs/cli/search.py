"""``search``: which features there are, found by words."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.errors import RequestError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "search", example="e2i-fs search churn --use-case churn_prediction", panel="Features")(search)


def search(
    session: Session,
    words: Annotated[list[str] | None, typer.Argument(help="Words to find; without any, all features.")] = None,
    use_case: Annotated[
        str | None, typer.Option("--use-case", help="Only with this use_case tag.", show_default=False)
    ] = None,
    entity: Annotated[str | None, typer.Option("--entity", help="Only for this entity.", show_default=False)] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only with this owner.", show_default=False)] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Only with this tag, key=value; repeat for more.", show_default=False),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="Only with this dtype, such as Int64.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most this many.")] = 20,
) -> Answer:
    """Find features by names, descriptions, tags, keys and owners, best match first, with the freshness of each."""
    from e2i_fs.discovery import nearest_words

    text = " ".join(words or ())
    with session.store() as store:
        found = store.search(
            text, use_case=use_case, entity=entity, owner=owner, tags=_tags(tag), dtype=dtype, limit=limit
        )
        near = [] if found else nearest_words(store.catalog(), text, use_case, entity, owner)
    document: dict[str, Any] = {"features": [_document(f) for f in found], "nearest": near}
    if not found:
        hint = f" Did you mean {' or '.join(near)}?" if near else " `e2i-fs list` shows what there is."
        return Answer(document, [f"Nothing found.{hint}"])
    rows = [(f.ref, repr(f.dtype), f.role, f.freshness.value, f.description) for f in found]
    return Answer(document, [table(None, ["feature", "dtype", "role", "fresh", "about"], rows)])


def _tags(given: list[str] | None) -> dict[str, str]:
    tags = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RequestError(f"--tag {text!r}: write key=value, e.g. --tag criticality=high.")
        tags[key] = value
    return tags


def _document(found: Any) -> dict[str, Any]:
    from e2i_fs.json_values import as_json

    keys = {name: dtype.canonical() for name, dtype in found.join_keys}
    return {**as_json(found), "dtype": found.dtype.canonical(), "join_keys": keys}
