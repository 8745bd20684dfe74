"""Capabilities proven both ways (G-3): which passed tests show that what is declared works, or that the rest is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from e2i_fs.backend import Capabilities
from e2i_fs.testing.runner import Result

__all__ = ["CapabilityProof", "proofs"]

# What a test must be named like to prove a capability where it is declared, and where it is not.
_SHOWN: dict[str, tuple[str, str]] = {
    "append": (r"^test_w2_", r"^test_g3_.*append"),
    "online": (r"^test_o[1-7]_", r"^test_g3_.*online"),
    "sources": (r"^test_g3_.*sources?_", r"^test_g3_.*sources?_"),
    "key_kinds": (r"^test_p7_|^test_g3_.*(dtype|kind|key)", r"^test_g3_.*(dtype|kind)"),
    "feature_kinds": (r"^test_p8_|^test_g3_.*(dtype|kind)", r"^test_g3_.*(dtype|kind)"),
    "persistent": (r"^test_r5_|reopen", r"^test_g3_what_is_said_not_to_last"),
    "point_in_time": (r"native", r""),
    "copyable": (r"^test_g3_a_copy_", r""),
    "columnar": (r"^test_o1_any_order_", r""),
    "local": (r"", r""),
    "certified": (r"", r""),
}
_WORDS = {
    ("local", "yes"): "taken at its word: that no call waits on a network cannot be shown by calls",
    ("certified", "yes"): "what this certificate is compared with",
    ("certified", "no"): "it has none yet, or does not say so",
    ("local", "no"): "nothing is promised, so calls are given up at their deadline",
    (
        "copyable",
        "no",
    ): "it is rebuilt from the journal or its sources; nothing can be asked that would have to be refused",
    ("columnar", "no"): "rows are read one view at a time; nothing can be asked that would have to be refused",
    ("point_in_time", "no"): "the core does it; nothing can be asked that would have to be refused",
}


@dataclass(frozen=True, slots=True)
class CapabilityProof:
    """One capability: what is declared, whether that was proven (None: cannot be), and by which tests."""

    name: str
    declared: str
    proven: bool | None
    how: str


def proofs(declared: Capabilities | None, results: Sequence[Result]) -> list[CapabilityProof]:
    """Return a row for each capability; none when the backend could not be asked."""
    return [] if declared is None else [_proof(name, declared, results) for name in _SHOWN]


def _proof(name: str, declared: Capabilities, results: Sequence[Result]) -> CapabilityProof:
    value = getattr(declared, name)
    said = _said(name, value)
    pattern = _SHOWN[name][0 if value or value is None else 1]
    if not pattern:
        return CapabilityProof(name, said, None, _WORDS[name, said])
    named = [r for r in results if re.search(pattern, r.test)]
    shown = [r.test for r in named if r.outcome == "passed"]
    against = [r.test for r in named if r.outcome in ("failed", "unexpectedly passed", "deviates")]
    if against:
        return CapabilityProof(name, said, False, f"not by {', '.join(against)}")
    if not shown:
        return CapabilityProof(name, said, None, "no test of it could run")
    return CapabilityProof(name, said, True, ", ".join(shown))


def _said(name: str, value: object) -> str:
    if name == "sources" and isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "none"
    if name in ("key_kinds", "feature_kinds"):
        return "all" if value is None else ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)
    return "yes" if value and value != "none" else "no"
