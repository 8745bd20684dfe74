"""The events that observers get: frozen values, one class each. Times are aware UTC, durations in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from e2i_fs.catalog import Plan

__all__ = [
    "Applied", "BreakerMoved", "Event", "FailedOver", "FreshnessChecked", "JobEnded", "LeakageFound", "Materialized",
    "ParityMoved", "Replayed", "Retrieved", "Stale", "Written",
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


@dataclass(frozen=True, slots=True)
class FreshnessChecked(Event):
    """A freshness check looked at a view, whatever it found; one for each view of each check (F-1, F-2).

    ``status`` is the name of its `FreshnessStatus`; ``age`` is now minus the newest event time online in seconds, None
    when nothing is online; ``max_staleness`` is in seconds, None for a view without a limit. ``served_by`` is the backend
    that was asked, ``degraded`` whether it may have missed a write.
    """

    view: str
    status: str
    age: float | None
    max_staleness: float | None
    served_by: str = ""
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class JobEnded(Event):
    """A job of materialisation has ended, after all its tries (W-4); one for each job that did not only plan.

    ``mode`` is ``"full"`` or ``"incremental"``; ``outcome`` ``"succeeded"``, ``"failed"``, ``"timed out"`` or
    ``"overlapped"``; ``duration`` in seconds; ``error`` is ``"Type: message"`` of its last try. A job that succeeded has
    an error when a backend of several did not take part, and gets it by replay.
    """

    view: str
    mode: str
    outcome: str
    attempts: int
    rows_read: int
    rows_written: int
    duration: float
    error: str | None = None
    job_id: str = ""
