"""A right backend that keeps little passes: what the kit cannot try on it does not apply, and says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from e2i_fs.backend import Capabilities, Position
from e2i_fs.errors import UnsupportedError
from e2i_fs.testing.kit import Profile
from e2i_fs.testing.mutants.frame import Kept, KeptHarness
from e2i_fs.testing.runner import Result, examine

LITTLE = Profile("little", 2, 1, 4, shrink=False)
NARROW: dict[str, dict[str, Any]] = {
    "online rows alone": {"sources": frozenset(), "append": False},
    "the history in files alone": {"sources": frozenset({"parquet"}), "append": False, "online": False},
    "keys of bytes, features of json": {
        "sources": frozenset({"csv", "push"}), "key_kinds": frozenset({"bytes"}), "feature_kinds": frozenset({"json"}),
    },
    "keys of int64, features of bool": {"key_kinds": frozenset({"int64"}), "feature_kinds": frozenset({"bool"})},
}  # fmt: skip


class Narrow(Kept):
    """`Kept`, and what is not declared is refused."""

    declared: dict[str, Any]

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, **self.declared)

    def append(self, *args: Any, **more: Any) -> bool:
        if not self.capabilities.append:
            raise UnsupportedError("no append")
        return super().append(*args, **more)

    def online_read(self, *args: Any, **more: Any) -> Any:
        if not self.capabilities.online:
            raise UnsupportedError("no online rows")
        return super().online_read(*args, **more)

    def online_write(self, *args: Any, **more: Any) -> int:
        if not self.capabilities.online:
            raise UnsupportedError("no online rows")
        return super().online_write(*args, **more)


def examined(kind: type[Kept], **more: Any) -> list[Result]:
    class Own(KeptHarness):
        pass

    Own.kind = kind
    return examine(Own, profile=LITTLE, **more)


@pytest.mark.rule("G-3")
@pytest.mark.parametrize("name", NARROW)
def test_a_right_backend_that_keeps_little_passes(name: str) -> None:
    kind = type("Own", (Narrow,), {"declared": NARROW[name]})
    results = examined(kind)
    assert {r.test: r.finding.text() for r in results if r.finding is not None} == {}
    assert [r.test for r in results if r.outcome == "not applicable" and not r.reason] == []
    assert sum(r.outcome == "passed" for r in results) >= 30


@pytest.mark.rule("G-3", "X-7")
def test_a_backend_without_online_rows_that_has_no_position_is_told_so() -> None:
    class Own(Narrow):
        declared = NARROW["the history in files alone"]

        def position(self, view: str) -> Position:
            raise UnsupportedError("no online rows")

    tests = ["test_g3_each_undeclared_method_is_refused", "test_p1_a_row_answers_from_its_own_microsecond_on"]
    for result in examined(Own, only=tests):
        assert result.finding is not None
        assert result.finding.says.startswith("position raised UnsupportedError.")
