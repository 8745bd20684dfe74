"""The feature server against Feast's own, side by side: the same rows, the same questions, answers compared.

    python -m benchmarks.serving [--repeats 7] [--requests 2000] [--held 1000] [--keys 5000] [--out FILE]

Two processes, one worker each: `e2i-fs serve` over DuckDB's online store, and `feast serve` over sqlite, Feast's default. Each
repeat puts the same load on one and then on the other, so that noise falls on both alike; what is told is medians over
repeats and the median of the ratios within a repeat. Every answer is compared, value by value and status by status, with
what was written. At last so many connections are held on each at once. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

import e2i_fs as fs
from benchmarks.http_load import Load, ask, held, loaded, plain
from tests.serving import served

FEATURES = [f"f{n}" for n in range(10)]
LOADS = ((1, 1), (1, 16), (100, 1), (100, 16))  # entity rows of a request, connections
FEAST = """\
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Float64, Int64
driver = Entity(name="driver", join_keys=["driver_id"])
stats = FeatureView(
    name="stats", entities=[driver], ttl=timedelta(days=0),
    schema=[Field(name="driver_id", dtype=Int64)] + [Field(name=f"f{n}", dtype=Float64) for n in range(10)],
    source=FileSource(path="rows.parquet", timestamp_field="event_timestamp"),
)
"""
CONFIG = """\
project: serving
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""


def rows(keys: int) -> pa.Table:
    """Return one row for each key."""
    moment = datetime.now(UTC) - timedelta(hours=1)
    return pa.table({
        "driver_id": pa.array(range(keys), pa.int64()),
        "event_timestamp": pa.array([moment] * keys, pa.timestamp("us", "UTC")),
        **{name: [float(key * 10 + n) + 0.5 for key in range(keys)] for n, name in enumerate(FEATURES)},
    })  # fmt: skip


def ours(folder: Path, table: pa.Table) -> None:
    """Make our store."""
    folder.mkdir()
    (folder / "e2i_fs.yaml").write_text("backends: [{name: local, backend: duckdb, path: store}]\n", encoding="utf-8")
    driver = fs.Entity("driver", join_keys={"driver_id": fs.Int64})
    view = fs.FeatureView("stats", entities=[driver], schema=[fs.Field(name, fs.Float64) for name in FEATURES])
    with fs.connect(folder / "e2i_fs.yaml") as store:
        store.apply([view])
        store.write("stats", table, to="online")


def feasts(folder: Path, table: pa.Table) -> None:
    """Make Feast's repository, in a process of its own."""
    import pyarrow.parquet as pq

    folder.mkdir()
    (folder / "feature_store.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "definitions.py").write_text(FEAST, encoding="utf-8")
    pq.write_table(table, folder / "rows.parquet")
    feast = str(Path(sys.executable).with_name("feast"))
    until = datetime.now(UTC).isoformat(timespec="seconds")
    for command in (["apply"], ["materialize", "2000-01-01T00:00:00", until]):
        subprocess.run([feast, *command], cwd=folder, check=True, capture_output=True)


@contextmanager
def feast_served(folder: Path) -> Iterator[str]:
    """Give the address of Feast's own server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    feast = str(Path(sys.executable).with_name("feast"))
    # Feast's server ends its worker after 1,000 requests unless told otherwise, and connections with it.
    command = [feast, "serve", "--port", str(port), "--workers", "1", "--no-access-log", "--max-requests", "0"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None, "feast serve ended"
                    assert time.monotonic() < until, "feast serve did not start"
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # its workers are processes of its own


def questions(keys: int, count: int) -> list[dict[str, Any]]:
    """Return 50 questions of ``count`` keys each, one of them unknown where there is more than one."""
    refs = [f"stats:{name}" for name in FEATURES]
    asked = [[(n * 7919 + k * 37) % keys for k in range(count)] for n in range(50)]
    return [{"features": refs, "entities": {"driver_id": [*a[:-1], keys + 1] if count > 1 else a}} for a in asked]


def told(load: Load) -> dict[str, Any]:
    """Return what a load saw, in few numbers."""
    return {
        "requests_per_second": round(load.rate, 1), "p50_ms": round(load.quantile(0.5), 3), "p99_ms": round(load.quantile(0.99), 3),
        "not_200": load.statuses.total() - load.statuses[200], "wrong": load.wrong,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--repeats", 7), ("--requests", 2000), ("--held", 1000), ("--keys", 5000)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    folder, table = Path(tempfile.mkdtemp()), rows(given.keys)
    ours(folder / "ours", table)
    feasts(folder / "feast", table)
    report: dict[str, Any] = {"keys": given.keys, "features": len(FEATURES), "loads": [], "held": {}}
    with served(folder / "ours", "--max-requests", "4096") as (address, _), feast_served(folder / "feast") as theirs:
        servers = {"e2i-fs serve": address, "feast serve": theirs}
        for count, connections in LOADS:
            bodies = questions(given.keys, count)
            wanted = [plain(ask(address, body)) for body in bodies]
            same = sum(plain(ask(theirs, body)) == w for body, w in zip(bodies, wanted, strict=True))
            seen: dict[str, list[Load]] = {name: [] for name in servers}
            for _ in range(given.repeats):
                for name, server in servers.items():
                    seen[name].append(loaded(server, bodies, wanted, connections, max(50, given.requests // count)))
            middle = {
                name: told(sorted(loads, key=lambda load: load.rate)[len(loads) // 2]) for name, loads in seen.items()
            }
            for name, loads in seen.items():
                middle[name] |= {
                    "wrong_in_all": sum(x.wrong for x in loads),
                    "answers_in_all": sum(len(x.seconds) for x in loads),
                }
            ratios = [a.rate / b.rate for a, b in zip(seen["e2i-fs serve"], seen["feast serve"], strict=True)]
            report["loads"].append({
                "entity_rows": count, "connections": connections, "answers_equal": f"{same} of {len(bodies)}", **middle,
                "rate_against_feast": round(statistics.median(ratios), 2),
            })  # fmt: skip
        for name, server in servers.items():
            statuses, seconds = held(server, questions(given.keys, 1)[0], given.held)
            report["held"][name] = {"connections": given.held, "statuses": dict(statuses), "seconds": round(seconds, 2)}
    text = json.dumps(report, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
