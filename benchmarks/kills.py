"""Our own process killed at random points, again and again, over two backends: is any acknowledged write lost?

    python -m benchmarks.kills [--runs 200] [--seed 0]

A child writes, pushes and materialises over two DuckDB backends, says what was acknowledged, and is killed by SIGKILL.
The next child opens the same folders. In the end both backends must have every acknowledged row, and no row that was
never written. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

import e2i_fs as fs

KEYS = 20
START = datetime(2024, 6, 1, tzinfo=UTC)
VIEW = fs.FeatureView(
    "stats", entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", fs.Int64)],
    source=fs.PushSource("visits"),
)  # fmt: skip


def opened(folder: Path) -> Any:
    """Open the store over two backends, which are brought up to date only when asked."""
    backends = [{"name": name, "backend": "duckdb", "path": str(folder / name)} for name in ("primary", "standby")]
    failover = {"shadow_rate": 0, "background": False}
    return fs.connect({"backends": backends, "state": str(folder / "state"), "failover": failover})


def batch(number: int) -> pa.Table:
    """Return the rows of a write: one of its own, and one that corrects an earlier one's key."""
    times = [START + timedelta(seconds=number), START + timedelta(seconds=number)]
    keys = [f"own_{number}", f"hcp_{number % KEYS}"]
    return pa.table(
        {
            "hcp_id": keys,
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            "x": pa.array([number] * 2, pa.int64()),
        }
    )


def child(folder: Path, first: int) -> None:
    """Write without end, saying what is sent and what was acknowledged."""
    with opened(folder) as store:
        if not store.list_feature_views():
            store.apply([VIEW])
        number = first
        while True:
            kind = ("both", "online", "offline", "push")[number % 4]
            _say("sent", number, kind)
            if kind == "push":
                store.push("visits", batch(number), idempotency_key=f"k{number}")
            else:
                store.write("stats", batch(number), to=kind, idempotency_key=f"k{number}")
            _say("done", number, kind)
            if number % 10 == 9:
                store.materialize(None, START + timedelta(seconds=number))
            if number % 25 == 24:
                store.catch_up()
            number += 1


def _say(what: str, number: int, kind: str) -> None:
    # In one piece: print may write word by word, and the process be killed in between.
    os.write(1, f"{what} {number} {kind}\n".encode())


def run(*, runs: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill ``runs`` children at random moments and look at what is left."""
    rng = random.Random(seed)
    sent: dict[int, str] = {}
    done: dict[int, str] = {}
    began = time.monotonic()
    for _ in range(runs):
        first = max(sent, default=-1) + 1
        command = [sys.executable, "-m", "benchmarks.kills", "--child", str(folder), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            timer: threading.Timer | None = None
            early = rng.random() < 0.25
            for line in process.stdout:
                try:
                    what, number, kind = line.split()
                except ValueError:
                    raise SystemExit(f"A child said {line!r}, which is no report of a write.") from None
                {"sent": sent, "done": done}[what][int(number)] = kind
                if timer is None and (what == "done" or early):  # it is at work: killed at a moment from here on
                    timer = threading.Timer(rng.uniform(0, 0.8), process.kill)
                    timer.start()
            error = process.stderr.read()
        if process.returncode != -9:
            raise SystemExit(f"A child ended by itself with {process.returncode}:\n{error}")
    upto = max((n for n in sent if n % 10 == 9), default=-1)
    return _looked_at(folder, sent, done, upto) | {"runs": runs, "seconds": round(time.monotonic() - began, 1)}


def _looked_at(folder: Path, sent: dict[int, str], done: dict[int, str], upto: int) -> dict[str, Any]:
    lost, made_up, differing = [], [], []
    with opened(folder) as store:
        for number in sorted(set(sent) - set(done)):  # what was not acknowledged is written again, as an agent would
            kind = sent[number]
            store.write("stats", batch(number), to="both" if kind == "push" else kind, idempotency_key=f"k{number}")
        caught_up = store.catch_up()
        asked = [{"hcp_id": f"own_{n}"} for n in range(max(sent) + 2)]
        frame = pa.table(
            {
                "hcp_id": [row["hcp_id"] for row in asked],
                "event_timestamp": pa.array([START + timedelta(days=9)] * len(asked), pa.timestamp("us", "UTC")),
            }
        )
        found = {}
        for name, other in (("primary", "standby"), ("standby", "primary")):
            store.isolate(other)
            online = store.get_online_features(["stats:x"], asked)
            history = store.get_historical_features(frame, ["stats:x"])
            assert (online.provenance.served_by, online.provenance.degraded) == (name, False), online.provenance
            found[name] = (online.to_dict()["x"], history.to_arrow().column("x").to_pylist())
            store.release(other)
            for number in range(max(sent) + 2):
                kind = sent.get(number)
                wanted = (kind in ("both", "online", "push"), kind in ("both", "offline", "push"))
                for place, values, must in zip(("online", "offline"), found[name], wanted, strict=True):
                    value = values[number]
                    by_a_run = place == "online" and kind == "offline" and number <= upto
                    if must and value != number:
                        lost.append(f"{name} {place} {number}: {value}")
                    elif value is not None and not must and not by_a_run:
                        made_up.append(f"{name} {place} {number}: {value}")
        if found["primary"] != found["standby"]:
            differing.append("the two backends differ")
    return {
        "writes_sent": len(sent), "acknowledged": len(done), "lost": lost[:5], "made_up": made_up[:5], "differing": differing,
        "caught_up": {name: d.done for name, d in caught_up.items()},
    }  # fmt: skip


def main() -> int:
    """Run it, or one child; exit with 1 when something was lost, made up, or differs."""
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        numbers = run(runs=given.runs, seed=given.seed, folder=Path(folder))
    print(json.dumps(numbers, indent=1))
    return (
        1
        if numbers["lost"] or numbers["made_up"] or numbers["differing"] or not all(numbers["caught_up"].values())
        else 0
    )


if __name__ == "__main__":
    sys.exit(main())
