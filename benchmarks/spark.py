"""The same point-in-time work on Spark and on the engine, at two sizes, told as it is: ``python -m benchmarks.spark [--quick]``.

On one machine Spark is the slower one: it is there for history that lies on a cluster. What to look for is how each grows. Spark
runs in this machine (`local[2]`) with two threads.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import e2i_fs as fs

SPARK = {
    "spark.master": "local[2]",
    "spark.driver.memory": "3g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
}
FEATURES = 10
START = 1_704_067_200_000_000
REPEATS = 3


def main() -> None:
    """Print a table of medians; with ``--json`` write it too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, once")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    given = parser.parse_args()
    sizes = [(10_000, 100_000), (100_000, 1_000_000)] if given.quick else [(100_000, 1_000_000), (400_000, 4_000_000)]
    found = [row for asked, rows in sizes for row in measured(asked, rows, repeats=1 if given.quick else REPEATS)]
    print(
        "| entity rows | history | knowledge time | Spark s | engine s | Spark / engine | answers |\n|---|---|---|---|---|---|---|"
    )
    for row in found:
        ratio = row["spark"] / row["engine"]
        same = "equal" if row["equal"] else "**differ**"
        print(
            f"| {row['asked']:,} | {row['rows']:,} | {'yes' if row['knowledge'] else 'no'} "
            f"| {row['spark']:.2f} | {row['engine']:.2f} | {ratio:.1f} | {same} |"
        )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


def measured(asked: int, rows: int, *, repeats: int) -> list[dict[str, Any]]:
    """Return the medians of interleaved repeats at one size, without and with knowledge time."""
    folder = Path(tempfile.mkdtemp(prefix="e2i_fs_bench_"))
    try:
        draw = np.random.default_rng(11)
        pq.write_table(_rows(draw, rows, rows // 50, FEATURES), folder / "history.parquet")
        entities = _rows(draw, asked, rows // 50, 0).select(["hcp", "event_timestamp"])
        spark = {"type": "spark", "spark_conf": SPARK}
        stores = {
            "spark": fs.connect({"backend": "feast", "path": str(folder / "spark"), "offline_store": spark}),
            "engine": fs.connect({"backend": "duckdb", "path": str(folder / "duckdb")}),
        }
        hcp = fs.Entity("hcp", join_keys={"hcp": fs.Int64})
        source = fs.ParquetSource(str(folder / "history.parquet"), created_timestamp_field="created_at")
        fields = [fs.Field(f"f{i}", fs.Float64) for i in range(FEATURES)]
        for store in stores.values():
            store.apply([hcp, fs.FeatureView("v", entities=[hcp], schema=fields, source=source)])
        found = []
        for knowledge in (False, True):
            seconds: dict[str, list[float]] = {name: [] for name in stores}
            answers: dict[str, Any] = {}
            for _ in range(repeats + 1):  # the first warms up
                for name, store in stores.items():
                    began = time.perf_counter()
                    got = store.get_historical_features(entities, ["v:*"], filter_by_created_timestamp=knowledge)
                    answers[name] = got.to_arrow()
                    seconds[name].append(time.perf_counter() - began)
            medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
            equal = answers["spark"].equals(answers["engine"])
            found.append({"asked": asked, "rows": rows, "knowledge": knowledge, "equal": equal, **medians})
        for store in stores.values():
            store.close()
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rows(draw: Any, count: int, keys: int, features: int) -> pa.Table:
    times = START + draw.integers(0, 90 * 86_400, count) * 1_000_000
    late = times + draw.integers(0, 86_400, count) * 1_000_000
    stamp = pa.timestamp("us", "UTC")
    columns = {
        "hcp": draw.integers(0, keys, count),
        "event_timestamp": pa.array(times, stamp),
        "created_at": pa.array(late, stamp),
        **{f"f{i}": draw.normal(size=count) for i in range(features)},
    }
    return pa.table(columns)


if __name__ == "__main__":
    main()
