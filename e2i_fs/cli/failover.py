"""``journal``, ``rebuild`` and ``diff``: what backends behind failover have missed, and whether they answer the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK, UNAVAILABLE
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import cell, table
from e2i_fs.errors import RequestError, unstopped

if TYPE_CHECKING:
    from e2i_fs.failover.differences import Diff, Difference
    from e2i_fs.failover.journal import JournalState
    from e2i_fs.failover.replay import CatchUp
    from e2i_fs.routing import BackendHealth

__all__ = ["Views", "add_to", "told_diff"]

_PANEL = "Operations"
Views = Annotated[
    list[str] | None,
    typer.Option("--view", "-v", help="Only this view; repeat for more. All unless given.", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "journal", example="e2i-fs journal --drain", panel=_PANEL)(journal)
    command(app, "rebuild", example="e2i-fs rebuild standby --view hcp_engagement", panel=_PANEL)(rebuild)
    command(app, "diff", example="e2i-fs diff primary standby --sample 1000", panel=_PANEL)(diff)


def journal(
    session: Session,
    drain: Annotated[bool, typer.Option("--drain", help="Bring backends that are behind up to date first.")] = False,
    backend: Annotated[str | None, typer.Option("--backend", help="Only this backend.", show_default=False)] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0, help="Seconds to drain each backend; no limit unless given.", show_default=False
        ),
    ] = None,
) -> Answer:
    """Show what the journal of writes holds, and which writes each backend has yet to take.

    Each backend is checked first: one that has lost rows is diverged, whatever it was sent. With --drain missed writes
    are replayed and lost rows rebuilt; exits with 1 when something is left, or could not be checked.
    """
    if timeout is not None and not drain:
        raise RequestError("--timeout is for --drain.")
    with session.store() as store:
        names = [b.name for b in store._config.backends]
        if backend is not None and not drain:
            store._backend_named(backend)
        done = store.catch_up(backend, timeout=timeout) if drain else {}
        # What nobody looks at is not known: a backend that was emptied has missed no write.
        health = [b for b in store.health() if backend in (None, b.name)] if len(names) > 1 else []
        state = store.journal()
    shown = [name for name in names if backend in (None, name)]
    away = {b.name: str(b.error) for b in health if not b.up}
    undefined = {b.name: views for b in health if b.up and (views := _undefined(b))}
    document = {
        "journal": _only(state, shown),
        "unverified": undefined,
        "not_looked_at": away,
        **({"drained": done} if drain else {}),
    }
    parts: list[Any] = (
        [_holds(state)]
        if state.max_bytes
        else ["One backend: it takes a write or refuses it, and there is no journal."]
    )
    if drain:
        columns = ["backend", "replayed", "made anew", "left", "why"]
        rows = [(d.backend, d.replayed, ", ".join(d.rebuilt) or None, d.left, d.error) for d in done.values()]
        parts.append(table(None, columns, rows, right=[1, 3]))
    behind = _behind(state, shown, undefined)
    if behind:
        parts.append(table("Behind", ["backend", "view", "parity", "writes not taken", "why"], behind, right=[3]))
    parts += [f"{name} was not looked at, so it may have lost rows: {why}" for name, why in away.items()]
    if len(names) > 1 and not behind and not away:
        parts.append("Every backend has every write." if backend is None else f"{backend} has every write.")
    left = any(not d.done for d in done.values()) or bool(away or undefined)
    return Answer(document, parts, NO if drain and left else OK)


def _undefined(health: BackendHealth) -> list[str]:
    return sorted(view for view, parity in health.parity.items() if parity == "unverified")


def _only(state: JournalState, names: list[str]) -> dict[str, Any]:
    return {
        "entries": state.entries,
        "kept": state.kept,
        "bytes": state.bytes,
        "max_bytes": state.max_bytes,
        "missed": {name: views for name, views in state.missed.items() if name in names},
        "diverged": {name: views for name, views in state.diverged.items() if name in names},
        "given_up": state.given_up,
    }


def _holds(state: JournalState) -> str:
    share = f" ({state.bytes / state.max_bytes:.0%})" if state.max_bytes else ""
    gone = ", ".join(f"{view} up to number {seq}" for view, seq in sorted(state.given_up.items()))
    return (
        f"Writes known: {state.entries:,}, with their rows: {state.kept:,}, in {state.bytes:,} of at most {state.max_bytes:,} "
        f"bytes{share}." + (f" Rows kept no longer: {gone}." if gone else "")
    )


def _behind(state: JournalState, names: list[str], undefined: Mapping[str, list[str]]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for name in names:
        missed, found = state.missed.get(name, {}), state.diverged.get(name, {})
        others = undefined.get(name, [])
        for view in sorted({*missed, *found, *others}):
            parity = "unverified" if view in others else "diverged" if view in found else "lagging"
            why = "its definition is not the expected one; apply it" if view in others else found.get(view)
            rows.append((name, view, parity, missed.get(view, 0), why))
    return rows


def rebuild(
    session: Session,
    backend: Annotated[str, typer.Argument(help="The backend to rebuild.")],
    view: Views = None,
    from_sources: Annotated[
        bool,
        typer.Option(
            "--from-sources", help="Materialise again what is kept nowhere else; rows only pushed may be lost."
        ),
    ] = False,
) -> Answer:
    """Rebuild the rows of a backend: as a copy of a backend that has every write, or else from the journal.

    Writes missed meanwhile are replayed, and then it answers undegraded again. Exits with 1 when a view could not be
    rebuilt.
    """
    with session.store() as store, session.progress() as bars:
        bars.add_task(f"Rebuilding {backend}", total=None)
        done: CatchUp = store.rebuild(backend, view or None, from_sources=from_sources)
        asked = list(dict.fromkeys(view)) if view else [v.name for v in store.list_feature_views()]
        missed: Mapping[str, int] = store.journal().missed.get(backend, {})
    rows = []
    for name in asked:
        whole = name in done.rebuilt and name not in done.diverged and not missed.get(name)
        rows.append(
            (name, Text("whole", style="green") if whole else Text("NOT WHOLE", style="bold red"), missed.get(name, 0))
        )
    failed = [row[0] for row in rows if row[1].plain != "whole"]
    parts: list[Any] = [table(f"Rows of {backend}", ["view", "state", "writes not taken"], rows, right=[2])]
    if failed:
        parts.append(Text(f"Why: {done.error}", style="red"))
    document = {
        "backend": backend,
        "rebuilt": done.rebuilt,
        "not_whole": failed,
        "replayed": done.replayed,
        "error": done.error,
    }
    return Answer(document, parts, NO if failed else OK)


def diff(
    session: Session,
    primary: Annotated[str, typer.Argument(help="One backend of the configuration.")],
    standby: Annotated[str, typer.Argument(help="The other.")],
    sample: Annotated[int, typer.Option(min=1, help="At most this many keys of each view.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the sample; the same seed draws the same keys.")] = 0,
    view: Views = None,
) -> Answer:
    """Compare the answers of two backends, online and from their history. Nothing is changed.

    Exits with 1 when they differ, and with 3 when that is inconclusive: nothing, or not everything, could be compared.
    """
    with session.store() as store:
        found: Diff = store.diff(primary, standby, view or None, sample=sample, seed=seed)
    document, parts, code = told_diff(found)
    return Answer(document, parts, code)


def told_diff(found: Diff) -> tuple[dict[str, Any], list[Any], int]:
    """Return a comparison as a document, as what people read, and as an exit code."""
    primary, standby = found.backend, found.other
    missing = (f"not on {primary}", f"not on {standby}")
    columns = ["view", "keys", "compared", "same", "different", *missing, "incomparable"]
    rows = [
        (v.view, v.keys, v.compared, v.matched, v.mismatched, *(v.missing.get(n, 0) for n in (primary, standby)), v.incomparable)
        for v in found.views
    ]  # fmt: skip
    said = "inconclusive" if not found.conclusive else "the same" if found.same else "DIFFERENT"
    style = {"the same": "green", "DIFFERENT": "bold red"}.get(said, "yellow")
    parts: list[Any] = [table(None, columns, rows, right=range(1, 8))]
    if found.example is not None:
        parts.append(_example(found.example))
    parts += [f"{v.view}: {unstopped(v.why)}." for v in found.views if v.why]
    parts.append(Text(f"{primary} and {standby}: {said}", style=style))
    views = [
        {"view": v.view, "keys": v.keys, **_counts(v), "why": v.why, "example": v.example} for v in found.views
    ]  # fmt: skip
    document = {
        "backends": [primary, standby], "result": said.lower(), **_counts(found), "example": found.example, "views": views,
    }  # fmt: skip
    return document, parts, UNAVAILABLE if not found.conclusive else OK if found.same else NO


def _counts(found: Any) -> dict[str, Any]:
    names = ("compared", "matched", "mismatched", "missing", "incomparable")
    return {name: getattr(found, name) for name in names}


def _example(found: Difference) -> Any:
    """Return the two rows side by side, one column a line."""
    columns = list(dict.fromkeys(name for row in found.has.values() for name in row or {}))
    rows = [(name, *(cell(None if row is None else row.get(name)) for row in found.has.values())) for name in columns]
    key = ", ".join(f"{name}={value!r}" for name, value in found.key.items())
    title = f"Smallest difference: {found.view}, {found.where}, {key} at {found.at.isoformat()}"
    heads = [name if row is not None else f"{name} (no row)" for name, row in found.has.items()]
    return table(title, ["column", *heads], rows)
