"""A private corner of one in-memory DuckDB for one piece of work."""

from __future__ import annotations

import itertools
import os
import tempfile
from typing import TYPE_CHECKING

import duckdb

from e2i_fs.errors import ConfigError, unstopped

if TYPE_CHECKING:
    from e2i_fs.config import EngineConfig

__all__ = ["connect", "cursor_of", "database"]

_databases: dict[
    tuple[int, EngineConfig | None], duckdb.DuckDBPyConnection
] = {}  # by process: none may cross a fork, nor be closed after one


def connect(limits: EngineConfig | None = None) -> duckdb.DuckDBPyConnection:
    """Return a connection to an in-memory DuckDB whose answers depend on nothing outside it (T-4).

    Opening a database costs 17 ms, so a process has one for all work of the same ``limits``, empty; each connection to it has
    temporary tables, registered streams and settings of its own. The time zone is UTC, nothing is fetched from a network, and
    work larger than memory spills to the system's temporary folder, or the one in ``limits``, rather than to the working directory.
    Raises `ConfigError` when DuckDB cannot live within ``limits``.
    """
    place = (os.getpid(), limits)
    try:
        try:
            return cursor_of(_databases[place])
        except (KeyError, duckdb.FatalException):  # none yet, or one that DuckDB gave up after an internal error
            made = _databases[place] = database(limits)
            return cursor_of(made)
    except duckdb.Error as error:
        if limits is None:
            raise
        raise ConfigError(
            f"The engine cannot work within {limits}: {unstopped(error)}. Correct `engine` in the configuration, or give it more."
        ) from error


def cursor_of(shared: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Return a connection of its own to a database, in UTC."""
    connection = shared.cursor()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


_numbers = itertools.count()  # two databases must not spill into one folder


def database(limits: EngineConfig | None = None) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB that nobody else sees: for what a whole database shares, such as attached files."""
    config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    folder = tempfile.gettempdir()
    if limits is not None:
        folder = _writable(limits.temp_directory) if limits.temp_directory else folder
        config |= {} if limits.memory_limit is None else {"memory_limit": limits.memory_limit}
        config |= {} if limits.threads is None else {"threads": str(limits.threads)}
    spill = os.path.join(folder, f"e2i_fs-spill-{os.getpid()}-{next(_numbers)}")
    return duckdb.connect(":memory:", config={"temp_directory": spill, **config})


def _writable(folder: str) -> str:
    """Return the folder, made if it was not there; of those above it none is made: a disk may not be mounted."""
    try:
        if not os.path.isdir(folder):
            os.mkdir(folder)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ConfigError(
            f"engine: the temp_directory {folder!r} cannot be written: {unstopped(error)}. Name a folder that can be."
        ) from error
