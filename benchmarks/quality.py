"""A quality report of many rows, its time and its peak memory, side by side with the same figures by pandas.

    python -m benchmarks.quality [--rows 10000000] [--repeats 3] [--json FILE]

Every run is a process of its own, so that its peak is its own; contenders take turns. All of them begin at the same
Parquet file of 20 columns, and the figures that they find must be the same before a time is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TIERS = ["A", "B", "C", "D"]
NUMBERS = [f"x{i}" for i in range(10)]
COUNTS = ["trx_count", "nrx_count", "gap_days"]
TEXTS = ["hcp_id", "specialty", "tier", "channel"]
BATCH = 500_000
CONTENDERS = ("parquet", "arrow", "pandas")


def write(path: Path, rows: int, seed: int = 0) -> None:
    """Write rows with a unique key, missing values, NaN, odd texts and a few broken expectations."""
    rng = np.random.default_rng(seed)
    writer = None
    for start in range(0, rows, BATCH):
        n = min(BATCH, rows - start)
        columns: dict[str, Any] = {"row_id": pa.array(np.arange(start, start + n))}
        for name in NUMBERS:
            values = rng.normal(50, 10, n)
            values[rng.random(n) < 0.001] = math.nan
            columns[name] = pa.array(values, mask=rng.random(n) < 0.02)
        for name in COUNTS:
            columns[name] = pa.array(rng.integers(0, 200, n), mask=rng.random(n) < 0.01)
        ids = np.char.add("hcp_", rng.integers(0, 200_000, n).astype(str))
        columns["hcp_id"] = pa.array(ids.astype(object))
        for name, values in (
            ("specialty", ["Cardiology", "cardiology", "Oncology"]),
            ("tier", TIERS),
            ("channel", ["email", "visit "]),
        ):
            columns[name] = pa.array(rng.choice(values, n).astype(object), mask=rng.random(n) < 0.01)
        columns["converted"] = pa.array(rng.random(n) < 0.3)
        times = np.datetime64("2025-01-01") + rng.integers(0, 31_000_000, n).astype("timedelta64[s]")
        columns["event_timestamp"] = pa.array(times.astype("datetime64[us]")).cast(pa.timestamp("us", "UTC"))
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def ours(frame: Any) -> dict[str, Any]:
    """Return the figures of a quality report."""
    from e2i_fs.quality import QCReport, in_range, in_set, not_null

    report = QCReport.of(
        frame, keys=["row_id"], clock=lambda: NOW, max_age=timedelta(days=400),
        expectations=[in_set("tier", TIERS[:3], mostly=0.5), not_null("x0", mostly=0.9), *(in_range(n, 0, 100) for n in NUMBERS)],
    )  # fmt: skip
    columns = {c.name: c for c in report.columns}
    return {
        "rows": report.row_count,
        "missing": {n: c.missing for n, c in columns.items()},
        "nan": {n: columns[n].nan for n in NUMBERS},
        "ends": {n: [columns[n].min, columns[n].max] for n in (*NUMBERS, *COUNTS)},
        "mean": {n: columns[n].mean for n in (*NUMBERS, *COUNTS)},
        "std": {n: columns[n].std for n in (*NUMBERS, *COUNTS)},
        "numeric_text": {n: columns[n].numeric_text for n in TEXTS},
        "padded": {n: columns[n].padded for n in TEXTS},
        "offending": {repr(r.expectation): r.offending for r in report.expectation_results if r.expectation.kind in ("in_range", "in_set", "unique")},
        "scores": report.scores,
    }  # fmt: skip


def by_pandas(path: Path) -> dict[str, Any]:
    """Return the same figures by pandas, with dtypes that tell NaN from missing."""
    import pandas as pd

    frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    numeric = [*NUMBERS, *COUNTS]
    nan = {n: int(np.isnan(frame[n].to_numpy(float, na_value=0.0)).sum()) for n in NUMBERS}
    for name in NUMBERS:  # NaN is missing
        frame[name] = pd.array(frame[name].to_numpy(float, na_value=math.nan), dtype="Float64")
    rows, present = len(frame), int(frame.notna().to_numpy().sum())
    clean = {n: frame[n].to_numpy(float, na_value=math.nan) for n in numeric}
    offending, invalid = {}, 0
    for name in NUMBERS:
        values = clean[name]
        outside = int(((values < 0) | (values > 100)).sum())
        offending[f"in_range({name!r}, min=0, max=100)"] = outside
        invalid += outside
    tier = frame["tier"]
    wrong = int((tier.notna() & ~tier.isin(TIERS[:3])).sum())
    offending[f"in_set('tier', values={tuple(TIERS[:3])!r}, mostly=0.5)"] = wrong
    repeated = int(frame["row_id"].duplicated().sum())
    offending["unique('row_id')"] = repeated
    padded, numbers, odd = {}, {}, 0
    for name in TEXTS:
        texts = frame[name]
        strange = texts.str.contains(r"^\s|\s$").fillna(False)
        padded[name] = int(strange.sum())
        numbers[name] = int(texts.str.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*").fillna(False).sum())
        counts = texts.value_counts()
        if len(counts) < 10_000:
            folded = counts.groupby(counts.index.str.lower())
            rarer = set(counts.index) - set(folded.idxmax())
            strange |= texts.isin(rarer)
        odd += int(strange.sum())
    times = frame["event_timestamp"]
    untimely = int((times.isna() | (times > NOW + timedelta(seconds=60)) | (times < NOW - timedelta(days=400))).sum())
    return {
        "rows": rows,
        "missing": {n: int(frame[n].isna().sum()) for n in frame.columns},
        "nan": nan,
        "ends": {n: [float(np.nanmin(v)), float(np.nanmax(v))] for n, v in clean.items()},
        "mean": {n: float(np.nanmean(v)) for n, v in clean.items()},
        "std": {n: float(np.nanstd(v, ddof=1)) for n, v in clean.items()},
        "numeric_text": numbers,
        "padded": padded,
        "offending": offending,
        "scores": {
            "completeness": present / (rows * len(frame.columns)), "validity": 1 - (invalid + wrong) / present,
            "consistency": 1 - odd / present, "uniqueness": 1 - repeated / rows, "timeliness": 1 - untimely / rows,
        },
    }  # fmt: skip


def child(what: str, path: Path) -> None:
    """Do one contender's work and print its figures, seconds and peak."""
    begun = time.perf_counter()
    work = {
        "pandas": lambda: by_pandas(path),
        "parquet": lambda: ours(str(path)),
        "arrow": lambda: ours(pq.read_table(path)),
    }
    found = work[what]()
    seconds, cpu = time.perf_counter() - begun, time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"figures": found, "seconds": seconds, "cpu": cpu, "peak_mb": peak}))


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return where two sets of figures differ by more than the last digits."""
    if isinstance(one, dict):
        if set(one) != set(other):
            return [f"{where}: {sorted(set(one) ^ set(other))}"]
        return [d for key in one for d in differences(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, list):
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{where}/{i}")]
    return [] if math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) else [f"{where}: {one} and {other}"]


def run(*, rows: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Measure every contender ``repeats`` times, in turns, and return medians."""
    path = folder / "rows.parquet"
    write(path, rows)
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name in CONTENDERS:
            command = [sys.executable, "-m", "benchmarks.quality", "--child", name, str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken[name].append(json.loads(done.stdout))
    first = taken["parquet"][0]["figures"]
    for name, runs in taken.items():
        wrong = differences(first, runs[0]["figures"])
        if wrong:
            raise SystemExit(f"{name} finds other figures, so times say nothing:\n" + "\n".join(wrong[:20]))
    return {
        name: {
            "seconds": round(statistics.median(r["seconds"] for r in runs), 2),
            "fastest": round(min(r["seconds"] for r in runs), 2),
            "cpu": round(statistics.median(r["cpu"] for r in runs), 2),
            "peak_mb": round(max(r["peak_mb"] for r in runs)),
        }
        for name, runs in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], Path(given.child[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = run(rows=given.rows, repeats=given.repeats, folder=Path(folder))
    print(
        f"\n## Quality of {given.rows:,} rows x 20 columns\n\n| what | median s | fastest s | CPU s | peak MB |\n|---|---|---|---|---|"
    )
    for name, numbers in found.items():
        label = {"parquet": "e2i_fs, Parquet", "arrow": "e2i_fs, Arrow in memory", "pandas": "pandas"}[name]
        print(f"| {label} | {numbers['seconds']} | {numbers['fastest']} | {numbers['cpu']} | {numbers['peak_mb']:,} |")
    if given.json:
        given.json.write_text(json.dumps({"rows": given.rows, **found}, indent=1))


if __name__ == "__main__":
    main()
