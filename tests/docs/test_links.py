"""Links between pages lead somewhere, the menu names every page, and no page names the machine it was written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT, markdown_pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# Paths of one machine, and addresses of package registries.
FOREIGN = re.compile(r"/work/|/home/|/root/|/Users/|/tmp/|\bpypi\.|pythonhosted|index-url", re.IGNORECASE)


@pytest.mark.parametrize("page", markdown_pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in LINK.findall(_without_code(page)):
        if "://" in target:
            lost.append(f"{target}: pages link only within the project")
            continue
        file, _, anchor = target.partition("#")
        other = (page.parent / file).resolve() if file else page
        if not other.exists():
            lost.append(target)
        elif anchor and anchor not in _anchors(other):
            lost.append(f"{target}: {other.name} has no such heading")
    assert lost == []


def _without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    return {
        re.sub(r"[^\w\- ]", "", h.replace("`", "")).strip().lower().replace(" ", "-")
        for h in HEADING.findall(_without_code(page))
    }


def test_the_menu_names_every_page() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = {file for entry in menu for file in _files(entry)}
    examples = {file for file in named if file.startswith("examples/")}
    assert named - examples == {page.name for page in (ROOT / "docs").glob("*.md")}
    assert all((ROOT / "docs" / file).is_file() for file in examples)


def _files(entry: object) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    assert isinstance(entry, dict)
    return [
        f for value in entry.values() for part in (value if isinstance(value, list) else [value]) for f in _files(part)
    ]


@pytest.mark.parametrize("page", markdown_pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_page_names_a_machine_or_a_registry(page: Path) -> None:
    assert [m.group() for m in FOREIGN.finditer(page.read_text(encoding="utf-8"))] == []
