"""How answers look on a terminal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["STATUS_STYLE", "cell", "duration", "key_values", "provenance_line", "show", "table"]

STATUS_STYLE = {
    "PRESENT": "green",
    "NULL_VALUE": "yellow",
    "NOT_FOUND": "red",
    "OUTSIDE_MAX_AGE": "magenta",
    "FRESH": "green",
    "WARNING": "yellow",
    "STALE": "red",
    "EXPIRED": "bold red",
    "UNKNOWN": "magenta",
    "verified": "green",
    "lagging": "yellow",
    "diverged": "bold red",
    "unverified": "magenta",
}


_PROSE = frozenset({"about", "why", "why, and what to do", "why not", "join keys"})
_LONG = 60  # text beyond so many characters is folded where the terminal is narrow, whatever its column
_ANY = 100_000


def table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[int] = ()
) -> Table:
    """Return a table of cells; the columns numbered in ``right``, the numbers, are right-aligned. Only prose is folded."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )  # fmt: skip
    aligned = set(right)
    cells = [[cell(value) for value in row] for row in rows]
    for i, column in enumerate(columns):
        side: Literal["left", "right"] = "right" if i in aligned else "left"
        widest = max((row[i].cell_len for row in cells), default=0)
        folds = column in _PROSE or (i not in aligned and widest > _LONG)
        least = None if folds else max(widest, len(column))
        made.add_column(column, justify=side, overflow="fold", no_wrap=not folds, min_width=least)
    for row in cells:
        made.add_row(*row)
    return made


def show(console: Console, part: RenderableType) -> None:
    """Print one part of an answer, with nothing cut off: a digit less is another number.

    On a terminal that is too narrow for a table its headings become taller, and then it wider than the terminal. Into a
    pipe each row is one line, however long, for whatever reads it there.
    """
    if not isinstance(part, Table):
        console.print(part, soft_wrap=isinstance(part, str | Text) and not console.is_terminal)
        return
    width, unlimited = console.width, console.options.update(width=_ANY)
    if console.is_terminal and console.measure(part, options=unlimited).minimum > width:
        for column in part.columns:
            column.header = "\n".join(str(column.header).split())
            if column.min_width is not None:
                column.min_width = max(Text(str(c)).cell_len for c in (*column.header.split("\n"), *column._cells))
    needed = console.measure(part, options=unlimited)
    console.width = max(width, needed.minimum) if console.is_terminal else needed.maximum
    console.print(part)
    console.width = width


def cell(value: Any) -> Text:
    """Return one value as people read it: statuses in colour, what is missing as a dash."""
    if isinstance(value, Text):
        return value
    if value is None:
        return Text("—", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    if isinstance(value, int):
        return Text(f"{value:,}")
    if isinstance(value, dt.timedelta):
        return Text(duration(value))
    if isinstance(value, dt.datetime):
        return Text(value.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00"))
    text = str(value)
    return Text(text, style=STATUS_STYLE.get(text, ""))


def duration(span: dt.timedelta | None) -> str:
    """Return a length of time in the two units that matter.

    >>> duration(dt.timedelta(days=2, hours=3, seconds=7))
    '2 d 3 h'
    """
    if span is None:
        return "—"
    seconds = span.total_seconds()
    if abs(seconds) < 60:
        return f"{seconds:.3g} s"
    counts: list[tuple[int, str]] = []
    left = round(abs(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or counts:
            counts.append((count, unit))
    return ("-" if seconds < 0 else "") + " ".join(f"{count} {unit}" for count, unit in counts[:2] if count)


def provenance_line(provenance: Any) -> str:
    """Return who answered, as one line of rich markup."""
    who = f"answered by [bold]{escape(provenance.served_by)}[/] ({provenance.role})"
    if provenance.degraded:
        return f"{who}, [bold red]DEGRADED[/]: {escape(provenance.reason or '')}"
    passed = [f"{a.backend} {a.outcome}" for a in provenance.attempts if a.outcome != "answered"]
    return who + (f"; before it: {escape(', '.join(passed))}" if passed else "")


def key_values(pairs: Mapping[str, Any]) -> Table:
    """Return names and values as two columns without lines."""
    made = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs.items():
        made.add_row(name, cell(value))
    return made
