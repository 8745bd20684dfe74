"""What an audit says: findings, the outcome of every check, and the whole in JSON and HTML."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.outcome import Outcome, worst

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AuditReport", "Check", "Example", "Finding"]


@dataclass(frozen=True, slots=True)
class Example:
    """One cell or row of a finding.

    ``row`` is the position in the frame, from 0. ``value`` is what the frame holds, ``answer`` what the store says it
    should be. ``event_timestamp`` and ``created_timestamp`` are those of the source row that ``value`` came from, None
    if none was found; ``key`` is that row's key if it is not the entity row's own.

    >>> from datetime import datetime
    >>> from e2i_fs.quality import audit
    >>> from e2i_fs.testing import example_store
    >>> frame = {"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 2)], "trx_count": [14]}
    >>> with example_store() as store:
    ...     (example,) = audit(frame, store, ["hcp_stats:trx_count"]).findings[0].examples
    >>> example.row, example.value, example.answer, example.event_timestamp.day
    (0, 14, 10, 5)
    """

    row: int
    value: Any = None
    answer: Any = None
    timestamp: dt.datetime | None = None
    event_timestamp: dt.datetime | None = None
    created_timestamp: dt.datetime | None = None
    key: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known, as a JSON value."""
        known = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {n: _plain(v) for n, v in known.items() if v is not None or n in ("row", "value", "answer")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an audit found wrong: its kind, column (None for rows and splits) and number of cells.

    ``outcome`` is FAILED or WARNING, ``examples`` are at most five, and ``message`` says what, where, and what to do.

    >>> from datetime import datetime
    >>> from e2i_fs.quality import audit
    >>> from e2i_fs.testing import example_store
    >>> frame = {"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 2)], "trx_count": [14]}
    >>> with example_store() as store:
    ...     (finding,) = audit(frame, store, ["hcp_stats:trx_count"]).findings
    >>> str(finding.kind), finding.feature, finding.cells, finding.outcome.value
    ('FUTURE_VALUE', 'hcp_stats:trx_count', 1, 'failed')
    """

    kind: LeakKind
    message: str
    feature: str | None = None
    cells: int = 0
    examples: tuple[Example, ...] = ()
    outcome: Outcome = Outcome.FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as a JSON value."""
        return {
            "kind": self.kind.value, "feature": self.feature, "outcome": self.outcome.value, "cells": self.cells,
            "message": self.message, "examples": [example.to_dict() for example in self.examples],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One check of an audit: its name, its outcome, and an explanation where one is needed.

    >>> from datetime import datetime
    >>> from e2i_fs.quality import audit
    >>> from e2i_fs.testing import example_store
    >>> frame = {"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 2)], "trx_count": [10]}
    >>> with example_store() as store:
    ...     report = audit(frame, store, ["hcp_stats:trx_count"])
    >>> [(check.name, check.outcome.value) for check in report.checks]
    [('point in time', 'passed'), ('duplicate rows', 'passed'), ('labels among features', 'passed')]
    """

    name: str
    outcome: Outcome
    message: str = ""
    findings: tuple[Finding, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the check without its findings, as a JSON value."""
        return {"name": self.name, "outcome": self.outcome.value, "message": self.message}


@dataclass(frozen=True)
class AuditReport:
    """The result of an audit.

    ``checks`` has every check that was run; ``not_asked`` names those that had nothing to judge (no target, no splits),
    each with what to pass for it: they do not affect the outcome. ``rows`` and ``cells`` count what was compared with
    the store.

    ``wrong_cells`` is an Arrow table of *all* differing cells, not only five per finding; None where no cell was
    compared. It has one row for each cell, feature by feature and in the frame's row order: ``row`` (int64, the
    position in the frame, from 0), ``feature`` (string, the reference), ``kind`` (string, of `LeakKind`), ``value`` and
    ``answer`` (string: what the frame holds and what the store says, as DuckDB writes it: ``1.5``, ``true``,
    ``2024-03-01 00:00:00`` in UTC; null where missing), ``event_us`` and ``created_us`` (int64, microseconds since
    1970, of the source row that the value came from; null if none was found). Values of all dtypes share a column,
    hence text; `Finding.examples` have them typed.

    >>> from e2i_fs.quality import AuditReport, Outcome
    >>> from e2i_fs.quality import Check
    >>> report = AuditReport((Check("split rows", Outcome.PASSED),), {"target": "give target="}, rows=3, cells=6)
    >>> report.outcome.value, report.clean
    ('passed', True)
    """

    checks: tuple[Check, ...]
    not_asked: Mapping[str, str]
    rows: int
    cells: int
    wrong_cells: pa.Table | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings: failures before warnings, then the most cells first."""
        found = [finding for check in self.checks for finding in check.findings]
        return tuple(sorted(found, key=lambda f: (f.outcome is not Outcome.FAILED, -f.cells)))

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of any check: one that raised counts as failed, one that could not judge as not passed."""
        return worst(check.outcome for check in self.checks)

    @property
    def clean(self) -> bool:
        """Whether nothing was found and every check could be judged."""
        return self.outcome is Outcome.PASSED

    def of_kind(self, kind: LeakKind | str) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(f for f in self.findings if f.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON value: times as ISO text, NaN as text."""
        return {
            "outcome": self.outcome.value, "clean": self.clean, "rows": self.rows, "cells": self.cells,
            "findings": [f.to_dict() for f in self.findings], "checks": [c.to_dict() for c in self.checks],
            "not_asked": dict(self.not_asked),
        }  # fmt: skip

    def to_html(self, title: str = "Leakage audit") -> str:
        """Return the report as one self-contained HTML page, without scripts, pictures or links."""
        from e2i_fs.quality.leakage.page import page

        return page(self, title)

    def __str__(self) -> str:
        lines = [f"{self.outcome.value}: {len(self.findings)} findings in {self.rows:,} rows, {self.cells:,} cells"]
        lines += [f"  {f.kind} {f.feature or ''} ({f.cells:,}): {f.message}" for f in self.findings]
        unsure = (Outcome.INCONCLUSIVE, Outcome.ERROR)
        lines += [f"  {c.outcome.value} {c.name}: {c.message}" for c in self.checks if c.outcome in unsure]
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    match value:
        case dt.datetime() | dt.date():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
    return str(value)
