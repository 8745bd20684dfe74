"""The demo on a terminal: chapters, a line for each claim, and a spinner for what takes a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from e2i_fs.cli.demo.claims import Claim
from e2i_fs.cli.demo.run import Story, Teller
from e2i_fs.cli.tables import key_values, table

__all__ = ["TerminalTeller", "summary"]

_PLURAL = {"entity": "entities", "view": "views", "service": "services"}


class TerminalTeller(Teller):
    """Tells on ``out``, which may be None; what is going on is a spinner where there is a terminal: there or on ``err``."""

    def __init__(self, out: Console | None, err: Console) -> None:
        self._out = out
        screen = out if out is not None and out.is_terminal else err
        self._status = screen.status("") if screen.is_terminal else None
        self._number = 0

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def _print(self, what: Any) -> None:
        if self._out is not None:
            self._out.print(what)

    def chapter(self, title: str, about: str) -> None:
        """Print a heading."""
        self._number += 1
        self._print(f"\n[bold]{self._number}. {escape(title)}[/]  [dim]{escape(about)}[/]")
        self.step(title)

    def step(self, what: str) -> None:
        """Turn the spinner's text."""
        if self._status is not None:
            self._status.update(escape(what))

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Print names and values."""
        self._print(_indented(key_values(facts)))

    def plan(self, plan: Any) -> None:
        """Print what was registered, by kind."""
        kinds: dict[str, int] = {}
        for item in (*plan.created, *plan.updated, *plan.unchanged):
            kind = next(k for k in ("on-demand view", "entity", "view", "service") if item.startswith(k))
            kinds[kind] = kinds.get(kind, 0) + 1
        self.facts({"registered": ", ".join(f"{n} {_PLURAL.get(kind, kind)}" for kind, n in kinds.items())})

    def claim(self, claim: Claim) -> None:
        """Print a claim as it was found."""
        mark = Text(" ✓", style="bold green") if claim.holds else Text(" ✗", style="bold red")
        text = Text(claim.text if claim.holds else f"FAILED: {claim.text}", style="" if claim.holds else "bold red")
        self._print(_indented(Group(text, Text(claim.evidence, style="dim")), mark))


def _indented(what: Any, mark: Text | None = None) -> Any:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=2)
    grid.add_column()
    grid.add_row(mark or Text(), what)
    return grid


def summary(story: Story, report: str) -> Panel:
    """Return the panel that the demo ends with: who served what, and whether every claim held."""
    rows = []
    phases: dict[str, list[Any]] = {}
    for r in story.requests:
        phases.setdefault(r.phase, []).append(r)
    for phase, group in phases.items():
        who = Text(", ".join(sorted({r.served_by for r in group})))
        marked = Text("degraded", style="bold red") if any(r.degraded for r in group) else Text("no", style="green")
        times = sorted(r.milliseconds for r in group)
        rows.append((phase, len(group), who, marked, f"{times[len(times) // 2]:.1f}", f"{times[-1]:.1f}"))
    served = table(None, ["phase", "asked", "served by", "degraded", "median", "slowest"], rows, right=[1, 4, 5])
    made = story.claims.made
    held = sum(c.holds for c in made)
    good = story.claims.all_hold
    verdict = Text(f"{held} of {len(made)} claims held", style="bold green" if good else "bold red")
    if story.failover != "shown":
        verdict.append(f"\nFailover is {story.failover}.", style="yellow")
    return Panel(Group(served, verdict, Text(f"Report: {report}")), title="Who served what, and in how many milliseconds", title_align="left",
                 border_style="green" if good else "red", expand=False)  # fmt: skip
