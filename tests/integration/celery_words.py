"""What the tests of Celery share: a project of two views, and real workers and beats on it, each a process of its own."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import e2i_fs as fs

T = TypeVar("T")
HOUR = timedelta(hours=1)
MODULE = 'from e2i_fs.ops.celery import make_app\n\napp = make_app("e2i_fs.yaml")\n'


def project(folder: Path, address: str, database: int, **settings: Any) -> Path:
    """Write a configuration, a module for Celery and a store of the views `visits` and `calls`; return the configuration."""
    folder.mkdir(exist_ok=True)
    now = datetime.now(UTC).replace(microsecond=0)
    for view in ("visits", "calls"):
        times = pa.array([now - HOUR * n for n in range(4)], pa.timestamp("us", "UTC"))
        pq.write_table(
            pa.table({"k": list("abcd"), "event_timestamp": times, "x": [1, 2, 3, 4]}), folder / f"{view}.parquet"
        )
    url = f"redis://{address}/{database}"
    settings = {
        "jobs": {"retries": 0, "timeout_seconds": 20},
        "celery": {"broker": url, "result_backend": url},
        **settings,
    }
    made = {"backend": "duckdb", "path": "store", "materialisation": settings}
    (folder / "e2i_fs.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
    (folder / "work.py").write_text(MODULE, encoding="utf-8")
    with fs.connect(folder / "e2i_fs.yaml") as store:
        views = [
            fs.FeatureView(
                name,
                entities=["k"],
                schema=[fs.Field("x", fs.Int64)],
                source=fs.ParquetSource(folder / f"{name}.parquet"),
                max_staleness=HOUR * 3,
            )
            for name in ("visits", "calls")
        ]
        store.apply([fs.Entity("k"), *views])
    return folder / "e2i_fs.yaml"


def online(config: Path, view: str = "visits") -> list[int | None]:
    """Return what is online of a view's four keys."""
    with fs.connect(config) as store:
        return store.get_online_features([f"{view}:x"], [{"k": k} for k in "abcd"]).to_dict()["x"]


@contextmanager
def blocked(folder: Path) -> Iterator[None]:
    """Hold the lock of the store's online rows while the block runs, so that whoever writes to them waits."""
    with lmdb.open(str(folder / "store" / "online"), map_size=2**30, subdir=True, max_dbs=0) as env:
        with env.begin(write=True) as transaction:
            yield
            transaction.abort()


def under_way(folder: Path, view: str) -> bool:
    """Return whether a job of a view has begun and not ended, as its record says; without opening the store."""
    with sqlite3.connect(folder / "store" / ".e2i_fs" / "ledger.sqlite") as ledger:
        found = ledger.execute("SELECT count(*) FROM runs WHERE view = ? AND outcome = 'running'", (view,)).fetchone()
    return bool(found[0])


@contextmanager
def running(folder: Path, *arguments: str, app: str = "work") -> Iterator[subprocess.Popen[bytes]]:
    """Run ``celery -A app:app`` with ``arguments`` in a process group of its own, which ends with the block."""
    command = [sys.executable, "-m", "celery", "-A", f"{app}:app", *arguments]
    log = folder / f"{arguments[0]}.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            yield process
        finally:
            end(process)


def environment(folder: Path) -> Mapping[str, str]:
    paths = [str(folder), *(p for p in sys.path if p)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has begun, without warning."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(look: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Look until there is something to see, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}")
