"""Names that other engines take for their own, or for one another, are just names."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import e2i_fs as fs
from tests import kit

NAMES = ["x", "X", "e", "c", "k0", "v0", "kid", "row", "select", "rank", "a b", "é", "x_y", "entity_row_id", "rn"]
STAMP = pa.timestamp("us", "UTC")


def test_names_that_differ_only_by_case_or_are_words_of_sql_keep_their_values(
    store: fs.FeatureStore, tmp_path: Path
) -> None:
    at = kit.NOW - timedelta(days=2)
    columns = {name: [number] for number, name in enumerate(NAMES)}
    rows = pa.table({"k": ["wrong"], "K": ["right"], "event_timestamp": pa.array([at], STAMP), **columns})
    pq.write_table(rows, tmp_path / "rows.parquet")
    schema = [fs.Field(name, fs.Int64) for name in NAMES]
    source = fs.ParquetSource(tmp_path / "rows.parquet")
    store.apply([fs.FeatureView("v", entities=[fs.Entity("K")], schema=schema, source=source)])
    asked = pa.table({"K": ["wrong", "right"], "event_timestamp": pa.array([at, at], STAMP)})
    got = store.get_historical_features(asked, ["v:*"]).to_arrow()
    assert got.column_names == ["K", "event_timestamp", *NAMES]
    assert [got[name].to_pylist() for name in NAMES] == [[None, number] for number in range(len(NAMES))]
    store.materialize(None)
    online = store.get_online_features(["v:*"], [{"K": "right"}]).to_dict()
    assert [online[name] for name in NAMES] == [[number] for number in range(len(NAMES))]
