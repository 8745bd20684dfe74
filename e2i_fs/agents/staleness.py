"""Freshness against a limit: by view, and of the values that single contexts get; the words for what is stale (F-2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus, judge
from e2i_fs.results import FeatureStatus, OnlineResult

__all__ = ["stale_contexts", "stale_words", "too_old"]

_SHOWN = 5
_ANSWERED = (FeatureStatus.PRESENT, FeatureStatus.NULL_VALUE)


def too_old(report: FreshnessReport, limit: timedelta | None) -> FreshnessReport:
    """Return a report judged by ``limit`` in place of the view's own ``max_staleness``; None leaves it as it is."""
    if limit is None:
        return report
    return replace(report, status=judge(report.age, limit), max_staleness=limit, warning_after=limit / 2)


def stale_words(freshness: Mapping[str, FreshnessReport]) -> list[str]:
    """Return a sentence for each view that is not fresh enough: stale, expired, or without any record."""
    said = []
    for view, report in freshness.items():
        if report.status in (FreshnessStatus.STALE, FreshnessStatus.EXPIRED):
            said.append(
                f"view {view!r} is {report.status.value}: its newest row is {report.age} old, {report.max_staleness} allowed"
            )
        elif report.status is FreshnessStatus.UNKNOWN:
            said.append(f"view {view!r} is UNKNOWN: nothing of it is online, which is not fresh")
    return said


def stale_contexts(
    answer: OnlineResult, rows: Sequence[Mapping[str, Any]], catalog: Catalog, limit: timedelta | None, now: datetime
) -> list[str]:
    """Return a sentence for each view that answers some of ``rows`` from a row older than allowed, naming which.

    A view with fresh rows may yet have an old one for a single entity. ``limit`` stands in for each view's own
    ``max_staleness``. An on-demand value is as old as the oldest value that it is computed from, and has the longest
    limit of theirs. What is not served (`NOT_FOUND`, `OUTSIDE_MAX_AGE`) is not stale.
    """
    said: dict[str, str] = {}
    for ref, times in answer.event_timestamps.items():
        view = ref.partition(":")[0]
        allowed = _limit(catalog, view) if limit is None else limit
        if allowed is None or view in said:
            continue
        statuses = answer.statuses[ref]
        old = [
            (row, now - event)
            for row, event in enumerate(times)
            if event is not None and statuses[row] in _ANSWERED and now - event > allowed
        ]
        if old:
            shown = "; ".join(f"context {row} ({_key(rows[row])}), {age} old" for row, age in old[:_SHOWN])
            more = f"; and {len(old) - _SHOWN} more" if len(old) > _SHOWN else ""
            said[view] = (
                f"view {view!r} answers {len(old)} of {len(times)} contexts from rows older than {allowed}: {shown}{more}"
            )
    return list(said.values())


def _limit(catalog: Catalog, view: str) -> timedelta | None:
    if view in catalog.views:
        return catalog.views[view].max_staleness
    limits = [catalog.views[ref.partition(":")[0]].max_staleness for ref in catalog.on_demand[view].inputs]
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def _key(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in row.items())
