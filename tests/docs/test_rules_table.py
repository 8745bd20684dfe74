"""The table of rules and tests is what the tests say, and every rule of the contract has a test."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.docs.pages import ROOT

NUMBERS = {"T": 5, "P": 12, "O": 7, "W": 4, "R": 5, "F": 3, "X": 10, "G": 5}
RULES = [f"{letter}-{n}" for letter, last in NUMBERS.items() for n in range(1, last + 1)]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rules_table", ROOT / "docs" / "rules_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contract_has_every_rule_once_and_in_order() -> None:
    assert [rule for ids in _script().rules().values() for rule in ids] == RULES


def test_the_committed_table_is_up_to_date(capsys) -> None:
    assert _script().main(["--check"]) == 0, "python docs/rules_table.py"


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_a_test(rule: str) -> None:
    assert _script().proofs().get(rule), f"no test is marked with rule({rule!r})"


def test_tests_name_only_rules_that_there_are() -> None:
    assert set(_script().proofs()) - set(RULES) == set()
