"""The events that observers get: frozen values, one class each. Times are aware UTC, durations in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from e2i_fs.catalog import Plan
from e2i_fs.frozen import FrozenMap
from e2i_fs.results import Attempt

__all__ = [
    "Applied", "BreakerMoved", "Event", "FailedOver", "FreshnessChecked", "JobEnded", "LeakageFound", "Materialized",
    "OperationEnded", "ParityMoved", "Replayed", "Retrieved", "Stale", "Written",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """What every event has: when it happened, by the store's clock.

    >>> import e2i_fs as fs
    >>> class Listener:
    ...     @fs.hookimpl
    ...     def e2i_fs_on_event(self, event: fs.Event) -> None:
    ...         print(type(event).__name__)
    >>> with fs.connect({"backend": "memory"}, plugins=[Listener()]) as store:
    ...     _ = store.apply([fs.Entity("hcp", join_keys=["hcp_id"])])
    Applied
    OperationEnded
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class Applied(Event):
    """Definitions were applied or deleted."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Retrieved(Event):
    """A retrieval was answered. ``kind`` is ``"historical"`` or ``"online"``.

    ``statuses`` counts the values given, by view and then by the name of their `FeatureStatus` (O-3); what is zero is left out.
    """

    kind: str
    rows: int
    served_by: str
    degraded: bool
    duration: float
    statuses: Mapping[str, Mapping[str, int]] = field(default_factory=FrozenMap)


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
    """An answer came from another backend than the primary.

    ``reason`` is told to people. ``primary`` is who should have answered and ``cause`` why it did not, as a class of which
    there are few: that of its error, or how its attempt ended (``open``, ``isolated``, ``not the same``, ``slow``).
    """

    served_by: str
    reason: str
    primary: str = ""
    cause: str = ""


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


@dataclass(frozen=True, slots=True)
class OperationEnded(Event):
    """A call of the store has ended, well or not; one for each call of an operation of `e2i_fs.telemetry.names`.

    ``outcome`` is ``"ok"``, ``"degraded"`` (X-7), ``"refused"`` (what was asked is at fault) or ``"failed"``; ``error`` is the
    class of what was raised, None where nothing was; ``duration`` in seconds. ``served_by`` is the backend that answered a
    read, ``attempts`` each one that was asked (X-7), ``views`` the views touched, ``rows`` the rows asked about or written.
    """

    operation: str
    outcome: str
    duration: float
    error: str | None = None
    served_by: str = ""
    rows: int = 0
    views: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
