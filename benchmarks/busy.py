"""Readers while one writes: 8 threads, and 2 processes; undisturbed, beside a busy process, beside one that writes without a pause.

Two things are told, for either hides a loss that the other shows. Seconds of *processor* for each read: what a read costs, whoever
else has the cores; a reader that waits for a lock uses none. Reads a second by the *clock*, against those beside a process that only
keeps a core busy: that process takes as much of two cores as a writer may, so what is lost beside the writer alone was lost by
waiting. Every row read must be whole.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.child import ROOT
from benchmarks.data import Kept
from benchmarks.race import Lane, Measured

KEYS, BATCH, FEATURES = 2_000, 1_000, 10
ALONE, BUSY, WRITING = "undisturbed", "beside a busy process", "while one writes"


def frame(value: int) -> Any:
    """Return a row of each of the first keys: feature ``f`` is ``value + f``, a later write a later time."""
    import pyarrow as pa

    moment = datetime(2024, 6, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    return pa.table({
        "hcp_id": [f"hcp_{n}" for n in range(KEYS if value == 0 else BATCH)],
        "event_timestamp": pa.array([moment] * (KEYS if value == 0 else BATCH), pa.timestamp("us", "UTC")),
        **{f"f{n}": [float(value + n)] * (KEYS if value == 0 else BATCH) for n in range(FEATURES)},
    })  # fmt: skip


def _closed() -> threading.Event:
    """Return what is set when the standard input is closed."""
    done = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    return done


def write(folder: str) -> None:
    """Write until the pipe is closed; say how many batches."""
    import e2i_fs as fs

    done = _closed()
    with fs.connect({"backend": "duckdb", "path": folder}) as store:
        print("writing", flush=True)
        value = int(time.time() * 1000) - 1_717_200_000_000
        begun, batches = time.perf_counter(), 0
        while not done.is_set():
            value += 1
            batches += 1
            store.write("v", frame(value), to="online")
        print(json.dumps({"rows_s": batches * BATCH / (time.perf_counter() - begun)}), flush=True)


def spin() -> None:
    """Keep a core busy until the pipe is closed."""
    done = _closed()
    print("busy", flush=True)
    while not done.is_set():
        sum(range(10_000))
    print(json.dumps({"rows_s": 0}), flush=True)


def read(folder: str, threads: int, seconds: float) -> None:
    """Read with so many threads, whenever told; say what was read."""
    import e2i_fs as fs

    with fs.connect({"backend": "duckdb", "path": folder}) as store:
        store.get_online_features(["v:*"], [{"hcp_id": "hcp_1"}])
        print("reading", flush=True)
        for _ in sys.stdin:
            print(json.dumps(_read(store, threads, seconds)), flush=True)


def _read(store: Any, threads: int, seconds: float) -> dict[str, Any]:
    reads, used, errors, torn = [0] * threads, [0.0] * threads, [0] * threads, [0] * threads
    until = time.perf_counter() + seconds

    def reader(me: int) -> None:
        begun, n = time.thread_time(), me
        while time.perf_counter() < until:
            n += 37
            try:
                got = store.get_online_features(["v:*"], [{"hcp_id": f"hcp_{n % KEYS}"}]).to_dict()
                row = [got[f"f{f}"][0] for f in range(FEATURES)]
                torn[me] += row != [row[0] + f for f in range(FEATURES)]
            except Exception as error:  # counted, told in the table, and the goal is then not held
                print(error, file=sys.stderr)
                errors[me] += 1
            reads[me] += 1
        used[me] = time.thread_time() - begun

    working = [threading.Thread(target=reader, args=(me,)) for me in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    return {"reads": sum(reads), "cpu": sum(used), "errors": sum(errors), "torn": sum(torn)}


def _child(*words: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.busy", *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=ROOT, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline(), "a process ended before it began"
    return process


def _end(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, f"a process ended with {process.returncode}"
    return said


def disturbed(
    id: str, threads: int, processes: int, *, seconds: float, repeats: int, beside: Sequence[str] = (ALONE, BUSY, WRITING)
) -> Measured:  # fmt: skip
    """Measure reads in turn beside nobody and whoever else is said."""
    import e2i_fs as fs

    with tempfile.TemporaryDirectory(prefix="busy-") as folder:
        fields = [fs.Field(f"f{n}", fs.Float64) for n in range(FEATURES)]
        with fs.connect({"backend": "duckdb", "path": folder}) as store:
            store.apply([fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=fields, source=fs.PushSource("p"))])
            store.write("v", frame(0), to="online")
        readers = [_child("read", folder, threads, seconds) for _ in range(processes)]
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in beside}
        rates = []
        for _ in range(repeats):
            for name, told in seen.items():
                words = {ALONE: None, BUSY: ("spin",), WRITING: ("write", folder)}[name]
                other = None if words is None else _child(*words)
                for reader in readers:
                    assert reader.stdin is not None
                    reader.stdin.write("read\n")
                    reader.stdin.flush()
                read = [json.loads(r.stdout.readline()) for r in readers if r.stdout is not None]
                told.append({key: sum(one[key] for one in read) for key in read[0]})
                if other is not None:
                    rates.append(json.loads(_end(other))["rows_s"])
        for reader in readers:
            _end(reader)
    return _told(id, threads, processes, seconds, seen, rates)


def _told(
    id: str, threads: int, processes: int, seconds: float, seen: dict[str, list[dict[str, float]]], rates: list[float]
) -> Measured:
    lanes = []
    for name, told in seen.items():
        lane = Lane(name, [one["cpu"] / one["reads"] for one in told])
        lane.median, lane.fastest = statistics.median(lane.seconds), min(lane.seconds)
        lane.ratios = [a / b["cpu"] * b["reads"] for a, b in zip(lane.seconds, seen[ALONE], strict=True)]
        lane.ratio = statistics.median(lane.ratios)
        errors, torn = (sum(one[key] for one in told) for key in ("errors", "torn"))
        lane.answer = "no error, every row whole" if errors + torn == 0 else f"{errors:g} errors, {torn:g} rows torn"
        clock = statistics.median(one["reads"] for one in told) / seconds
        lane.note = f"{1 / lane.median:,.0f} reads for a second of processor, {clock:,.0f} a second by the clock"
        if name == WRITING:
            lane.note += f"; the writer wrote {statistics.median(filter(None, rates)):,.0f} rows/s"
        lanes.append(lane)
    sizes: dict[str, Any] = {"threads": threads, "processes": processes, "rows a batch": BATCH}
    note = "Seconds of processor for each read."
    if BUSY in seen and WRITING in seen:
        kept = statistics.median(w["reads"] / b["reads"] for w, b in zip(seen[WRITING], seen[BUSY], strict=True))
        sizes["kept by the clock"] = kept
        note += f" By the clock, reads while one writes were {kept:.2f} of those beside a busy process."
    who = f"{threads} threads" if processes == 1 else f"{processes} processes"
    return Measured(id, f"Reads of one entity, 10 features, by {who}, while one process writes", lanes, sizes, note)


def run(kept: Kept, *, quick: bool) -> list[Measured]:
    """Measure both."""
    seconds, repeats = (0.5, 2) if quick else (2.0, 6)
    return [
        disturbed("busy-threads", 8, 1, seconds=seconds, repeats=repeats),
        disturbed("busy-processes", 1, 2, seconds=seconds, repeats=repeats),
    ]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", where]:
            write(where)
        case ["spin"]:
            spin()
        case ["read", where, threads, seconds]:
            read(where, int(threads), float(seconds))
