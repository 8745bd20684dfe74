"""Every benchmark in one run, every contender side by side.

    python -m benchmarks [--quick] [--out DIR] [--only NAME …] [--seed N]

Writes results.json, results.md and plots into DIR. About 15 minutes on two quiet cores; --quick two and a half, at sizes too small to judge by. Named apart, as they take
longer or break things: `python -m benchmarks.big`, `.outage`, `.kills`, `.serving`, `.quality`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from benchmarks import busy, failover_read, growth, online, plots, point_in_time, startup, tables, telemetry
from benchmarks.children import Children
from benchmarks.data import Kept
from benchmarks.harness import Row
from benchmarks.machine import described
from benchmarks.race import Lane, Measured


def _told(id: str, run: Callable[..., tuple[str, list[Row]]]) -> Callable[..., Iterable[Measured]]:
    """Return a subject of those that measure within this process."""

    def subject(kept: Kept, *, quick: bool) -> list[Measured]:
        title, rows = run(quick=quick)
        lanes = [
            Lane(name, [median / 1000], median / 1000, fastest / 1000, ratio) for name, median, fastest, ratio in rows
        ]
        return [Measured(id, title, lanes, note="One number for each: the median of many repeats.")]

    return subject


SUBJECTS: dict[str, Callable[..., Iterable[Measured]]] = {
    "start-up": startup.run,
    "online": online.run,
    "busy": busy.run,
    "failover": _told("failover", failover_read.run),
    "telemetry": _told("telemetry", telemetry.run),
    "growth": growth.run,
    "point-in-time": point_in_time.run,
}


def reports(only: list[str], *, quick: bool, of: Kept) -> Iterator[dict[str, Any]]:
    """Run the subjects named on the data and in the processes ``of``, and give the report so far after each race."""
    machine, begun, measured = described(), time.monotonic(), []
    for name in only:
        at = time.monotonic()
        for one in SUBJECTS[name](of, quick=quick):
            measured.append(one.told())
            print(f"{time.monotonic() - begun:5.0f} s  {one.title}", flush=True)
            yield {
                "machine": machine, "quick": quick, "seed": of.seed, "seconds": time.monotonic() - begun, "measured": measured,
                "big": None,
            }  # fmt: skip
        print(f"{name}: {time.monotonic() - at:.0f} s", flush=True)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument(
        "--out", type=Path, help="the folder of the results; bench-out unless given", default=Path("bench-out")
    )
    parser.add_argument("--only", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("the plots need matplotlib: pip install 'e2i-fs[demo]'")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        os.environ["BENCH_FOLDER"] = folder  # where contenders put what they open
        keep_bytecode(os.environ, Path(folder))
        with contextlib.closing(Children(shared=given.quick)) as children:
            for report in reports(given.only, quick=given.quick, of=Kept(Path(folder), given.seed, children)):
                kept(report, given.out)  # after each race, so that a run that is ended early is not lost
    text = tables.markdown(report, plots.draw(report, given.out))
    (given.out / "results.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def keep_bytecode(environment: MutableMapping[str, str], folder: Path) -> None:
    """Where Python is told to keep no bytecode, let the processes to come keep it below ``folder``.

    An installed package has its bytecode; without, each start would be measured with the compiling of all that it imports.
    """
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")


def kept(report: dict[str, Any], out: Path) -> None:
    """Write results.json; what `benchmarks.big` measured stays in it."""
    results = out / "results.json"
    if results.exists():
        report["big"] = json.loads(results.read_text(encoding="utf-8")).get("big")
    results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
