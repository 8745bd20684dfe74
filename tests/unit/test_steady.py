"""A file that changes while it is read gives no answer of two halves."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2i_fs import connect
from e2i_fs.backend import Knowledge, ParquetRows
from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import Int64, String
from e2i_fs.pit import engine
from e2i_fs.pit.steady import ChangedWhileReadError, unchanged
from e2i_fs.sources import ParquetSource

T0 = 1_700_000_000_000_000
VIEW = FeatureView("v", entities=[Entity("k")], schema=[Field("x", Int64)], source=ParquetSource("x"))


def _write(path: Path, values: list[int]) -> None:
    times = pa.array([T0 + i for i in range(len(values))], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"k": ["a"] * len(values), "event_timestamp": times, "x": values}), path)


def test_a_file_replaced_between_the_two_readings_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row numbers of the old file would name rows of the new one."""
    path = tmp_path / "h.parquet"
    _write(path, [1, 2, 3])
    real = engine._tied

    def replaced(*given: object) -> bool:
        tied = real(*given)  # type: ignore[arg-type]
        _write(tmp_path / "new.parquet", [7, 8, 9])
        (tmp_path / "new.parquet").replace(path)
        return tied

    entities = pa.table({"t": pa.array([T0 + 1], pa.int64()), "k0": ["a"]})
    parts = [ParquetRows((str(path),))]
    monkeypatch.setattr(engine, "_tied", replaced)
    with pytest.raises(ChangedWhileReadError, match=r"h\.parquet was written or replaced while it was read"):
        engine.point_in_time(entities, VIEW, {"k": String}, ["x"], parts, Knowledge())
    monkeypatch.undo()
    assert engine.point_in_time(entities, VIEW, {"k": String}, ["x"], parts, Knowledge())["x"].to_pylist() == [8]


def test_a_retrieval_during_which_a_file_is_replaced_is_answered_from_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole (X-6): a second try reads the new file alone. A file that never rests is an error."""
    path = tmp_path / "h.parquet"
    _write(path, [1, 2, 3])
    real, left = engine._tied, [1]

    def replaced(*given: object) -> bool:
        tied = real(*given)  # type: ignore[arg-type]
        if left[0]:
            left[0] -= 1
            _write(tmp_path / "new.parquet", [7, 8, left[0]])
            (tmp_path / "new.parquet").replace(path)
        return tied

    monkeypatch.setattr(engine, "_tied", replaced)
    asked = pa.table({"k": ["a"], "event_timestamp": pa.array([T0 + 1], pa.timestamp("us", "UTC"))})
    with connect({"backend": "duckdb", "path": str(tmp_path / "store")}) as store:
        source = ParquetSource(str(path))
        store.apply([FeatureView("v", entities=[Entity("k")], schema=[Field("x", Int64)], source=source)])
        assert store.get_historical_features(asked, ["v:x"]).to_arrow()["x"].to_pylist() == [8]
        left[0] = 99
        with pytest.raises(ChangedWhileReadError):
            store.get_historical_features(asked, ["v:x"])


def test_a_failure_to_read_a_changed_file_is_told_as_the_change(tmp_path: Path) -> None:
    """A file that vanished while it was read is one; where nothing changed DuckDB's error stays."""
    path = tmp_path / "h.parquet"
    _write(path, [1])
    with pytest.raises(ChangedWhileReadError) as raised, unchanged([str(path)]):
        path.unlink()
        duckdb.sql(f"SELECT * FROM read_parquet('{path}')").fetchall()
    assert isinstance(raised.value.__cause__, duckdb.IOException)
    with pytest.raises(duckdb.IOException), unchanged([str(path)]):
        duckdb.sql(f"SELECT * FROM read_parquet('{path}')").fetchall()
