"""The support table and the certificates that it is made of are those of the kit as it is."""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType

import pytest

from tests.docs.pages import ROOT


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("support_table", ROOT / "docs" / "support_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_and_the_certificates_are_of_this_suite() -> None:
    found = _script().problems()
    assert found == [], "\n".join([*found, "all anew: python docs/support_table.py --certify"])


@pytest.mark.parametrize("label", _script().LABELS)
def test_a_backend_that_we_ship_is_certified_with_no_temporal_deviation(label: str) -> None:
    made = _script().certificates()[label]
    assert made["level"] in ("full", "partial")
    assert {g["group"]: g["level"] for g in made["groups"]}["temporal"] == "passed"
    assert [row["name"] for row in made["capabilities"] if row["proven"] is False] == []


@pytest.mark.parametrize("label", _script().LABELS)
def test_no_certificate_has_a_place_of_a_machine(label: str) -> None:
    folder = ROOT / "docs" / "certificates"
    stem = _script().stem(label)
    for file in (folder / f"{stem}.json", folder / f"{stem}.md"):
        text = file.read_text(encoding="utf-8")
        assert not [place for place in ("/tmp/", "/home/", "/root/", str(ROOT), "localhost:") if place in text]
    assert json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))["label"] == label
