"""The pieces of the report's page, each a text of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["mark", "section", "table"]


def section(title: str, about: str, body: str) -> str:
    """Return a box with a heading, what it is about (text) and what is in it (HTML)."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>{body}</section>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a table of cells that are HTML already."""

    def row(cells: Sequence[str], tag: str) -> str:
        inner = (f"<{tag}{' class=n' if i in right else ''}>{c}</{tag}>" for i, c in enumerate(cells))
        return f"<tr>{''.join(inner)}</tr>"

    return f"<table>{row(columns, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"


def mark(holds: bool) -> str:
    """Return ``held`` or ``FAILED``, coloured."""
    return '<span class="yes">held</span>' if holds else '<span class="no">FAILED</span>'
