"""What every tool works with: the store, the budget, the plans, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from e2i_fs.agents.mcp.arguments import Strict
from e2i_fs.agents.mcp.budget import Budget
from e2i_fs.agents.mcp.plans import Plans
from e2i_fs.agents.mcp.source_rules import SourceRules
from e2i_fs.json_values import as_json
from e2i_fs.store import Store

__all__ = ["Answer", "Desk", "Tool", "plain"]


@dataclass(frozen=True)
class Desk:
    """One server's store and rules. ``allow_register`` false is read-only, the default."""

    store: Store
    budget: Budget = field(default_factory=Budget)
    allow_register: bool = False
    sources: SourceRules = field(default_factory=lambda: SourceRules((), ""))
    plans: Plans = field(default_factory=Plans)


class Answer(BaseModel):
    """What a tool answers; its JSON schema is the tool's output schema."""

    model_config = ConfigDict(extra="forbid")


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


def plain(value: Any) -> Any:
    """Return ``value`` as JSON that every reader keeps exact: times in UTC, whole numbers beyond 2**53 as text.

    >>> plain({"at": datetime(2026, 3, 1), "n": 2**60, "score": float("inf")})
    {'at': '2026-03-01T00:00:00+00:00', 'n': '1152921504606846976', 'score': 'Infinity'}
    """
    return as_json(_in_utc(value), safe_integers=True)


def _in_utc(value: Any) -> Any:
    match value:
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
        case Mapping():
            return {key: _in_utc(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_in_utc(inner) for inner in value]
    return value
