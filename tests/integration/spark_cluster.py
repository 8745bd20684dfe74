"""Run beside the tests: ask a standalone Spark and the engine the same, the second time while a worker is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import e2i_fs as fs
from e2i_fs.errors import E2IError

ROWS, ASKED = 400_000, 20_000
START = 1_704_067_200_000_000


def main(address: str, folder: Path, worker: int) -> None:
    """Print in a line each how the two answers compare."""
    draw = np.random.default_rng(7)
    for part in range(4):
        pq.write_table(rows(draw, ROWS // 4, "visits"), folder / f"visits{part}.parquet")
    entities = rows(draw, ASKED, "n")
    spark = {
        "spark.master": address,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": "450m",
        "spark.testing.reservedMemory": "1048576",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "8",
        "spark.task.maxFailures": "4",
    }
    store = fs.connect(
        {"backend": "feast", "path": str(folder / "spark"), "offline_store": {"type": "spark", "spark_conf": spark}}
    )
    right = fs.connect({"backend": "duckdb", "path": str(folder / "duckdb")})
    hcp = fs.Entity("hcp", join_keys={"hcp": fs.Int64})
    paths = [str(folder / f"visits{part}.parquet") for part in range(4)]
    source = fs.ParquetSource(paths)
    view = fs.FeatureView("v", entities=[hcp], schema=[fs.Field("visits", fs.Float64)], source=source)
    for one in (store, right):
        one.apply([hcp, view])
    expected = asked(right, entities)
    print("whole: " + ("equal" if asked(store, entities).equals(expected) else "WRONG"), flush=True)

    def kill() -> None:
        from pyspark import SparkContext

        tracker = SparkContext.getOrCreate().statusTracker()
        while not tracker.getActiveJobsIds():
            time.sleep(0.01)
        os.killpg(worker, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        found = asked(store, entities)
    except E2IError as error:
        print("one worker less: an error of ours", flush=True)
        print(repr(error), flush=True)
    else:
        thread.join(10)
        print("one worker less: " + ("equal" if found.equals(expected) else "WRONG"), flush=True)
        print("killed" if not thread.is_alive() else "the worker was not killed", flush=True)


def rows(draw: Any, count: int, value: str) -> pa.Table:
    """Return rows of a thousand keys, times in whole seconds so that many tie."""
    times = START + draw.integers(0, 20_000, count) * 1_000_000
    return pa.table(
        {
            "hcp": draw.integers(0, 1000, count),
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            value: draw.normal(size=count),
        }
    )


def asked(store: Any, entities: pa.Table) -> pa.Table:
    """Return the answer of one store."""
    return store.get_historical_features(entities, ["v:visits"]).to_arrow()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
