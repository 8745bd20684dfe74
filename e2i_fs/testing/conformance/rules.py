"""How a test says what it proves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["GROUPS", "proves", "rules_of"]

F = TypeVar("F", bound=Callable[..., Any])

GROUPS = ("core", "online", "historical", "temporal", "errors", "failover")


def proves(*rules: str) -> Callable[[F], F]:
    """Mark a test with the ids of the rules that it proves."""

    def marked(test: F) -> F:
        test.__rules__ = rules  # type: ignore[attr-defined]
        return test

    return marked


def rules_of(test: Callable[..., Any]) -> tuple[str, ...]:
    """Return the ids of the rules that a test proves."""
    rules: tuple[str, ...] = getattr(test, "__rules__", ())
    return rules
