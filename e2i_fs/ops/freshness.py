"""Freshness by the data, not by the clock of a command (F-1, F-2)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from e2i_fs.clock import from_us
from e2i_fs.telemetry.events import Event, FreshnessChecked, Stale

if TYPE_CHECKING:
    from e2i_fs.backend import Position
    from e2i_fs.results import Provenance

__all__ = ["FreshnessReport", "FreshnessStatus", "judge", "report_of", "told", "worst"]


_SKEW = timedelta(minutes=1)


class FreshnessStatus(enum.StrEnum):
    """How the age of a view's newest row compares with its ``max_staleness`` M (F-2).

    ``FRESH`` up to M/2, ``WARNING`` up to M, ``STALE`` up to 2M, ``EXPIRED`` beyond, ``UNKNOWN`` when nothing is online
    or the age cannot be known. ``UNKNOWN`` is not fresh.

    >>> from e2i_fs import FreshnessStatus
    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:  # nothing is online yet
    ...     store.freshness()["hcp_stats"].status is FreshnessStatus.UNKNOWN
    True
    """

    FRESH = "FRESH"
    WARNING = "WARNING"
    STALE = "STALE"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class FreshnessReport:
    """The freshness of one view at ``checked_at`` (F-1, F-2).

    ``age`` is now minus ``newest_event_timestamp``, the newest event time online; both are None when nothing is online.
    ``max_staleness`` is the limit M, None when there is none, and ``warning_after`` the age from which the status is
    WARNING. ``rows`` is how many rows are online. ``served_by`` is the backend that was asked, and ``degraded`` says
    that it may have missed a write. ``error`` says why the status is UNKNOWN although something may be online: the
    check failed, rows were lost, or the newest row is dated in the future.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     _ = store.materialize_incremental()
    ...     report = store.freshness()["hcp_stats"]
    >>> print(report.status, "at", report.age, "of", report.max_staleness, "by", report.served_by)
    STALE at 2 days, 12:00:00 of 2 days, 0:00:00 by memory
    """

    view: str
    status: FreshnessStatus
    age: timedelta | None
    newest_event_timestamp: datetime | None
    max_staleness: timedelta | None
    rows: int
    checked_at: datetime
    served_by: str
    degraded: bool = False
    warning_after: timedelta | None = None
    error: str | None = None


def report_of(
    view: str,
    position: Position,
    max_staleness: timedelta | None,
    now: datetime,
    provenance: Provenance,
    *,
    warning: timedelta | None = None,
    skew: timedelta = _SKEW,
    lost: bool = False,
) -> FreshnessReport:
    """Return the freshness of a view at ``now`` by the position that a backend told of it (F-1).

    ``warning`` stands in for M/2 (F-2). A newest row that is dated up to ``skew`` after ``now`` has an age of zero: clocks
    differ a little. One that is dated later makes the age unknown: this clock went back, or the row's time is wrong. So does a
    backend that has ``lost`` rows, whatever is there of the others.
    """
    newest = None if position.newest_event_us is None else from_us(position.newest_event_us)
    age, error = (None if newest is None else max(now - newest, timedelta(0))), None
    if newest is not None and newest - now > skew:
        age = None
        error = (
            f"The newest row is dated {newest.isoformat()}, after now ({now.isoformat()}), so its age cannot be told. Set this "
            "machine's clock, or mend the row."
        )
    if lost:
        age = None
        error = (
            f"Rows of the view are gone from backend {provenance.served_by!r}, so the age of what there was cannot be told. Materialise it "
            f"from the beginning: store.materialize(None, views=[{view!r}])."
        )
    by, degraded = provenance.served_by, provenance.degraded
    limit = max_staleness / 2 if warning is None and max_staleness is not None else warning
    status = judge(age, max_staleness, limit)
    return FreshnessReport(view, status, age, newest, max_staleness, position.rows, now, by, degraded, limit, error)


def judge(age: timedelta | None, max_staleness: timedelta | None, warning: timedelta | None = None) -> FreshnessStatus:
    """Return the status of an age: fresh up to M/2 (or ``warning``), warning up to M, stale up to 2M, then expired (F-2).

    No record is UNKNOWN, which is not fresh. A view without a limit is fresh whatever its age.

    >>> judge(timedelta(hours=7), timedelta(hours=12))
    <FreshnessStatus.WARNING: 'WARNING'>
    """
    if age is None:
        return FreshnessStatus.UNKNOWN
    if max_staleness is None or age <= (max_staleness / 2 if warning is None else warning):
        return FreshnessStatus.FRESH
    if age <= max_staleness:
        return FreshnessStatus.WARNING
    return FreshnessStatus.STALE if age <= 2 * max_staleness else FreshnessStatus.EXPIRED


def worst(statuses: Iterable[FreshnessStatus]) -> FreshnessStatus:
    """Return the status that is furthest from fresh; UNKNOWN is further than any, and stands for none at all.

    >>> worst([FreshnessStatus.FRESH, FreshnessStatus.STALE])
    <FreshnessStatus.STALE: 'STALE'>
    """
    return max(statuses, key=list(FreshnessStatus).index, default=FreshnessStatus.UNKNOWN)


def told(reports: Iterable[FreshnessReport], emit: Callable[[Callable[[datetime], Event]], None]) -> None:
    """Tell observers of a check: each view's `FreshnessChecked`, and `Stale` of those that are not fresh."""
    for report in reports:
        age = None if report.age is None else report.age.total_seconds()
        limit = None if report.max_staleness is None else report.max_staleness.total_seconds()
        emit(
            lambda at, r=report, age=age, limit=limit: FreshnessChecked(  # type: ignore[misc]
                at, r.view, r.status, age, limit, r.served_by, r.degraded
            )
        )
        if report.status is not FreshnessStatus.FRESH:
            emit(lambda at, r=report, age=age: Stale(at, r.view, r.status, age))  # type: ignore[misc]
