"""The page of wrong backends is of those that there are, and the README says their number."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from e2i_fs.testing.mutants import MUTANTS
from tests.docs.pages import ROOT


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants_table", ROOT / "docs" / "mutants_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_of_the_mutants_that_there_are() -> None:
    assert _script().problems() == [], "python docs/mutants_table.py"


def test_the_readme_says_the_score() -> None:
    score = f"{len(MUTANTS)} of {len(MUTANTS)} are caught"
    assert score in (ROOT / "README.md").read_text(encoding="utf-8")
