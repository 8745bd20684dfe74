"""``migrate``: from one backend to another, with a parity report; or the same reads on both, timed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO
from e2i_fs.cli.failover import Views, told_diff
from e2i_fs.cli.register import AllowBreaking
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2i_fs.adoption.ends import Ends
    from e2i_fs.adoption.migrate import Moved, Planned

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "migrate", example="e2i-fs migrate --from primary --to standby --dry-run", panel="Adoption")(migrate)


def migrate(
    session: Session,
    source: Annotated[str, typer.Option("--from", help="A backend of the configuration, or a configuration file.")],
    target: Annotated[str, typer.Option("--to", help="Where to migrate to: likewise a backend or a file.")],
    view: Views = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    shadow: Annotated[
        int | None,
        typer.Option(
            "--shadow",
            min=1,
            help="Migrate nothing: read this many keys of each view on both, and compare.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="At most this many keys of each view are compared.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the sample; the same seed draws the same keys.")] = 0,
    allow_breaking: AllowBreaking = False,
) -> Answer:
    """Copy the definitions and rows of one backend to another, and report whether both answer the same.

    Rows are copied if the first backend supports that, otherwise materialised from the views' sources. An interrupted
    migration continues where it stopped when it is run again. With --shadow, online reads are repeated on both and
    timed. Exits with 1 when something is incomplete or differs, and with 3 when that is inconclusive: nothing, or not
    everything, could be compared.
    """
    from e2i_fs.adoption.ends import ends_of

    if dry_run and shadow is not None:
        raise RequestError("--shadow changes nothing anyway; leave --dry-run out.")
    named = session.config is not None or session.config_path.is_file()
    ends = ends_of(source, target, Path(session.config_path) if named else None)
    if shadow is not None:
        return _read_both(session, ends, view or None, shadow, seed)
    return _migrate(session, ends, view or None, dry_run, sample, seed, allow_breaking)


def _migrate(
    session: Session, ends: Ends, views: list[str] | None, dry_run: bool, sample: int, seed: int, allow_breaking: bool
) -> Answer:
    from e2i_fs.adoption.migrate import migrate as migrated
    from e2i_fs.adoption.migrate import planned

    if dry_run:
        plan = planned(ends, views)
        document = {**_ends(ends), "dry_run": True, **_plan(plan), "views": [_moved(each) for each in plan.views]}
        return Answer(document, [_plan_shown(plan, ends), _views(plan.views, "would be"), "Nothing was done."])
    with session.progress() as bars:
        task = bars.add_task("Looking", total=None)
        done = migrated(
            ends, views, sample=sample, seed=seed, allow_breaking=allow_breaking,
            told=lambda name: bars.update(task, description=f"Moving {name}"),
        )  # fmt: skip
    parity, parts, code = told_diff(done.diff)
    document = {
        **_ends(ends), "dry_run": False, **_plan(done.plan), "views": [_moved(each) for each in done.views], "parity": parity,
    }  # fmt: skip
    failed = [Text(f"{m.view}: {m.error}", style="red") for m in done.views if m.error]
    shown = [_plan_shown(done.plan, ends), _views(done.views, ""), *failed, *parts]
    return Answer(document, shown, code if done.whole else NO)


def _read_both(session: Session, ends: Ends, views: list[str] | None, reads: int, seed: int) -> Answer:
    from e2i_fs.adoption.migrate import read_both

    with session.progress() as bars:
        bars.add_task(f"Reading from {ends.source} and {ends.target}", total=None)
        found = read_both(ends, views, reads=reads, seed=seed)
    parity, parts, code = told_diff(found.diff)
    columns = ["backend", "reads", "p50 ms", "p95 ms", "p99 ms"]
    rows = [(name, t.reads, *(_ms(x) for x in (t.p50, t.p95, t.p99))) for name, t in found.latency.items()]
    latency = {
        n: {"reads": t.reads, "p50_ms": t.p50, "p95_ms": t.p95, "p99_ms": t.p99} for n, t in found.latency.items()
    }
    document = {**_ends(ends), "latency": latency, "parity": parity}
    return Answer(document, [table("Online reads, one key each", columns, rows, right=range(1, 5)), *parts], code)


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _ends(ends: Ends) -> dict[str, Any]:
    return {"from": ends.source, "to": ends.target}


def _plan(plan: Planned) -> dict[str, Any]:
    return {
        "created": plan.created, "updated": plan.updated, "unchanged": plan.unchanged, "breaking": plan.breaking,
    }  # fmt: skip


def _moved(moved: Moved) -> dict[str, Any]:
    return {"view": moved.view, "how": moved.how, "rows_online": moved.rows, "error": moved.error}


def _plan_shown(plan: Planned, ends: Ends) -> Text:
    text = Text()
    for sign, style, items in (("+", "green", plan.created), ("~", "yellow", plan.updated)):
        for item in items:
            text.append(f"{sign} {item}\n", style)
    for item in plan.breaking:
        text.append(f"! breaking: {item}\n", "bold red")
    text.append(f"  {len(plan.unchanged)} unchanged on {ends.target}", "dim")
    return text


def _views(views: Sequence[Moved], before: str) -> Any:
    def how(moved: Moved) -> str:
        return moved.how if moved.how == "there already" else f"{before} {moved.how}".strip()

    rows = [(m.view, Text("NOT WHOLE", style="bold red") if m.error else how(m), m.rows) for m in views]
    return table("Rows", ["view", "rows", "online on the source"], rows, right=[2])
