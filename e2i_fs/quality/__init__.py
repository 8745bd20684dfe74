"""Is this data fit to register, to train on, to serve? Reports, baselines, drift, leakage and the gate over them.

The names below are the public ones; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.quality.baseline import BaselineMetrics
    from e2i_fs.quality.drift import DriftCheck, DriftReport, FeatureDrift
    from e2i_fs.quality.expectations import (
        Expectation,
        at_most,
        has_dtype,
        in_range,
        in_set,
        matches,
        not_null,
        row_count_between,
        unique,
    )
    from e2i_fs.quality.figures import CategoricalFigures, NumericFigures
    from e2i_fs.quality.gate import GateDecision, QualityGate
    from e2i_fs.quality.judging import ExpectationResult
    from e2i_fs.quality.leakage.audit import audit
    from e2i_fs.quality.leakage.kinds import LeakKind
    from e2i_fs.quality.leakage.report import AuditReport, Check, Example, Finding
    from e2i_fs.quality.leakage.splits import audit_splits
    from e2i_fs.quality.outcome import Outcome
    from e2i_fs.quality.profile import ColumnProfile
    from e2i_fs.quality.report import QCReport
    from e2i_fs.quality.thresholds import DriftThresholds

_HOMES = {
    "baseline": "BaselineMetrics",
    "drift": "DriftCheck DriftReport FeatureDrift",
    "expectations": "Expectation at_most has_dtype in_range in_set matches not_null row_count_between unique",
    "figures": "CategoricalFigures NumericFigures",
    "gate": "GateDecision QualityGate",
    "judging": "ExpectationResult",
    "leakage.audit": "audit",
    "leakage.kinds": "LeakKind",
    "leakage.report": "AuditReport Check Example Finding",
    "leakage.splits": "audit_splits",
    "outcome": "Outcome",
    "profile": "ColumnProfile",
    "report": "QCReport",
    "thresholds": "DriftThresholds",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AuditReport",
    "BaselineMetrics",
    "CategoricalFigures",
    "Check",
    "ColumnProfile",
    "DriftCheck",
    "DriftReport",
    "DriftThresholds",
    "Example",
    "Expectation",
    "ExpectationResult",
    "FeatureDrift",
    "Finding",
    "GateDecision",
    "LeakKind",
    "NumericFigures",
    "Outcome",
    "QCReport",
    "QualityGate",
    "at_most",
    "audit",
    "audit_splits",
    "has_dtype",
    "in_range",
    "in_set",
    "matches",
    "not_null",
    "row_count_between",
    "unique",
]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=import_module(__name__))
    value = getattr(import_module(f"e2i_fs.quality.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
