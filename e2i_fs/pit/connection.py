"""A private corner of one in-memory DuckDB for one piece of work."""

from __future__ import annotations

import itertools
import os
import tempfile

import duckdb

__all__ = ["connect", "cursor_of", "database"]

_databases: dict[int, duckdb.DuckDBPyConnection] = {}  # by process: none may cross a fork, nor be closed after one


def connect() -> duckdb.DuckDBPyConnection:
    """Return a connection to an in-memory DuckDB whose answers depend on nothing outside it (T-4).

    Opening a database costs 17 ms, so a process has one, empty; each connection to it has temporary tables,
    registered streams and settings of its own. The time zone is UTC, nothing is fetched from a network, and work
    larger than memory spills to the system's temporary folder rather than to the working directory.
    """
    process = os.getpid()
    try:
        return cursor_of(_databases[process])
    except (KeyError, duckdb.FatalException):  # none yet, or one that DuckDB gave up after an internal error
        made = _databases[process] = database()
        return cursor_of(made)


def cursor_of(shared: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Return a connection of its own to a database, in UTC."""
    connection = shared.cursor()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


_numbers = itertools.count()  # two databases must not spill into one folder


def database() -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB that nobody else sees: for what a whole database shares, such as attached files."""
    return duckdb.connect(
        ":memory:",
        config={
            "temp_directory": os.path.join(tempfile.gettempdir(), f"e2i_fs-spill-{os.getpid()}-{next(_numbers)}"),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
