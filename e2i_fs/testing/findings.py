"""What the kit says of a backend that is wrong: the rule, the smallest example, what was expected and what came."""

from __future__ import annotations

import textwrap
import unittest
from typing import Any

__all__ = ["Finding", "HarnessError", "Inapplicable", "Mismatch", "Stuck"]

_MOST = 1_500


class Mismatch(AssertionError):
    """Inside a check: this answer is not the contract's. The kit makes a `Finding` of it."""

    def __init__(self, rule: str, says: str, *, expected: Any = None, got: Any = None) -> None:
        super().__init__(f"{rule}: {says}")
        self.rule = rule
        self.says = says
        self.expected = expected
        self.got = got


class Finding(AssertionError):
    """One way in which a backend breaks the contract, written for its author.

    ``rule`` is the rule's id, ``test`` the name of the test, ``says`` a sentence, ``example`` the smallest failing case
    found, ``expected`` and ``got`` the two results (all as text), and ``replay`` a command that reproduces it.
    """

    def __init__(
        self, rule: str, test: str, says: str, *, example: str = "", expected: str = "", got: str = "", replay: str = ""
    ) -> None:
        self.rule = rule
        self.test = test
        self.says = says
        self.example = example
        self.expected = expected
        self.got = got
        self.replay = replay
        super().__init__(self.text())

    def text(self) -> str:
        """Return the finding as several lines, each part under its name."""
        parts = [
            f"{self.rule} is broken ({self.test})",
            *textwrap.wrap(self.says, 110, initial_indent="  ", subsequent_indent="  "),
        ]
        for name, value in (("smallest example", self.example), ("expected", self.expected), ("got", self.got)):
            if value:
                parts += [f"  {name}:", textwrap.indent(_cut(value), "    ")]
        if self.replay:
            parts.append(f"  replay: {self.replay}")
        return "\n".join(parts)


def _cut(text: str) -> str:
    """Return as many whole lines of ``text`` as a reader wants, and a mark where there are more."""
    if len(text) <= _MOST:
        return text
    whole = text[:_MOST].rpartition("\n")[0]
    return f"{whole}\n..." if whole else f"{text[:_MOST]} ..."


class HarnessError(Exception):
    """The harness itself cannot be used, or contradicts the backend; the message says what to fix."""


class Inapplicable(unittest.SkipTest):
    """The test asks for something that the backend does not declare or the harness does not offer."""


class Stuck(BaseException):
    """A call did not come back in time. Not an `Exception`: a search for smaller examples would hang again and again."""

    def __init__(self, method: str, seconds: float) -> None:
        super().__init__(f"{method} did not come back within {seconds:g} s")
        self.method = method
        self.seconds = seconds
