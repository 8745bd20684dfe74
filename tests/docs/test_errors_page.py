"""The page of errors against the classes: every one is there, with what it is and whether it fails over."""

from __future__ import annotations

import re

import pytest

from e2i_fs import errors
from e2i_fs.cli import exits
from e2i_fs.failover.member import UNAVAILABLE
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
ROWS = {m[1]: (m[2], m[4]) for m in re.finditer(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|([^|]*)\|$", PAGE, re.MULTILINE)}
ERRORS = {n: c for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.E2IError)}
STANDARD = (ValueError, LookupError, NotImplementedError, TimeoutError)


def test_every_error_has_a_row() -> None:
    assert set(ROWS) == set(ERRORS) - {"E2IError"}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_says_what_the_class_is(name: str) -> None:
    also, fails_over = ROWS[name]
    assert set(re.findall(r"\w+", also)) == {s.__name__ for s in STANDARD if issubclass(ERRORS[name], s)}
    assert ("yes" in fails_over) == issubclass(ERRORS[name], UNAVAILABLE)


def test_the_tree_is_the_one_in_the_module() -> None:
    tree = re.search(r"^E2IError\n(?:[├└│ ].*\n)+", PAGE, re.MULTILINE)
    assert tree is not None
    documented = re.sub(r"^ {4}", "", errors.__doc__ or "", flags=re.MULTILINE)
    assert tree.group().strip() in documented
    assert set(re.findall(r"\w+Error", tree.group())) == set(ERRORS)


def test_every_exit_code_is_documented() -> None:
    part = PAGE.split("## Exit codes of the command\n", 1)[1]
    codes = {value for name, value in vars(exits).items() if name.isupper() and not name.startswith("_")}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", part, re.MULTILINE)} == codes
