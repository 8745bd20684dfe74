"""The events that observers get: frozen values, one class each. Times are aware UTC, durations in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from e2i_fs.catalog import Plan

__all__ = [
    "Applied", "BreakerMoved", "Event", "FailedOver", "LeakageFound", "Materialized", "ParityMoved", "Replayed", "Retrieved",
    "Stale", "Written",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """What every event has: when it happened, by the store's clock."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Applied(Event):
    """Definitions were applied or deleted."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Retrieved(Event):
    """A retrieval was answered. ``kind`` is ``"historical"`` or ``"online"``."""

    kind: str
    rows: int
    served_by: str
    degraded: bool
    duration: float


@dataclass(frozen=True, slots=True)
class Written(Event):
    """A batch was written to a view; ``to`` is ``"online"``, ``"offline"`` or ``"both"``."""

    view: str
    rows: int
    to: str


@dataclass(frozen=True, slots=True)
class Materialized(Event):
    """A view was materialised by one backend; ``outcome`` is ``"succeeded"`` or ``"failed"``."""

    view: str
    backend: str
    rows_written: int
    outcome: str


@dataclass(frozen=True, slots=True)
class FailedOver(Event):
    """An answer came from another backend than the primary."""

    served_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerMoved(Event):
    """A backend's liveness changed."""

    backend: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ParityMoved(Event):
    """A backend's parity for a view changed."""

    backend: str
    view: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Replayed(Event):
    """A backend took write number ``seq`` to a view, which it had missed."""

    backend: str
    view: str
    seq: int


@dataclass(frozen=True, slots=True)
class LeakageFound(Event):
    """An audit found cells that could not have been known at their time."""

    view: str
    cells: int


@dataclass(frozen=True, slots=True)
class Stale(Event):
    """A freshness check found a view that is not fresh; ``status`` is the name of its `FreshnessStatus`."""

    view: str
    status: str
    age: float | None
