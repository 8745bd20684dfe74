"""The kit, over an engine that reads sorted copies: of all files, or of some beside others."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from e2i_fs_duckdb.conformance import DuckDBHarness

from e2i_fs import historical
from e2i_fs.backend import ParquetRows
from e2i_fs.pit import sorted_rows
from e2i_fs.pit.connection import connect
from e2i_fs.pit.engine import Wanted
from e2i_fs.pit.history import history_sql
from e2i_fs.pit.sorted_rows import SortedRows, write_sorted
from e2i_fs.testing.conformance import base
from e2i_fs.testing.mutants import FAST
from e2i_fs.testing.runner import examine

_GROUPS = ("historical", "temporal")


@pytest.fixture
def copies(every: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every retrieval by the engine has a sorted copy made for it first; what is read at once is little."""
    made: list[str] = []
    numbers = itertools.count()
    engine = historical.together

    def copied(one: Wanted, join_keys: Any) -> Wanted:
        files = [part for part in one.parts if isinstance(part, ParquetRows)]
        chosen = files if every else [ParquetRows(p.paths[:1], p.columns, p.missing_ok) for p in files[:1]]
        taken = {path for part in chosen for path in part.paths}
        if not taken:
            return one
        folder = tmp_path / f"copy{next(numbers)}"
        folder.mkdir()
        connection = connect()
        try:
            history = history_sql(connection, one.view, join_keys, chosen)
            write_sorted(connection, history, one.view, len(join_keys), str(folder))
        finally:
            connection.close()
        made.append(str(folder))
        left = [p if not isinstance(p, ParquetRows) else _less(p, taken) for p in one.parts]
        return replace(one, parts=[SortedRows(str(folder), frozenset(taken)), *filter(None, left)])

    def sorted_first(entities: Any, join_keys: Any, wanted: Any, *more: Any, **named: Any) -> Any:
        return engine(entities, join_keys, [copied(one, join_keys) for one in wanted], *more, **named)

    monkeypatch.setattr(historical, "together", sorted_first)
    monkeypatch.setattr(sorted_rows, "_AT_ONCE", 3)
    monkeypatch.setattr(sorted_rows, "_GROUPS_AT_ONCE", 1)
    return made


def _less(part: ParquetRows, taken: set[str]) -> ParquetRows | None:
    paths = tuple(path for path in part.paths if path not in taken)
    return ParquetRows(paths, part.columns, part.missing_ok) if paths else None


@pytest.mark.parametrize("every", [True, False], ids=["all files", "the first file"])
def test_an_engine_that_reads_sorted_copies_passes_the_kit(every: bool, copies: list[str]) -> None:
    """P-1 to P-10, T-1 to T-4: work is skipped, the meaning is the same."""
    groups = _GROUPS if every else _GROUPS[1:]
    asked = [name for name in base.test_names() if base.group_of(name) in groups]
    results = examine(DuckDBHarness, profile=FAST, only=asked)
    assert [(r.test, r.outcome, r.finding) for r in results if r.outcome == "failed"] == []
    assert sum(r.outcome == "passed" for r in results) >= 20
    assert len(copies) > 200
