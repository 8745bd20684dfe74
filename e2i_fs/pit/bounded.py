"""DuckDB with little memory, for runs that may sort more rows than a machine holds: it spills to disk, and takes more only if it must."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, field

import duckdb

from e2i_fs.pit.connection import cursor_of, database

__all__ = ["Bounded", "bounded"]

MEMORY = 512 * 2**20
_GROWTH = 4
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@dataclass(slots=True)
class Bounded:
    """A process's database for runs, in at most ``limit`` bytes; ``most`` is what DuckDB itself would take of the machine."""

    made: duckdb.DuckDBPyConnection = field(default_factory=database)
    limit: int = MEMORY
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        ((told,),) = self.made.execute("SELECT current_setting('memory_limit')").fetchall()
        self.most = _bytes(told)
        self._set(min(self.limit, self.most))

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own."""
        return cursor_of(self.made)

    def grow(self, beyond: int) -> bool:
        """Let it take more memory than ``beyond``, the limit under which there was too little; False when there is no more."""
        with self.lock:
            if self.limit > beyond:  # another run has had it grow meanwhile
                return True
            if self.limit >= self.most:
                return False
            self._set(min(self.limit * _GROWTH, self.most))
            return True

    def _set(self, limit: int) -> None:
        self.made.execute(f"SET memory_limit = '{limit}B'")
        self.limit = limit


_made: dict[int, Bounded] = {}  # by process: none may cross a fork


def bounded() -> Bounded:
    """Return this process's database for runs; the first call makes it, and one after DuckDB gave it up after an internal error."""
    process = os.getpid()
    try:
        _made[process].connect().close()
    except KeyError:
        return _made.setdefault(process, Bounded())  # of two threads that make one, one is used
    except duckdb.FatalException:
        _made[process] = Bounded()
    return _made[process]


def _bytes(told: str) -> int:
    """Return what DuckDB says of its memory in bytes.

    >>> _bytes("18.4 GiB") // 2**20
    18841
    """
    match = re.fullmatch(r"([0-9.]+) ([A-Za-z]+)", told)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"DuckDB says that its memory is {told!r}, which is no number and unit.")
    return int(float(match[1]) * _UNITS[match[2]])
