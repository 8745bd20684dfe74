"""``freshness`` and ``health``: may what is served be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table

if TYPE_CHECKING:
    from e2i_fs.routing import BackendHealth

__all__ = ["add_to"]

_PANEL = "Operations"
_MAY = {"answers": "answers", "degraded": "answers marked degraded", "never": "does not answer"}
_COMPARED = ("matched", "mismatched", "incomparable")
_ILL = {"diverged", "unverified"}
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
    """Whether each backend is up, and whether it would answer the same: what each may do, view by view.

    The breaker, sampled reads and hedged reads are those of a process: this one has just begun, a service asks its own.
    Exits with 1 when a backend is down, or diverged or unverified for a view. One that is lagging catches up by itself.
    """
    with session.store() as store:
        backends = store.health(deadline)
    rows: list[tuple[Any, ...]] = []
    for b in backends:
        latency = None if b.latency is None else f"{b.latency * 1000:.1f} ms"
        rows.append((b.name, b.role, "up" if b.up else "DOWN", latency, b.liveness, b.error))
    parts: list[Any] = [table(None, ["backend", "role", "state", "answered in", "breaker", "why"], rows, right=[3])]
    views = list(_by_view(backends))
    if not views and any(b.up for b in backends):
        parts.append("Nothing is registered yet, so there is nothing to answer: `e2i-fs apply`.")
    if views and len(backends) > 1:
        parts.append(
            table("Who may answer", ["view", "backend", "parity", "may", "writes not taken"], views, right=[4])
        )
    counted = [b for b in backends if b.hedged or any(b.shadow.values())]
    if counted:
        rows = [(b.name, *(b.shadow.get(c, 0) for c in _COMPARED), f"{b.hedged:.1%}") for b in counted]
        parts.append(
            table("Sampled reads, and reads asked beside", ["backend", *_COMPARED, "hedged"], rows, right=range(1, 5))
        )
    well = all(b.up and not _ILL & {*b.parity.values()} for b in backends)
    return Answer({"backends": backends}, parts, OK if well else NO)


def _by_view(backends: Sequence[BackendHealth]) -> Iterator[tuple[Any, ...]]:
    """Yield a line for each view and backend: what is known of its rows, and what it may therefore do (X-1)."""
    from e2i_fs.failover.breaker import Liveness
    from e2i_fs.failover.parity import Parity
    from e2i_fs.failover.table import ROUTING, Verdict

    for view in sorted({view for b in backends for view in (*b.parity, *b.missed)}):
        for b in backends:
            parity = b.parity.get(view)
            verdict = Verdict.NEVER
            if b.up and parity is not None:
                verdict = ROUTING[Liveness(b.liveness), Parity(parity)]
            yield view, b.name, parity, _MAY[verdict.value], b.missed.get(view, 0)
