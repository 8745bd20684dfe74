"""The record of freshness checks, kept in the store's own file: what was found, whatever process looked (F-3)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from e2i_fs.clock import from_us, to_us
from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus
from e2i_fs.ops.records import Records

__all__ = ["FreshnessHistory"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS freshness_checks (
    view TEXT NOT NULL, checked_us INTEGER NOT NULL, status TEXT NOT NULL, age_us INTEGER, newest_event_us INTEGER,
    max_staleness_us INTEGER, warning_us INTEGER, rows INTEGER NOT NULL, served_by TEXT NOT NULL, degraded INTEGER NOT NULL,
    error TEXT);
CREATE INDEX IF NOT EXISTS freshness_checks_by_time ON freshness_checks (checked_us, view);
"""
_COLUMNS = (
    "view", "status", "age_us", "newest_event_us", "max_staleness_us", "rows", "checked_us", "served_by", "degraded", "warning_us",
    "error",
)  # fmt: skip
_MICROSECOND = timedelta(microseconds=1)


class FreshnessHistory:
    """The freshness checks in ``records``."""

    def __init__(self, records: Records) -> None:
        self._records = records
        records.extend(_SCHEMA)

    def add(self, reports: Iterable[FreshnessReport], keep: timedelta) -> None:
        """Keep what a check found of each view; forget what was found longer than ``keep`` before."""
        rows = [_row(report) for report in reports]
        if not rows:
            return
        oldest = max(row[_COLUMNS.index("checked_us")] for row in rows) - keep // _MICROSECOND
        marks = ", ".join("?" for _ in _COLUMNS)
        with self._records.transaction() as db:
            db.executemany(f"INSERT INTO freshness_checks ({', '.join(_COLUMNS)}) VALUES ({marks})", rows)
            db.execute("DELETE FROM freshness_checks WHERE checked_us < ?", (oldest,))

    def since(self, since_us: int, view: str | None = None) -> list[FreshnessReport]:
        """Return what was found at ``since_us`` or later, the oldest first, of one view or of all."""
        where, values = ("AND view = ?", (since_us, view)) if view is not None else ("", (since_us,))
        found = self._records.query(
            f"SELECT {', '.join(_COLUMNS)} FROM freshness_checks WHERE checked_us >= ? {where} ORDER BY checked_us, rowid",
            values,
        )
        return [_report(*row) for row in found]


def _row(report: FreshnessReport) -> tuple[Any, ...]:
    newest = report.newest_event_timestamp
    return (
        report.view, report.status.value, _us(report.age), None if newest is None else to_us(newest), _us(report.max_staleness),
        report.rows, to_us(report.checked_at), report.served_by, int(report.degraded), _us(report.warning_after), report.error,
    )  # fmt: skip


def _report(
    view: str, status: str, age: int | None, newest: int | None, limit: int | None, rows: int, checked: int, by: str,
    degraded: int, warning: int | None, error: str | None,
) -> FreshnessReport:  # fmt: skip
    moment = None if newest is None else from_us(newest)
    return FreshnessReport(
        view, FreshnessStatus(status), _span(age), moment, _span(limit), rows, from_us(checked), by, bool(degraded),
        _span(warning), error,
    )  # fmt: skip


def _us(span: timedelta | None) -> int | None:
    return None if span is None else span // _MICROSECOND


def _span(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else microseconds * _MICROSECOND
