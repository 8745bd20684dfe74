"""``freshness`` and ``health``: may what is served be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.clock import SystemClock
from e2i_fs.errors import RequestError

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
    record: Annotated[
        bool, typer.Option("--record", help="Record the result, for --history.", show_default=False)
    ] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Show what was recorded, instead of checking now.", show_default=False)
    ] = False,
    days: Annotated[
        float | None, typer.Option("--days", help="With --history: how many days to look back.", show_default="7")
    ] = None,
) -> Answer:
    """Show how old the newest online row of each view is, against its max_staleness.

    Exits with 1 when a view is STALE, EXPIRED or UNKNOWN (nothing is online, or it cannot be determined). With
    --history it shows the past, and exits with 0.
    """
    if history and record:
        raise RequestError("--history and --record are both given: one looks back, the other adds to it. Give one.")
    if history:
        return _history(session, view or [], 7.0 if days is None else days)
    if days is not None:
        raise RequestError("--days is for --history, which is not given.")
    with session.store() as store:
        found = store.jobs().check_freshness(view or None) if record else store.freshness(view or None)
    reports = list(found.values())
    asked = [r.served_by + (" (degraded)" if r.degraded else "") for r in reports]
    rows = [
        (r.view, r.status.value, r.age, r.max_staleness, r.rows, who) for r, who in zip(reports, asked, strict=True)
    ]
    parts: list[Any] = [table(None, ["view", "status", "age", "limit", "rows", "asked"], rows, right=[4])]
    if not reports:
        parts = ["No view is online here: `e2i-fs apply` registers views."]
    parts += [f"{r.view}: {escape(r.error)}" for r in reports if r.error is not None]
    return Answer({"views": reports}, parts, NO if any(r.status.value in _BAD for r in reports) else OK)


def _history(session: Session, views: Sequence[str], days: float) -> Answer:
    """Return what checks found over days: a line for each view, and every check in the document."""
    from e2i_fs.cli.sparkline import sparkline

    with session.store() as store:
        found = store.freshness_history(days=days)
        known = {report.view for report in found}
        chosen = [name if name in known else store.get_feature_view(name).name for name in views] or sorted(known)
        until = SystemClock().now()  # the store of a command has no other
    by_view = {name: [r for r in found if r.view == name] for name in chosen}
    rows: list[tuple[Any, ...]] = []
    for name, reports in by_view.items():
        if not reports:
            rows.append((name, 0, None, None, None, None, None))
            continue
        last, failed = reports[-1], sum(r.error is not None for r in reports)
        oldest = max((r.age for r in reports if r.age is not None), default=None)
        line = sparkline(reports, until=until, days=days)
        rows.append((name, len(reports), failed or None, line, last.status.value, last.checked_at, oldest))
    if not rows:
        said = f"No check was recorded in the last {days:g} days: `e2i-fs freshness --record` makes one, or a schedule."
        return Answer({"checks": []}, [said])
    columns = ["view", "checks", "failed", f"{days:g} days", "last", "checked", "oldest"]
    shown = table(None, columns, rows, right=[1, 2])
    return Answer({"checks": [r for reports in by_view.values() for r in reports]}, [shown])


def health(
    session: Session,
    deadline: Annotated[float, typer.Option(help="Seconds that each backend may take to answer.")] = 1.0,
) -> Answer:
    """Show whether each backend is up and, view by view, whether it would answer the same and what it may do.

    The breaker, sampled reads and hedged reads are those of this new process; a running service has its own. Exits with
    1 when a backend is down, or diverged or unverified for a view. A lagging backend catches up by itself.
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
