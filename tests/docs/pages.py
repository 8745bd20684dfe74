"""The documentation as things to run: pages, their fenced blocks, and what stands before each block.

An HTML comment right before a block says how to treat it, unseen by readers:
``<!-- no-run: why -->`` is shown only, ``<!-- needs: feast -->`` is skipped without that module, ``<!-- file: name -->``
is written to that file, ``<!-- raises: ErrorName -->`` must raise, ``<!-- exit: 1 -->`` must end with that code.
A ``text`` block right after another one is what that one prints; ``...`` in it stands for anything.
"""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ROOT", "Block", "blocks", "markdown_pages", "same_text"]

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?P<notes>(?:^<!-- [^\n]* -->\n)*)^(?P<indent>[ ]*)```(?P<language>[a-z]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_NOTE = re.compile(r"<!-- ([a-z-]+): (.*?) -->")
_CHECKER = doctest.OutputChecker()


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, text, line in the page, the notes before it and the output after it."""

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)
    prints: str | None = None

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def markdown_pages() -> list[Path]:
    """Return every page that users read, in a fixed order."""
    others = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "feature_repo" / "README.md"]
    return [*others, *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order; an output is part of the block that prints it."""
    found: list[Block] = []
    for block, gap in _raw(page):
        if block.language == "text" and found and not gap.strip():
            before = found[-1]
            found[-1] = Block(before.page, before.line, before.language, before.text, before.notes, block.text)
        else:
            found.append(block)
    return found


def _raw(page: Path) -> Iterator[tuple[Block, str]]:
    text = page.read_text(encoding="utf-8")
    end = 0
    for match in _BLOCK.finditer(text):
        indent = match["indent"]
        body = "".join(line.removeprefix(indent) for line in match["body"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("body")) + 1
        notes = dict(_NOTE.findall(match["notes"]))
        yield Block(page, line, match["language"], body, notes), text[end : match.start()]
        end = match.end()


def same_text(wanted: str, got: str) -> bool:
    """Return whether ``got`` is what a page shows, ``...`` standing for anything and white space for white space."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return _CHECKER.check_output(wanted.strip() + "\n", got.strip() + "\n", flags)
