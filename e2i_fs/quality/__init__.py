"""Whether data is fit to train on and to serve. The names below are the public ones, each imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.quality.leakage.audit import audit
    from e2i_fs.quality.leakage.kinds import LeakKind
    from e2i_fs.quality.leakage.report import AuditReport, Check, Example, Finding
    from e2i_fs.quality.leakage.splits import audit_splits
    from e2i_fs.quality.outcome import Outcome

_HOMES = {
    "leakage.audit": "audit",
    "leakage.kinds": "LeakKind",
    "leakage.report": "AuditReport Check Example Finding",
    "leakage.splits": "audit_splits",
    "outcome": "Outcome",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = ["AuditReport", "Check", "Example", "Finding", "LeakKind", "Outcome", "audit", "audit_splits"]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'e2i_fs.quality' has no attribute {name!r}")
    value = getattr(import_module(f"e2i_fs.quality.{module}"), name)
    globals()[name] = value
    return value
