"""More than fits: 10 million entity rows from a history of 100 million, under a limit of memory. Runs by itself.

    python -m benchmarks.big [--entities N] [--rows N] [--limit-gb 8] [--engine-gb 4] [--sample N] [--folder DIR] [--into FILE]

The history lies in a folder of Parquet files of 5 million rows each, 8 GB in all at full size; --folder needs as much free, and
room to spill. The process may not have more than the limit of data (RLIMIT_DATA), and must not have had more at its most. A
sample of the answer is compared with pandas' `merge_asof` over the rows of its keys. --into adds the outcome to a results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.child import ROOT, peak_mb
from benchmarks.data import MOMENT, START, YEAR, names

PIECE, PER_KEY = 5_000_000, 50


def make(folder: Path, rows: int, entity_rows: int, seed: int) -> None:
    """Write the history, a file after the other, and the entity rows. Times are distinct: number and time are one."""
    rng, keys, step = np.random.default_rng(seed), rows // PER_KEY, YEAR // rows
    (folder / "history").mkdir()
    pieces = -(-rows // PIECE)
    for piece in range(pieces):
        numbers = np.arange(piece, rows, pieces)  # every file has rows of the whole year
        rng.shuffle(numbers)
        columns: dict[str, Any] = {
            "hcp_id": _keys(rng.integers(0, keys, len(numbers))),
            "event_timestamp": pa.array(START + numbers * step, MOMENT),
        }
        columns |= {name: rng.random(len(numbers)) for name in names()}
        pq.write_table(pa.table(columns), folder / "history" / f"{piece:03}.parquet")
    asked = {
        "row": np.arange(entity_rows),
        "hcp_id": _keys(rng.integers(0, keys, entity_rows)),
        "event_timestamp": pa.array(START + rng.integers(0, YEAR, entity_rows), MOMENT),
    }
    pq.write_table(pa.table(asked), folder / "entities.parquet")


def _keys(numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar("hcp_"), pa.array(numbers).cast(pa.string()), "")


def retrieve(folder: Path, limit_gb: float, engine_gb: float, sample: int) -> dict[str, Any]:
    """Retrieve under the limit, and keep a sample of the answer. In a process of its own."""
    import e2i_fs as fs

    limit = int(limit_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    spill = folder / "spill"
    spill.mkdir(exist_ok=True)
    config: dict[str, Any] = {"backend": "duckdb", "path": str(folder / "store")}
    engine = {"memory_limit": f"{engine_gb:g}GB", "temp_directory": str(spill)}
    limited = True
    try:
        store = fs.connect(config | {"engine": engine})
    except fs.ConfigError as error:
        print(f"This version takes no limit of the engine: {error}", file=sys.stderr)
        store, limited = fs.connect(config), False
    source = fs.ParquetSource(str(folder / "history"))
    fields = [fs.Field(name, fs.Float64) for name in names()]
    store.apply([fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=fields, source=source)])
    asked = pq.read_table(folder / "entities.parquet")
    spilled, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            held = 0
            for file in spill.rglob("*"):
                try:
                    held += file.stat().st_size
                except FileNotFoundError:
                    continue  # the engine has just removed it
            spilled[0] = max(spilled[0], held)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    begun = time.perf_counter()
    answer = store.get_historical_features(asked, ["v:*"]).to_arrow()
    seconds = time.perf_counter() - begun
    done.set()
    watching.join()
    chosen = np.sort(np.random.default_rng(1).choice(len(answer), min(sample, len(answer)), replace=False))
    pq.write_table(answer.take(pa.array(chosen)), folder / "sample.parquet")
    return {
        "seconds": seconds, "peak_mb": peak_mb(), "spilled_mb": spilled[0] / 2**20, "rows": len(answer), "limited": limited,
        "in_order": bool(answer["row"].equals(asked["row"])),
    }  # fmt: skip


def wrong(folder: Path) -> int:
    """Return how many rows of the sample are not as pandas' `merge_asof` says over the rows of their keys."""
    import pandas as pd

    sample = pq.read_table(folder / "sample.parquet").to_pandas().sort_values("event_timestamp")
    keys = pa.array(sample["hcp_id"].unique())
    pieces = []
    for file in sorted((folder / "history").iterdir()):
        table = pq.read_table(file)
        pieces.append(table.filter(pc.is_in(table["hcp_id"], keys)))
    history = pa.concat_tables(pieces).to_pandas().sort_values("event_timestamp")
    right = pd.merge_asof(sample[["row", "hcp_id", "event_timestamp"]], history, on="event_timestamp", by="hcp_id")
    mine, theirs = (frame.sort_values("row")[names()].to_numpy(float) for frame in (sample, right))
    return int((~((mine == theirs) | (np.isnan(mine) & np.isnan(theirs)))).any(axis=1).sum())


def measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Make the data, retrieve in a process of its own, check; return the outcome."""
    make(folder, given.rows, given.entities, given.seed)
    words = [str(w) for w in (folder, given.limit_gb, given.engine_gb, given.sample)]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.big", "--retrieve", *words], cwd=ROOT, env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    work = f"{given.entities:,} entity rows × {given.rows:,} under {given.limit_gb:g} GB"
    if done.returncode != 0:
        return {"work": work, "said": f"the process ended with {done.returncode}", "held": False}
    told = json.loads(done.stdout.splitlines()[-1])
    told["wrong"], told["sample"] = wrong(folder), min(given.sample, given.entities)
    engine = f"{given.engine_gb:g} GB for the engine" if told["limited"] else "the engine without a limit of its own"
    said = (
        f"{told['seconds']:,.0f} s, at most {told['peak_mb'] / 1024:.1f} GB, {told['spilled_mb'] / 1024:.1f} GB on disk "
        f"({engine}); {told['wrong']} of {told['sample']:,} wrong"
    )
    held = (
        told["wrong"] == 0 and told["in_order"] and told["rows"] == given.entities
        and told["peak_mb"] <= given.limit_gb * 1024 and told["limited"] and told["spilled_mb"] > 0
    )  # fmt: skip
    return {"work": work, "said": said, "held": held, "measured": told}


def main() -> None:
    """Measure, print, and add to a report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=10_000_000)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--limit-gb", type=float, default=8)
    parser.add_argument("--engine-gb", type=float, default=4)
    parser.add_argument("--sample", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the data goes; the system's temporary folder unless given")
    parser.add_argument("--into", type=Path, help="a results.json that the outcome is added to")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="big-", dir=given.folder))
    try:
        told = measured(folder, given)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(told, indent=1))
    if given.into:
        report = json.loads(given.into.read_text(encoding="utf-8"))
        given.into.write_text(json.dumps(report | {"big": told}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--retrieve"]:
        place, limit, engine, sample = sys.argv[2:]
        print(json.dumps(retrieve(Path(place), float(limit), float(engine), int(sample))))
    else:
        main()
