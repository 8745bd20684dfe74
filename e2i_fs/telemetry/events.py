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
    """The base of all events: ``at`` is when it happened, by the store's clock (UTC).

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
    """A retrieval was answered; ``kind`` is ``"historical"`` or ``"online"``, ``duration`` in seconds.

    ``statuses`` counts the values returned, by view and then by the name of their `FeatureStatus` (O-3); zeros are left
    out.
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

    ``reason`` is a sentence for people. ``primary`` is the backend that should have answered, and ``cause`` why it did
    not, as one of a few classes: the class of its error, or how its attempt ended (``open``, ``isolated``,
    ``not the same``, ``slow``).
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
    """A backend took write number ``seq`` to a view, which it had missed before."""

    backend: str
    view: str
    seq: int


@dataclass(frozen=True, slots=True)
class LeakageFound(Event):
    """An audit found values that could not have been known at their time; ``cells`` is how many."""

    view: str
    cells: int


@dataclass(frozen=True, slots=True)
class Stale(Event):
    """A freshness check found a view not fresh; ``status`` names its `FreshnessStatus`, ``age`` is in seconds."""

    view: str
    status: str
    age: float | None


@dataclass(frozen=True, slots=True)
class FreshnessChecked(Event):
    """A freshness check looked at a view, whatever the result; one for each view of each check (F-1, F-2).

    ``status`` names its `FreshnessStatus`. ``age`` is now minus the newest event time online, in seconds, None when
    nothing is online; ``max_staleness`` is in seconds, None for a view without a limit. ``served_by`` is the backend
    that was asked, and ``degraded`` says that it may have missed a write.
    """

    view: str
    status: str
    age: float | None
    max_staleness: float | None
    served_by: str = ""
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class JobEnded(Event):
    """A materialisation job ended, after all its tries (W-4); one for each job except dry runs.

    ``mode`` is ``"full"`` or ``"incremental"``; ``outcome`` ``"succeeded"``, ``"failed"``, ``"timed out"`` or
    ``"overlapped"``; ``duration`` is in seconds; ``error`` is ``"Type: message"`` of the last try. A job that succeeded
    has an error when one of several backends missed it and will get it by replay.
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
    """A call of the store ended, well or not; one for each call of an operation of `e2i_fs.telemetry.names`.

    ``outcome`` is ``"ok"``, ``"degraded"`` (X-7), ``"refused"`` (the caller's mistake) or ``"failed"``; ``error`` is
    the class of the error raised, None if there was none; ``duration`` is in seconds. ``served_by`` is the backend that
    answered a read, ``attempts`` each backend that was asked (X-7), ``views`` the views involved, and ``rows`` the
    number of rows asked about or written.
    """

    operation: str
    outcome: str
    duration: float
    error: str | None = None
    served_by: str = ""
    rows: int = 0
    views: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
