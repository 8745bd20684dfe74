"""The quality report of a frame: five dimensions, expectations, and what must stop it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from e2i_fs.clock import Clock, as_clock, to_us
from e2i_fs.definitions import FeatureView
from e2i_fs.quality.asked import ages, asked_of
from e2i_fs.quality.examining import Examined, examined
from e2i_fs.quality.expectations import Expectation
from e2i_fs.quality.findings import Findings, findings_of
from e2i_fs.quality.judging import ExpectationResult
from e2i_fs.quality.mixed import mixed_zones
from e2i_fs.quality.outcome import Outcome
from e2i_fs.quality.plain import reading
from e2i_fs.quality.profile import ColumnProfile
from e2i_fs.quality.rows import opened
from e2i_fs.quality.scores import WEIGHTS, overall, scores

__all__ = ["QCReport"]

Status = Literal["passed", "failed", "warning", "skipped"]
_SKEW = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class QCReport:
    """The quality of a frame: scores, expectations, warnings and blocking issues; made by `QCReport.of`.

    ``status`` is ``failed`` if there is a blocking issue or a failed expectation, ``skipped`` for a frame without rows,
    ``warning`` if there is a warning or something could not be judged, else ``passed``. The five scores are shares from
    0 to 1, None where there was nothing to judge. ``overall_score`` is their weighted mean (0.25 completeness, 0.25
    validity, 0.20 consistency, 0.15 uniqueness, 0.15 timeliness) over those that are not None; `inconclusive` names the
    others.

    >>> from e2i_fs.quality import QCReport, in_range
    >>> rows = {"hcp_id": ["a", "b", "b"], "trx_count": [3, -1, 5]}
    >>> report = QCReport.of(rows, keys=["hcp_id"], expectations=[in_range("trx_count", min=0)])
    >>> report.status, [repr(result.expectation) for result in report.failed_expectations]
    ('failed', ["unique('hcp_id')", "in_range('trx_count', min=0)"])
    """

    report_id: str
    experiment_id: str
    status: Status
    overall_score: float | None
    completeness_score: float | None
    validity_score: float | None
    consistency_score: float | None
    uniqueness_score: float | None
    timeliness_score: float | None
    expectation_results: tuple[ExpectationResult, ...]
    warnings: tuple[str, ...]
    blocking_issues: tuple[str, ...]
    remediation_steps: tuple[str, ...]
    columns: tuple[ColumnProfile, ...]
    row_count: int
    column_count: int
    validated_at: datetime

    @classmethod
    def of(
        cls,
        frame: Any,
        *,
        view: FeatureView | None = None,
        required: Sequence[str] = (),
        keys: Sequence[str] = (),
        expectations: Sequence[Expectation] = (),
        timestamp_column: str | None = None,
        max_age: timedelta | None = None,
        max_future_skew: timedelta = _SKEW,
        experiment_id: str = "",
        clock: Clock | Callable[[], datetime] | None = None,
    ) -> QCReport:
        """Judge the quality of a frame of any kind, a retrieval's result, or Parquet files (a file, folder or glob).

        ``required`` columns may not have missing values; ``keys`` are required too, and identify a row. With a
        ``view``, its join keys and event time are required, and every field must be there with its dtype.
        ``timestamp_column`` is by default the view's event time, or ``event_timestamp`` if the frame has it. No row may
        lie more than ``max_future_skew`` after now, or be older than ``max_age``. Raises `InvalidEntityFrameError` for
        anything but a frame, and `RequestError` for arguments that make no sense.

        >>> report = QCReport.of({"hcp_id": ["a", "b", None], "trx_count": [1, 2, 3]}, required=["hcp_id"])
        >>> report.status, report.blocking_issues
        ('failed', ("The required column 'hcp_id' is missing in 1 of 3 rows, first at 2.",))
        """
        now = as_clock(clock).now()
        latest, oldest = ages(now, max_age, max_future_skew)
        with opened(frame) as rows:
            asked = asked_of(rows.columns, view, required, keys, expectations, timestamp_column, latest, oldest)
            seen = examined(rows, asked, to_us(latest))
        found, score = findings_of(asked, seen), scores(asked, seen)
        found.warnings.extend(f"{mixed[:1].upper()}{mixed[1:]}." for mixed in mixed_zones(frame))
        return cls(
            report_id=uuid.uuid4().hex,
            experiment_id=experiment_id,
            status=_status(seen, found, score),
            overall_score=overall(score),
            **{f"{name}_score": value for name, value in score.items()},
            expectation_results=seen.results,
            warnings=tuple(found.warnings),
            blocking_issues=tuple(found.blocking),
            remediation_steps=tuple(found.remedies),
            columns=seen.profiles,
            row_count=seen.rows,
            column_count=len(seen.profiles),
            validated_at=now,
        )

    @property
    def scores(self) -> dict[str, float | None]:
        """The score of each dimension by name, greatest weight first."""
        return {name: getattr(self, f"{name}_score") for name in WEIGHTS}

    @property
    def inconclusive(self) -> tuple[str, ...]:
        """What could not be judged: dimensions without a score, then expectations without a value to examine."""
        dimensions = [name for name, score in self.scores.items() if score is None]
        unseen = [r for r in self.expectation_results if r.outcome is Outcome.INCONCLUSIVE]
        return (*dimensions, *(repr(r.expectation) for r in unseen if r.expectation.severity == "block"))

    @property
    def failed_expectations(self) -> tuple[ExpectationResult, ...]:
        """The results of the expectations that failed or raised."""
        return tuple(r for r in self.expectation_results if r.outcome.failed)

    def to_html(self) -> str:
        """Return the report as one self-contained HTML page."""
        from e2i_fs.quality.page import page_of

        return page_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value that `from_dict` reads."""
        made: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return made | {
            "expectation_results": [r.to_dict() for r in self.expectation_results],
            "failed_expectations": [repr(r.expectation) for r in self.failed_expectations],
            "inconclusive": list(self.inconclusive),
            **{name: list(made[name]) for name in _SENTENCES},
            "columns": [c.to_dict() for c in self.columns],
            "validated_at": self.validated_at.isoformat(),
        }

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> QCReport:
        """Return the report that `to_dict` wrote. Raises `RequestError` for anything else.

        >>> report = QCReport.of({"a": [1, 1, 2]})
        >>> QCReport.from_dict(report.to_dict()) == report
        True
        """
        names = [f.name for f in fields(cls)]
        with reading("quality report", form, names):
            return cls(
                **{name: form[name] for name in names}
                | {
                    "expectation_results": tuple(ExpectationResult.from_dict(r) for r in form["expectation_results"]),
                    **{name: tuple(form[name]) for name in _SENTENCES},
                    "columns": tuple(ColumnProfile.from_dict(c) for c in form["columns"]),
                    "validated_at": datetime.fromisoformat(form["validated_at"]),
                }
            )


_SENTENCES = ("warnings", "blocking_issues", "remediation_steps")


def _status(seen: Examined, found: Findings, score: Mapping[str, float | None]) -> Status:
    if not seen.rows:
        return "skipped"
    outcomes = [r.outcome for r in seen.results]
    if found.blocking or any(o.failed for o in outcomes):
        return "failed"
    unsure = None in score.values() or Outcome.INCONCLUSIVE in outcomes
    return "warning" if found.warnings or unsure else "passed"
