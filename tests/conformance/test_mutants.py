"""The kit's own teeth: every wrong backend fails the test that is named for it, and the right ones pass them all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from e2i_fs.testing.conformance import base
from e2i_fs.testing.harness import Harness
from e2i_fs.testing.mutants import FAST, MUTANTS, Mutant, examine
from e2i_fs.testing.mutants.frame import Kept, KeptNative, right_harness
from e2i_fs.testing.runner import examine as examine_all

_OF_TWO_THREADS = (
    "test_w2_a_batch_appended_by_two_at_once_is_one_batch",
    "test_o1_a_write_amid_another_handles_write_is_not_lost",
)


def test_there_are_at_least_forty_mutants_each_with_a_name_of_its_own() -> None:
    assert len(MUTANTS) >= 40
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert set(_OF_TWO_THREADS) < {mutant.killed_by for mutant in MUTANTS} <= set(base.test_names())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_a_mutant_is_killed_by_its_test(mutant: Mutant) -> None:
    # Two threads meet within a moment or not: on a busy machine, what a race shows may need to be looked for more than once.
    for _ in range(3 if mutant.killed_by in _OF_TWO_THREADS else 1):
        result = examine(mutant.harness, mutant.killed_by, patch=mutant.patch)
        if result.outcome == "failed":
            break
    assert result.outcome == "failed", f"{mutant.name} survives {mutant.killed_by}: {mutant.says}"
    assert result.finding is not None and result.finding.rule
    assert "Traceback" not in result.finding.text()


@pytest.mark.parametrize("kind", [Kept, KeptNative], ids=lambda kind: kind.__name__)
def test_the_backend_that_mutants_are_made_of_passes_those_tests(kind: type[Kept]) -> None:
    """So that a mutant fails for its fault, and not for what it was made of."""
    right: Callable[[Path], Harness] = right_harness(kind)
    killers = sorted({mutant.killed_by for mutant in MUTANTS if mutant.right is right})
    assert len(killers) > 10
    results = examine_all(right, profile=FAST, only=killers)
    failed = {r.test: r.finding.text() for r in results if r.finding is not None}
    assert failed == {}
