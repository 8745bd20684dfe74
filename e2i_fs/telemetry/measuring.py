"""What each event counts for: events in, measurements out. Whoever keeps them, OpenTelemetry or Prometheus, keeps the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from e2i_fs.results import Attempt
from e2i_fs.telemetry import names
from e2i_fs.telemetry.events import (
    Applied,
    BreakerMoved,
    Event,
    FailedOver,
    FreshnessChecked,
    JobEnded,
    LeakageFound,
    Materialized,
    OperationEnded,
    ParityMoved,
    Replayed,
    Retrieved,
    Written,
)
from e2i_fs.telemetry.names import Metric

__all__ = ["Measurement", "measured"]


class Measurement(NamedTuple):
    """One number: added to a counter, put into a histogram, or what a gauge is. ``labels`` are in the metric's order."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


_CALLED = frozenset(names.ASKED.values)


def measured(event: Event) -> Iterator[Measurement]:
    """Yield what an event counts for; nothing for one that is of no metric.

    >>> from datetime import UTC, datetime
    >>> [(m.metric.name, m.value, m.labels) for m in measured(Written(datetime.now(UTC), "hcp_stats", 3, "both"))]
    [('e2i_fs.written.rows', 3, ('hcp_stats', 'both'))]
    """
    match event:
        case OperationEnded():
            yield from _operation(event)
        case Retrieved():
            for view, statuses in event.statuses.items():
                for status, number in statuses.items():
                    yield Measurement(names.VALUES, number, (event.kind, view, status))
        case Written():
            yield Measurement(names.WRITTEN_ROWS, event.rows, (event.view, event.to))
        case Materialized():
            yield Measurement(names.RUNS, 1, (event.view, event.backend, event.outcome))
            yield Measurement(names.MATERIALIZED_ROWS, event.rows_written, (event.view, event.backend))
        case JobEnded():
            yield Measurement(names.JOBS, 1, (event.view, event.mode, event.outcome))
            yield Measurement(names.JOB_ATTEMPTS, event.attempts, (event.view, event.mode))
            yield Measurement(names.JOB_DURATION, event.duration, (event.mode, event.outcome))
        case FreshnessChecked():
            yield Measurement(names.FRESHNESS_CHECKS, 1, (event.view, event.status))
        case FailedOver():
            yield Measurement(names.FAILOVERS, 1, (event.primary, event.served_by, event.cause))
        case BreakerMoved():
            yield Measurement(names.BREAKER_MOVES, 1, (event.backend, event.before, event.after))
        case ParityMoved():
            yield Measurement(names.PARITY_MOVES, 1, (event.backend, event.view, event.before, event.after))
        case Replayed():
            yield Measurement(names.REPLAYED_WRITES, 1, (event.backend, event.view))
        case LeakageFound():
            yield Measurement(names.LEAKED_CELLS, event.cells, (event.view,))
        case Applied():
            plan = event.plan
            changes = {"created": plan.created, "updated": plan.updated, "removed": plan.removed}
            for change, items in changes.items():
                if items:
                    yield Measurement(names.DEFINITIONS, len(items), (change,))


def _operation(event: OperationEnded) -> Iterator[Measurement]:
    labels = (event.operation, event.served_by, event.outcome, event.error or "")
    yield Measurement(names.OPERATION_DURATION, event.duration, labels)
    if event.error is not None:
        yield Measurement(names.ERRORS, 1, (event.operation, event.error))
    if event.outcome == "degraded":
        yield Measurement(names.DEGRADED, 1, (event.operation, event.served_by))
    if event.rows:
        yield Measurement(names.ROWS, event.rows, (event.operation,))
    for attempt in event.attempts:
        if attempt.outcome in _CALLED:  # one that was passed over took no time
            yield Measurement(names.ATTEMPT_DURATION, attempt.duration, _attempted(event.operation, attempt))


def _attempted(operation: str, attempt: Attempt) -> tuple[str, ...]:
    return operation, attempt.backend, attempt.outcome, attempt.cause if attempt.outcome == "failed" else ""
