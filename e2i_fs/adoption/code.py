"""Python text from values: calls, lists and mappings laid out as a formatter would, every text quoted safely."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

__all__ = ["Call", "Code", "Listed", "Mapped", "Names", "assigned", "comment", "duration", "quoted", "texts"]

_WIDTH = 88
_INDENT = 4


@dataclass(frozen=True, slots=True)
class Call:
    """A call: ``function(*args, **named)``. Arguments are code already."""

    function: str
    args: Sequence[Code] = ()
    named: Mapping[str, Code] | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A list."""

    items: Sequence[Code]


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping whose keys are text."""

    items: Mapping[str, Code]


Code = str | Call | Listed | Mapped
"""Text that is Python already, or something that is laid out when it is written."""


def quoted(text: str) -> str:
    r"""Return ``text`` as a Python literal on one line of printable characters, in double quotes where that is shorter.

    >>> print(quoted('a "b"\n'), quoted("it's"))
    'a "b"\n' "it's"
    """
    mark = "'" if text.count('"') > text.count("'") else '"'
    shown = []
    for char in text:
        if char in ("\\", mark):
            shown.append("\\" + char)
        else:
            shown.append(char if char.isprintable() else repr(char)[1:-1])
    return mark + "".join(shown) + mark


def texts(items: Iterable[str]) -> Listed:
    """Return a list of text."""
    return Listed([quoted(item) for item in items])


def comment(text: str) -> str:
    """Return ``text`` as one comment line, whatever is in it."""
    return "# " + "".join(char if char.isprintable() else repr(char)[1:-1] for char in text).strip()


def duration(value: timedelta) -> Call:
    r"""Return a `timedelta` in the units that people would use.

    >>> assigned("ttl", duration(timedelta(days=1, hours=12)))
    'ttl = timedelta(days=1, hours=12)\n'
    """
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = {
        "days": value.days, "hours": hours, "minutes": minutes, "seconds": seconds, "microseconds": value.microseconds,
    }  # fmt: skip
    return Call("timedelta", named={name: str(number) for name, number in parts.items() if number})


def assigned(name: str, code: Code) -> str:
    r"""Return the statement ``name = code``, laid out.

    >>> assigned("x", Call("f", ["1"], {"y": texts(["a"])}))
    'x = f(1, y=["a"])\n'
    """
    return f"{name} = {laid_out(code, len(name) + 3)}\n"


def laid_out(code: Code, before: int = 0, indent: int = 0, after: int = 0) -> str:
    """Return ``code`` as text: on one line if it fits behind ``before`` characters, else one argument a line."""
    flat = _flat(code)
    if isinstance(code, str) or before + len(flat) + after <= _WIDTH or flat[-2:] in ("()", "[]", "{}"):
        return flat
    opening, parts, closing = _parts(code)
    inner = indent + _INDENT
    lines = [" " * inner + prefix + laid_out(part, inner + len(prefix), inner, after=1) + "," for prefix, part in parts]
    return "\n".join([opening, *lines, " " * indent + closing])


def _parts(code: Any) -> tuple[str, list[tuple[str, Code]], str]:
    if isinstance(code, Listed):
        return "[", [("", item) for item in code.items], "]"
    if isinstance(code, Mapped):
        return "{", [(f"{quoted(key)}: ", item) for key, item in code.items.items()], "}"
    named = [(f"{name}=", item) for name, item in (code.named or {}).items()]
    return f"{code.function}(", [*(("", item) for item in code.args), *named], ")"


def _flat(code: Code) -> str:
    if isinstance(code, str):
        return code
    opening, parts, closing = _parts(code)
    return opening + ", ".join(prefix + _flat(part) for prefix, part in parts) + closing


class Names:
    """Gives out names of variables: each once, none a keyword, a builtin or one of ``taken``.

    >>> names = Names({"fs"})
    >>> names.give("driver stats", "view"), names.give("driver-stats", "view"), names.give("class", "view")
    ('driver_stats', 'driver_stats_view', 'class_view')
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {*taken, *dir(builtins), *keyword.kwlist, *keyword.softkwlist}

    def give(self, wanted: str, kind: str) -> str:
        """Return a name like ``wanted``, with ``kind`` behind it when that is taken."""
        plain = re.sub(r"[^0-9A-Za-z_]+", "_", wanted).strip("_") or kind
        plain = f"{kind}_{plain}" if plain[0].isdigit() else plain
        number = 2
        name = plain
        while name in self._taken:
            name = f"{plain}_{kind}" if name == plain else f"{plain}_{kind}_{number}"
            number += name.endswith(str(number))
        self._taken.add(name)
        return name
