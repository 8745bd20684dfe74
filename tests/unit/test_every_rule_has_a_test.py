"""Each rule of the contract is named by at least one test that tests it."""

from __future__ import annotations

import re
from pathlib import Path

COUNTS = {"T": 5, "P": 12, "O": 7, "W": 4, "R": 5, "F": 3, "X": 10, "G": 5}
RULES = [f"{letter}-{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]
_MARK = re.compile(r"@pytest\.mark\.rule\(([^)]*)\)")


def named_rules(folder: Path) -> dict[str, list[str]]:
    """Return the test files below ``folder`` by the rule that their markers name."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for marker in _MARK.findall(path.read_text(encoding="utf-8")):
            for rule in re.findall(r'"([A-Z]-\d+)"', marker):
                found.setdefault(rule, []).append(str(path.relative_to(folder)))
    return found


def test_every_rule_of_the_contract_is_named_by_a_test_and_no_other_is() -> None:
    named = named_rules(Path(__file__).parents[1])
    assert [rule for rule in RULES if rule not in named] == []
    assert sorted(set(named) - set(RULES)) == []
