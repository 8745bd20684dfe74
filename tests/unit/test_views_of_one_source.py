"""Views of one source are read in one pass, and each is answered as if it were asked for alone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.pit import engine

T0 = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = ("p", "q", "r")


def _history(path: Path, *, ties: bool, seed: int) -> None:
    draw = random.Random(seed)
    hours = [draw.randrange(40) for _ in range(200)] if ties else range(200)
    rows = {
        "k": [draw.choice("abcde") for _ in range(200)],
        "event_timestamp": pa.array([T0 + timedelta(hours=h) for h in hours], pa.timestamp("us", "UTC")),
        "seen": pa.array([T0 + timedelta(hours=h + draw.randrange(9)) for h in hours], pa.timestamp("us", "UTC")),
        **{name: pa.array([draw.choice([None, 1, 2, 3]) for _ in range(200)], pa.int64()) for name in NAMES},
    }
    pq.write_table(pa.table(rows), path)


def _view(name: str, fields: str, path: Path, **more: Any) -> fs.FeatureView:
    source = fs.ParquetSource(str(path), **({"created_timestamp_field": "seen"} | more))
    return fs.FeatureView(
        name, entities=[fs.Entity("k")], schema=[fs.Field(f, fs.Int64) for f in fields], source=source
    )


def _asked() -> pa.Table:
    draw = random.Random(1)
    times = [T0 + timedelta(hours=draw.randrange(-1, 220)) for _ in range(300)]
    return pa.table(
        {"k": [draw.choice("abcdez") for _ in times], "event_timestamp": pa.array(times, pa.timestamp("us", "UTC"))}
    )


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many times keys and times of histories were read, by how many pieces each had."""
    seen: list[int] = []
    real = engine._usable_sql

    def noted(pieces: Any, *more: Any) -> str:
        seen.append(len(pieces))
        return real(pieces, *more)

    monkeypatch.setattr(engine, "_usable_sql", noted)
    return seen


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("known", [{}, {"filter_by_created_timestamp": True}, {"as_of": T0 + timedelta(hours=30)}])
def test_together_is_each_alone(tmp_path: Path, passes: list[int], ties: bool, known: dict[str, Any]) -> None:
    """P-4: views break ties by their own values, in their own order of fields; so do three views read in one pass."""
    path = tmp_path / "h.parquet"
    _history(path, ties=ties, seed=3)
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}) as store:
        store.apply([_view("one", "pq", path), _view("two", "rqp", path), _view("three", "q", path)])
        features = ["two:p", "one:*", "three:q", "two:r"]
        both = store.get_historical_features(_asked(), features, full_feature_names=True, **known)
        assert passes == [1]
        for view in ("one", "two", "three"):
            own = [ref for ref in features if ref.startswith(view)]
            alone = store.get_historical_features(_asked(), own, full_feature_names=True, **known)
            for name in alone.to_arrow().column_names[2:]:
                assert both.to_arrow()[name].equals(alone.to_arrow()[name]), name
            for ref, statuses in alone.statuses.items():
                assert both.statuses[ref] == statuses
    assert passes == [1, 1, 1, 1]


def test_views_that_read_other_rows_are_not_read_together(tmp_path: Path, passes: list[int]) -> None:
    """Another time column, or rows of its own beside the source, make other rows."""
    path = tmp_path / "h.parquet"
    _history(path, ties=True, seed=4)
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}) as store:
        other = _view("other", "p", path, timestamp_field="seen", created_timestamp_field="event_timestamp")
        store.apply([_view("one", "p", path), other, _view("written", "p", path)])
        more = {"k": ["a"], "event_timestamp": [T0 - timedelta(hours=1)], "seen": [T0], "p": pa.array([9], pa.int64())}
        store.write("written", pa.table(more), to="offline")
        store.get_historical_features(_asked(), ["one:p", "other:p", "written:p"], full_feature_names=True)
    assert sorted(passes) == [1, 1, 2]
