"""The feature server against Feast's own, side by side: the same rows, the same questions, answers compared.

    python -m benchmarks.serving [--repeats 5] [--seconds 1] [--keys 5000] [--json FILE] [--markdown FILE]

Three servers, one process each that answers: `e2i-fs serve` over DuckDB's online store, `e2i-fs serve` over Feast with
sqlite, and `feast serve` over sqlite, Feast's default. Each repeat puts the same load on one after the other, so that noise
falls on all alike; what is told is of the repeat with the median rate, and the median of the ratios within a repeat. Every
answer is compared, value by value and status by status, with what was written. At 1,000 connections, all of them are open
before the first asks and until the last is answered. The most memory that each server ever had is told at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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
from benchmarks.http_load import Load, ask, loaded, plain
from tests.serving import peak, served

FEATURES = [f"f{n}" for n in range(10)]
ROWS, CONNECTIONS = (1, 10, 100), (1, 16, 64, 1_000)  # entity rows of a request, connections at a time
DUCKDB, OVER_FEAST, FEAST_SERVE = "e2i-fs serve, DuckDB", "e2i-fs serve, Feast sqlite", "feast serve, sqlite"
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


def ours(folder: Path, table: pa.Table, backend: str) -> None:
    """Make our store over a backend."""
    folder.mkdir()
    text = f"backends: [{{name: local, backend: {backend}, path: store}}]\n"
    (folder / "e2i_fs.yaml").write_text(text, encoding="utf-8")
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
def feast_served(folder: Path) -> Iterator[tuple[str, int]]:
    """Give the address of Feast's own server, and its process."""
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
            yield f"http://127.0.0.1:{port}", process.pid
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
        "requests_per_second": round(load.rate, 1),
        **{f"p{share}_ms": round(load.quantile(share / 100), 2) for share in (50, 95, 99)},
        "answers": len(load.seconds), "not_200": load.statuses.total() - load.statuses[200], "wrong": load.wrong,
    }  # fmt: skip


def memory(pid: int) -> int:
    """Return the most bytes that a process and those that it started had, each at its own time."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return peak(pid) + sum(memory(int(child)) for child in children)


def measured(servers: dict[str, str], count: int, connections: int, given: argparse.Namespace) -> dict[str, Any]:
    """Return what the servers made of one load, each repeat of it on one after the other."""
    bodies = questions(given.keys, count)
    answers = {name: [plain(ask(address, body)) for body in bodies] for name, address in servers.items()}
    wanted = answers[DUCKDB]
    seen: dict[str, list[Load]] = {name: [] for name in servers}
    for _ in range(given.repeats if connections < 1_000 else min(2, given.repeats)):  # where one takes long by itself
        for name, address in servers.items():
            seen[name].append(loaded(address, bodies, wanted, connections, given.seconds))
    report = {}
    for name, loads in seen.items():
        ratios = [mine.rate / feast.rate for mine, feast in zip(loads, seen[FEAST_SERVE], strict=True)]
        report[name] = told(sorted(loads, key=lambda load: load.rate)[len(loads) // 2]) | {
            "wrong_in_all": sum(load.wrong for load in loads),
            "answers_in_all": sum(len(load.seconds) for load in loads),
            "answers_equal": sum(a == w for a, w in zip(answers[name], wanted, strict=True)) / len(bodies),
            "rate_against_feast": round(statistics.median(ratios), 2),
        }
    return {"entity_rows": count, "connections": connections, "servers": report}


def markdown(report: dict[str, Any]) -> str:
    """Return the report as a table."""
    lines = [
        "| entity rows | connections | server | requests/s | against Feast | p50 ms | p95 ms | p99 ms | wrong | not 200 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for load in report["loads"]:
        for name, seen in load["servers"].items():
            cells = (
                load["entity_rows"], load["connections"], name, seen["requests_per_second"], seen["rate_against_feast"],
                seen["p50_ms"], seen["p95_ms"], seen["p99_ms"], seen["wrong_in_all"], seen["not_200"],
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "| server | most memory, MB |", "|---|---|"]
    lines += [f"| {name} | {seen / 2**20:.0f} |" for name, seen in report["peak_bytes"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load; what is under way then is waited for")
    parser.add_argument("--keys", type=int, default=5_000)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    folder, table = Path(tempfile.mkdtemp()), rows(given.keys)
    ours(folder / "duckdb", table, "duckdb")
    ours(folder / "over-feast", table, "feast")
    feasts(folder / "feast", table)
    report: dict[str, Any] = {"keys": given.keys, "features": len(FEATURES), "loads": []}
    with (
        served(folder / "duckdb") as (duckdb, first),
        served(folder / "over-feast") as (over_feast, second),
        feast_served(folder / "feast") as (feast, third),
    ):
        servers = {DUCKDB: duckdb, OVER_FEAST: over_feast, FEAST_SERVE: feast}
        for count in given.rows:
            for connections in given.connections:
                report["loads"].append(measured(servers, count, connections, given))
        pids = {DUCKDB: first.pid, OVER_FEAST: second.pid, FEAST_SERVE: third}
        report["peak_bytes"] = {name: memory(pid) for name, pid in pids.items()}
    text, table_text = json.dumps(report, indent=1), markdown(report)
    print(text if given.json is None else table_text)
    for path, content in ((given.json, text + "\n"), (given.markdown, table_text)):
        if path:
            path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
