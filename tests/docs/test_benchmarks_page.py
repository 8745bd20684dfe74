"""The benchmarks page is of the committed results, and they name no machine."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.docs.pages import ROOT


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_table", ROOT / "docs" / "benchmarks_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_of_the_committed_results() -> None:
    script = _script()
    assert script.page() == script.PAGE.read_text(encoding="utf-8"), "python docs/benchmarks_table.py"


def test_the_results_have_no_place_of_a_machine() -> None:
    text = (ROOT / "docs" / "benchmarks" / "results.json").read_text(encoding="utf-8")
    assert not [place for place in ("/tmp/", "/home/", "/root/", str(ROOT), "localhost:") if place in text]
