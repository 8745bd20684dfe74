"""What every tool works with: the store, the budget, the plans, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from e2i_fs.agents.mcp.plans import Plans
from e2i_fs.agents.mcp.source_rules import SourceRules
from e2i_fs.wire import desk as wire
from e2i_fs.wire.arguments import Strict
from e2i_fs.wire.desk import Answer

__all__ = ["Desk", "Tool"]


@dataclass(frozen=True)
class Desk(wire.Desk):
    """One server's store and rules. ``allow_register`` false is read-only, the default."""

    allow_register: bool = False
    sources: SourceRules = field(default_factory=lambda: SourceRules((), ""))
    plans: Plans = field(default_factory=Plans)


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: what it is for, what it takes and gives, and the blocking call that does it."""

    name: str
    title: str
    about: str
    arguments: type[Strict]
    answer: type[Answer]
    run: Callable[[Desk, Any], Mapping[str, Any]]
    reads_only: bool = True
