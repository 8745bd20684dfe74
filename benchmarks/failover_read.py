"""What failover costs an online read: over two backends, healthy and with the primary away and behind, against one backend alone."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

import e2i_fs as fs
from benchmarks.harness import Row, interleaved

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def run(*, quick: bool) -> tuple[str, list[Row]]:
    folder = tempfile.mkdtemp()
    fields = [fs.Field(f"f{j}", fs.Float64) for j in range(10)]
    view = fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=fields, ttl=timedelta(days=9))

    def rows(value: float) -> pa.Table:
        times = pa.array([NOW - timedelta(days=1) + timedelta(seconds=value)] * 1000, pa.timestamp("us", "UTC"))
        keys = [f"hcp_{i}" for i in range(1000)]
        return pa.table({"hcp_id": keys, "event_timestamp": times, **{f.name: [value] * 1000 for f in fields}})

    def two(name: str) -> Any:
        backends = [{"name": n, "backend": "duckdb", "path": f"{folder}/{name}/{n}"} for n in ("primary", "standby")]
        return fs.connect(
            {
                "backends": backends,
                "state": f"{folder}/{name}/state",
                "failover": {"shadow_rate": 0, "background": False},
            },
            clock=lambda: NOW,
        )

    bare = fs.connect({"backend": "duckdb", "path": f"{folder}/bare"}, clock=lambda: NOW)
    healthy, away = two("healthy"), two("away")
    for store in (bare, healthy, away):
        store.apply([view])
        store.write("v", rows(0), to="online")
    away.isolate("primary")
    away.write("v", rows(1), to="online")  # which the primary has missed
    asked = [{"hcp_id": "hcp_7"}]
    expected = {"bare": 0.0, "healthy": 0.0, "away": 1.0}
    contenders = {}
    for name, store in (("bare", bare), ("healthy", healthy), ("away", away)):
        answer = store.get_online_features(["v:*"], asked)
        assert answer.to_dict()["f0"] == [expected[name]]
        assert not answer.provenance.degraded
        assert answer.provenance.served_by == {"bare": "duckdb", "healthy": "primary", "away": "standby"}[name]
        contenders[name] = lambda s=store: s.get_online_features(["v:*"], asked)
    measured = interleaved(
        {
            "one backend": contenders["bare"],
            "failover, healthy": contenders["healthy"],
            "failover, the primary away and behind": contenders["away"],
        },
        500 if quick else 3000,
    )
    for store in (bare, healthy, away):
        store.close()
    return "What failover costs an online read: one entity row, 10 features", measured
