"""The reference says what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import e2i_fs as fs

ROOT = Path(__file__).resolve().parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_table", ROOT / "docs" / "reference_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_as_the_docstrings_are() -> None:
    script = _script()
    assert script.page() == script.PAGE.read_text(encoding="utf-8"), "python docs/reference_table.py"


def test_every_public_name_and_every_method_is_in_it_with_words() -> None:
    text = _script().PAGE.read_text(encoding="utf-8")
    rows = dict(line.strip("| ").split(" | ", 1) for line in text.splitlines() if line.startswith("| `fs."))
    assert {name.strip("`") for name in rows} == {f"fs.{name}" for name in fs.__all__ if not name.startswith("_")}
    assert all(len(about) > 10 for about in rows.values())
    methods = [name for name in dir(fs.store.Store) if not name.startswith("_")]
    assert all(f"### `store.{name}`" in text for name in methods)
