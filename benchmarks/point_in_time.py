"""Point-in-time retrieval against a hand-written ASOF join and polars' join_asof on the same data, without ties."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import e2i_fs as fs
from benchmarks.harness import Row, interleaved

NOW = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = 365 * 86_400_000_000


def run(*, quick: bool) -> tuple[str, list[Row]]:
    history_rows, entity_rows = (200_000, 20_000) if quick else (2_000_000, 200_000)
    rng = np.random.default_rng(7)
    start = 1_672_531_200_000_000
    keys = [f"hcp_{i}" for i in range(history_rows // 50)]
    # Distinct times, so that a plain ASOF join, which breaks ties at random, has the one right answer too.
    times = start + rng.permutation(history_rows) * (YEAR // history_rows)
    folder = tempfile.mkdtemp()
    path = f"{folder}/history.parquet"
    history = pa.table(
        {
            "hcp_id": np.array(keys)[rng.integers(0, len(keys), history_rows)],
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            **{f"f{j}": rng.random(history_rows) for j in range(10)},
        }
    )
    pq.write_table(history, path)
    asked = pa.table(
        {
            "hcp_id": np.array(keys)[rng.integers(0, len(keys), entity_rows)],
            "event_timestamp": pa.array(start + rng.integers(0, YEAR, entity_rows), pa.timestamp("us", "UTC")),
        }
    )
    store = fs.connect({"backend": "duckdb", "path": f"{folder}/store"}, clock=lambda: NOW)
    fields = [fs.Field(f"f{j}", fs.Float64) for j in range(10)]
    store.apply([fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=fields, source=fs.ParquetSource(path))])

    def ours() -> pa.Table:
        return store.get_historical_features(asked, ["v:*"]).to_arrow()

    def by_hand() -> pa.Table:
        con = duckdb.connect(config={"TimeZone": "UTC"} if duckdb.__version__ < "2" else {})
        con.register("asked", asked.append_column("row", pa.array(range(entity_rows))))
        names = ", ".join(f"h.f{j}" for j in range(10))
        return con.sql(
            f"SELECT {names} FROM asked a ASOF LEFT JOIN read_parquet('{path}') h "
            "ON a.hcp_id = h.hcp_id AND a.event_timestamp >= h.event_timestamp ORDER BY a.row"
        ).to_arrow_table()

    def by_polars() -> pl.DataFrame:
        left = pl.from_arrow(asked).with_row_index("row").sort("event_timestamp")
        right = pl.read_parquet(path).sort("event_timestamp")
        return left.join_asof(right, on="event_timestamp", by="hcp_id").sort("row")

    assert ours().column("f3").to_pylist() == by_hand().column("f3").to_pylist() == by_polars()["f3"].to_list()
    measured = interleaved(
        {"ASOF join by hand (DuckDB)": by_hand, "e2i_fs on duckdb": ours, "polars join_asof": by_polars},
        5 if quick else 7,
    )
    store.close()
    return f"Point in time: {entity_rows:,} entity rows × {history_rows:,} rows × 10 features", measured
