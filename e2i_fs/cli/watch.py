"""``freshness`` and ``health``: may what is served be trusted."""

from __future__ import annotations

from typing import Annotated

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table

__all__ = ["add_to"]

_PANEL = "Operations"
_BAD = ("STALE", "EXPIRED", "UNKNOWN")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "freshness", example="e2i-fs freshness --view hcp_engagement", panel=_PANEL)(freshness)
    command(app, "health", example="e2i-fs health --json", panel=_PANEL)(health)


def freshness(
    session: Session,
    view: Annotated[
        list[str] | None, typer.Option("--view", "-v", help="Only this view; repeat for more.", show_default=False)
    ] = None,
) -> Answer:
    """How old the newest row online is of each view, against its max_staleness.

    Exits with 1 when a view is STALE, EXPIRED or UNKNOWN (nothing is online).
    """
    with session.store() as store:
        reports = list(store.freshness(view or None).values())
    asked = [r.served_by + (" (degraded)" if r.degraded else "") for r in reports]
    rows = [
        (r.view, r.status.value, r.age, r.max_staleness, r.rows, who) for r, who in zip(reports, asked, strict=True)
    ]
    shown = table(None, ["view", "status", "age", "limit", "rows", "asked"], rows, right=[4])
    return Answer({"views": reports}, [shown], NO if any(r.status.value in _BAD for r in reports) else OK)


def health(
    session: Session,
    deadline: Annotated[float, typer.Option(help="Seconds that each backend may take to answer.")] = 1.0,
) -> Answer:
    """Whether each backend is up, and whether it would answer the same as the others.

    Exits with 1 when a backend is down.
    """
    with session.store() as store:
        backends = store.health(deadline)
    rows = []
    for b in backends:
        states = list(b.parity.values())
        parity = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or None
        latency = None if b.latency is None else f"{b.latency * 1000:.1f} ms"
        rows.append((b.name, b.role, "up" if b.up else "DOWN", latency, b.liveness, parity, b.error))
    columns = ["backend", "role", "state", "answered in", "breaker", "views", "why"]
    return Answer(
        {"backends": backends}, [table(None, columns, rows, right=[3])], OK if all(b.up for b in backends) else NO
    )
