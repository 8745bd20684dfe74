"""Online lookup through the whole store against bare LMDB with the same decoding."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta

import lmdb
import msgpack
import pyarrow as pa

import e2i_fs as fs
from benchmarks.harness import Row, interleaved

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def run(*, quick: bool) -> tuple[str, list[Row]]:
    size = 5_000 if quick else 50_000
    folder = tempfile.mkdtemp()
    fields = [fs.Field(f"f{j}", fs.Float64) for j in range(10)]
    view = fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=fields, ttl=timedelta(days=9))
    rows = pa.table(
        {
            "hcp_id": [f"hcp_{i}" for i in range(size)],
            "event_timestamp": pa.array([NOW - timedelta(days=1)] * size, pa.timestamp("us", "UTC")),
            **{f.name: [float(i) for i in range(size)] for f in fields},
        }
    )
    backends = [{"name": n, "backend": "duckdb", "path": f"{folder}/{n}"} for n in ("a", "b")]
    single = fs.connect({"backend": "duckdb", "path": f"{folder}/single"}, clock=lambda: NOW)
    double = fs.connect({"backends": backends, "failover": {"shadow_rate": 0}}, clock=lambda: NOW)
    for store in (single, double):
        store.apply([view])
        store.write("v", rows, to="online")
    env = lmdb.open(f"{folder}/bare", map_size=1 << 32)
    with env.begin(write=True) as transaction:
        for i in range(size):
            transaction.put(f"hcp_{i}".encode(), msgpack.packb([[0, None, {f.name: float(i) for f in fields}]]))
    contenders = {}
    for count in (1, 100):
        asked = [{"hcp_id": f"hcp_{i * 37 % size}"} for i in range(count)]

        def bare(asked: list[dict[str, str]] = asked) -> list[object]:
            with env.begin(buffers=True) as transaction:
                return [msgpack.unpackb(transaction.get(row["hcp_id"].encode())) for row in asked]

        contenders[f"bare LMDB, {count}"] = bare
        contenders[f"e2i_fs on duckdb, {count}"] = lambda a=asked: single.get_online_features(["v:*"], a)
        contenders[f"e2i_fs, failover over two, {count}"] = lambda a=asked: double.get_online_features(["v:*"], a)
    measured = interleaved(contenders, 50 if quick else 300)
    single.close()
    double.close()
    return f"Online lookup: {size:,} keys, 10 features, 1 and 100 entity rows", measured
