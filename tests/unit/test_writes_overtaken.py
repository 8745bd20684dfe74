"""A view that changes while a batch is on its way takes nothing of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from tests import kit


def view(dtype: fs.DType) -> fs.FeatureView:
    return fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", dtype)])


@pytest.mark.rule("W-1", "R-1")
def test_a_breaking_change_between_check_and_write_refuses_the_batch(tmp_path: Path, clock: Any, monkeypatch) -> None:
    import e2i_fs.store

    config = kit.config("duckdb", tmp_path / "store")
    with fs.connect(config, clock=clock) as store, fs.connect(config, clock=clock) as other:
        store.apply([view(fs.Int64)])
        checked = e2i_fs.store.checked

        def checked_then_changed(*given: Any) -> Any:
            table = checked(*given)
            other.apply([view(fs.String)], allow_breaking=True)
            return table

        monkeypatch.setattr(e2i_fs.store, "checked", checked_then_changed)
        at = pa.array([kit.NOW - timedelta(days=1)], pa.timestamp("us", "UTC"))
        with pytest.raises(fs.InvalidBatchError, match="changed meanwhile"):
            store.write("v", pa.table({"k": ["a"], "event_timestamp": at, "x": [1]}))
        asked = pa.table({"k": ["a"], "event_timestamp": pa.array([kit.NOW], pa.timestamp("us", "UTC"))})
        assert other.get_historical_features(asked, ["v:x"]).to_arrow()["x"].to_pylist() == [None]
