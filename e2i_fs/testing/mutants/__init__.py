"""Mutants: backends and cores with one fault each, by which the kit shows that its tests notice faults.

Each names the test that must fail on it. docs/mutants.md is the table, tests/conformance/test_mutants.py the proof.
"""

from __future__ import annotations

from e2i_fs.testing.mutants.copying import COPYING
from e2i_fs.testing.mutants.core import CORE
from e2i_fs.testing.mutants.exact import EXACT
from e2i_fs.testing.mutants.frame import FAST, Mutant, examine
from e2i_fs.testing.mutants.handles import HANDLES
from e2i_fs.testing.mutants.online import ONLINE
from e2i_fs.testing.mutants.temporal import TEMPORAL
from e2i_fs.testing.mutants.writing import WRITING

__all__ = ["FAST", "MUTANTS", "Mutant", "examine"]

MUTANTS: tuple[Mutant, ...] = (
    *TEMPORAL.all, *ONLINE.all, *WRITING.all, *EXACT.all, *HANDLES.all, *COPYING.all, *CORE.all,
)  # fmt: skip
