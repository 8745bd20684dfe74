"""Freshness by view against a limit of the caller's, and the words for what is stale (F-2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus, judge

__all__ = ["stale_words", "too_old"]


def too_old(report: FreshnessReport, limit: timedelta | None) -> FreshnessReport:
    """Return a report judged by ``limit`` in place of the view's own ``max_staleness``; None leaves it as it is."""
    if limit is None:
        return report
    return replace(report, status=judge(report.age, limit), max_staleness=limit)


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
