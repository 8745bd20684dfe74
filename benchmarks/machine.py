"""What a run was made on: versions, processor, memory, date. No name of the machine, no path."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from e2i_fs.testing.servers import find_redis

PACKAGES = ("e2i-fs", "feast", "duckdb", "polars", "pandas", "pyarrow", "lmdb", "redis", "dask", "numpy")


def described() -> dict[str, Any]:
    """Return it as JSON takes it."""
    cpu = re.search(r"model name\s*: (.+)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    binary = find_redis()
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout if binary else ""
    redis = re.search(r"v=(\S+)", said)
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory[1]) / 2**20, 1) if memory else None,
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "redis-server": redis[1] if redis else None,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text() if file.exists() else ""
