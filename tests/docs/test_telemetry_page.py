"""The tables of the page of telemetry are those of the module of names."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from e2i_fs.telemetry import names
from tests.docs.pages import ROOT


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("telemetry_table", ROOT / "docs" / "telemetry_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_up_to_date() -> None:
    assert _script().main(["--check"]) == 0, "python docs/telemetry_table.py"


def test_every_name_is_on_the_page() -> None:
    page = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    wanted = [m.name for m in (*names.METRICS, *names.HTTP)] + [m.prometheus for m in (*names.METRICS, *names.HTTP)]
    wanted += [*names.SPANS, *names.ATTRIBUTES, *(label.name for label in names.LABELS)]
    assert not [name for name in wanted if f"`{name}`" not in page]
