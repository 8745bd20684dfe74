"""Runs work in little memory and on disk, and take more only when they must (W-4)."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import e2i_fs as fs
from e2i_fs.backend import ParquetRows
from e2i_fs.pit import bounded
from e2i_fs.pit.latest import latest_rows

MEGABYTE = 2**20


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> bounded.Bounded:
    """The database of runs, made anew with 64 MB."""
    made = bounded.Bounded(limit=64 * MEGABYTE)
    monkeypatch.setattr("e2i_fs.pit.latest.bounded", lambda: made)
    return made


def written(path: Path, rows: int, columns: str, group: int) -> ParquetRows:
    query = f"SELECT 'k' || (i * 7919 % {rows}) AS k, TIMESTAMPTZ '2024-01-01 00:00:00+00' AS event_timestamp, {columns} FROM range({rows}) t(i)"
    with duckdb.connect() as db:
        db.execute("SET threads = 2")
        db.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {group})")
    return ParquetRows((str(path),))


def view(names: list[str]) -> fs.FeatureView:
    return fs.FeatureView("v", entities=["k"], schema=[fs.Field(name, fs.String) for name in names])


WIDE = ", ".join(f"md5((i + {n} * 1000000)::VARCHAR) || md5((i * {n})::VARCHAR) AS c{n}" for n in range(20))


def test_more_rows_than_memory_are_sorted_on_disk(tmp_path: Path, little: bounded.Bounded) -> None:
    part = written(tmp_path / "h.parquet", 600_000, "md5(i::VARCHAR) AS x", 20_000)
    found = latest_rows(view(["x"]), {"k": fs.String}, [part], start_us=None, end_us=2**60)
    assert (found.rows, found.looked_at, little.limit) == (600_000, 600_000, 64 * MEGABYTE)
    ((spilled,),) = little.made.execute("SELECT sum(size) FROM duckdb_temporary_files()").fetchall()
    assert spilled > MEGABYTE
    keys = found.piece(599_990, 10).column("k0").to_pylist()
    assert keys == sorted(f"k{i}" for i in range(600_000))[-10:]
    found.close()


def test_a_row_group_that_needs_more_gets_more(tmp_path: Path, little: bounded.Bounded) -> None:
    little._set(8 * MEGABYTE)
    part = written(tmp_path / "h.parquet", 20_000, WIDE, 20_000)
    found = latest_rows(view([f"c{i}" for i in range(20)]), {"k": fs.String}, [part], start_us=None, end_us=2**60)
    assert found.rows == 20_000 and 8 * MEGABYTE < little.limit <= little.most
    found.close()


def test_what_does_not_fit_at_all_says_what_to_do(tmp_path: Path, little: bounded.Bounded) -> None:
    little._set(8 * MEGABYTE)
    little.most = little.limit
    part = written(tmp_path / "h.parquet", 20_000, WIDE, 20_000)
    with pytest.raises(fs.BackendDataError, match="(?s)do not fit into the memory allowed.*smaller batches"):
        latest_rows(view([f"c{i}" for i in range(20)]), {"k": fs.String}, [part], start_us=None, end_us=2**60)


def test_two_databases_of_a_process_spill_into_folders_of_their_own() -> None:
    asked = "SELECT current_setting('temp_directory')"
    assert bounded.database().execute(asked).fetchall() != bounded.database().execute(asked).fetchall()
