"""Start-up, each time in a new process: the import, and `connect` on a store that exists to the first online answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.child import ROOT
from benchmarks.children import Children
from benchmarks.data import Kept
from benchmarks.race import Lane, Measured, summarise

OURS, FEAST = "e2i_fs", "Feast, sqlite"
WHO = {OURS: "e2i_fs", FEAST: "feast"}


def make(folder: Path, children: Children) -> dict[str, str]:
    """Make both stores with the same rows; Feast's in another process."""
    from benchmarks.online_peers import moment, our_store, rows

    with our_store({"backend": "duckdb", "path": str(folder / OURS)}, 1) as store:
        store.write("v0", rows(0, 100, moment()), to="online")
    making = children.child("benchmarks.startup:FeastMade", {"path": str(folder / "feast")})
    making.ready()
    children.give_back(making)
    return {OURS: str(folder / OURS), FEAST: str(folder / "feast")}


class FeastMade:
    """Makes a repository as `feast init` would, with a feature_store.yaml."""

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        from benchmarks.feast_repo import repository
        from benchmarks.online_peers import moment, rows

        place = Path(path)
        place.mkdir()
        pq.write_table(rows(0, 1, moment()), place / "one.parquet")
        store = repository(place, [str(place / "one.parquet")])
        store.write_to_online_store("v0", rows(0, 100, moment()).to_pandas())
        (place / "feature_store.yaml").write_text(
            "project: bench\nprovider: local\nregistry: registry.db\noffline_store: {type: duckdb}\n"
            "online_store: {type: sqlite, path: online.db}\nentity_key_serialization_version: 3\n"
        )


def _run(module: str, *words: Path | str) -> dict[str, Any]:
    """Run a module of this folder in a new process; return what it said last."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)], cwd=ROOT, env=os.environ | {"PYTHONPATH": paths},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"benchmarks.{module} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def run(kept: Kept, *, quick: bool) -> list[Measured]:
    """Measure both, the files in the system's cache."""
    repeats, feasts = (5, 1) if quick else (15, 3)
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        places = make(Path(folder), kept.children)
        imports, answers = ({name: Lane(name) for name in places} for _ in range(2))
        values = {}
        for name, path in places.items():
            if name == OURS or not quick:  # else making it has warmed the cache, and compiled
                _run("first_answer", WHO[name], path)
        for number in range(repeats):
            for name, path in places.items():
                if name == OURS or number < feasts:
                    said = _run("first_answer", WHO[name], path)
                    imports[name].seconds.append(said["import"])
                    answers[name].seconds.append(said["answer"])
                    values[name] = said["values"]
    for lanes in (imports, answers):
        summarise(list(lanes.values()))
    for name in places:
        answers[name].answer = "equal" if values[name] == values[OURS] else "answers differ"
    return [
        Measured("start-import", "Start-up: the import alone", list(imports.values())),
        Measured("start-answer", "Start-up: opening a store that exists, to the first online answer, once imported",
                 list(answers.values())),
    ]  # fmt: skip
