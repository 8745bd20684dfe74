"""What is kept of an event: which it was, in names and texts without what varies from one to the next, and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from e2i_fs.telemetry.events import (
    Applied,
    BreakerMoved,
    Event,
    FailedOver,
    JobEnded,
    LeakageFound,
    Materialized,
    ParityMoved,
    Replayed,
    Stale,
)

__all__ = ["KINDS", "About", "about", "sentence"]

About = tuple[tuple[str, str | int], ...]
"""Names and values: equal for two events that are the same but for their time."""


def about(event: Event) -> About | None:
    """Return what an event was about; None for one that is not kept: reads and writes, and what changed nothing.

    Times, ages and durations are left out, so that the same thing happening again is counted and not listed.

    >>> from datetime import UTC, datetime
    >>> about(Stale(datetime(2024, 3, 10, tzinfo=UTC), "visits", "EXPIRED", 90_000.0))
    (('view', 'visits'), ('status', 'EXPIRED'))
    """
    of = _OF.get(type(event))
    return None if of is None else of(event)


def _applied(event: Any) -> About | None:
    plan = event.plan
    if plan.dry_run or not plan.changes:
        return None
    named = (("created", plan.created), ("updated", plan.updated), ("removed", plan.removed))
    return tuple((name, ", ".join(items)) for name, items in named if items)


def _materialized(event: Any) -> About | None:
    if event.outcome == "succeeded":
        return None  # the records of runs have those
    return (("view", event.view), ("backend", event.backend), ("outcome", event.outcome))


def _job_ended(event: Any) -> About:
    said: About = (("view", event.view), ("mode", event.mode), ("outcome", event.outcome))
    return said if event.error is None else (*said, ("error", event.error))


_OF: Mapping[type[Event], Callable[[Any], About | None]] = {
    Applied: _applied,
    BreakerMoved: lambda e: (("backend", e.backend), ("before", e.before), ("after", e.after)),
    FailedOver: lambda e: (("backend", e.served_by), ("reason", e.reason)),
    JobEnded: _job_ended,
    LeakageFound: lambda e: (("view", e.view), ("cells", e.cells)),
    Materialized: _materialized,
    ParityMoved: lambda e: (("backend", e.backend), ("view", e.view), ("before", e.before), ("after", e.after)),
    Replayed: lambda e: (("backend", e.backend), ("view", e.view)),
    Stale: lambda e: (("view", e.view), ("status", e.status)),
}
KINDS = tuple(sorted(kind.__name__ for kind in _OF))


def sentence(kind: str, what: Mapping[str, Any]) -> str:
    """Return in words what happened, without when and how often.

    >>> sentence("BreakerMoved", {"backend": "redis", "before": "closed", "after": "open"})
    'Backend redis: its breaker went from closed to open.'
    """
    if kind not in _WORDS or not what:
        return f"{kind}: more of them, of other kinds than are listed apart."
    return _WORDS[kind](what)


def _changes(what: Mapping[str, Any]) -> str:
    return "Definitions changed: " + "; ".join(f"{name} {items}" for name, items in what.items()) + "."


def _job(what: Mapping[str, Any]) -> str:
    why = f": {what['error']}" if what.get("error") else "."
    return f"View {what['view']}: its {what['mode']} job {_ENDED.get(what['outcome'], what['outcome'])}{why}"


def _stale(what: Mapping[str, Any]) -> str:
    unknown = " (nothing is online, or it could not be told)" if what["status"] == "UNKNOWN" else ""
    return f"View {what['view']} is {what['status']}{unknown}."


_ENDED = {"overlapped": "met another run of the view"}
_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "Applied": _changes,
    "BreakerMoved": lambda w: f"Backend {w['backend']}: its breaker went from {w['before']} to {w['after']}.",
    "FailedOver": lambda w: f"Backend {w['backend']} answered in place of the primary: {w['reason']}",
    "JobEnded": _job,
    "LeakageFound": lambda w: f"View {w['view']}: {w['cells']} cells could not have been known at their time.",
    "Materialized": lambda w: f"View {w['view']}: its materialisation on backend {w['backend']} {w['outcome']}.",
    "ParityMoved": lambda w: (
        f"Backend {w['backend']}, view {w['view']}: parity went from {w['before']} to {w['after']}."
    ),
    "Replayed": lambda w: f"Backend {w['backend']}, view {w['view']}: took a write that it had missed.",
    "Stale": _stale,
}
