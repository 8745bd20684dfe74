"""A private in-memory DuckDB for one piece of work."""

from __future__ import annotations

import os
import tempfile

import duckdb

__all__ = ["connect"]


def connect() -> duckdb.DuckDBPyConnection:
    """Return a new in-memory DuckDB whose answers depend on nothing outside it (T-4).

    The time zone is UTC, nothing is fetched from a network, and work larger than memory spills to the system's
    temporary folder rather than to the working directory.
    """
    spill = os.path.join(tempfile.gettempdir(), f"e2i_fs-spill-{os.getpid()}")
    connection = duckdb.connect(
        ":memory:",
        config={
            "temp_directory": spill,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection
