"""SQL databases through ADBC: one query in, Arrow out."""

from __future__ import annotations

import importlib

import pyarrow as pa

from e2i_fs.config import expand_variables
from e2i_fs.errors import BackendDataError, UnsupportedError

__all__ = ["read_sql"]

_DRIVERS = {
    "postgresql": "adbc_driver_postgresql",
    "postgres": "adbc_driver_postgresql",
    "sqlite": "adbc_driver_sqlite",
}


def read_sql(connection: str, query: str) -> pa.RecordBatchReader:
    """Return the rows of ``query`` as Arrow.

    ``connection`` is a URI; ``${VAR}`` in it is expanded here, so that no password is kept. Raises
    `UnsupportedError` for a database without an installed driver, `BackendDataError` when it cannot be reached or refuses the
    query: it is the source of a view and no backend, and every backend asks the same one (X-2).
    """
    uri = expand_variables(connection, "SQLSource connection")
    scheme = uri.partition(":")[0]
    if scheme not in _DRIVERS:
        raise UnsupportedError(f"No driver for {scheme!r} databases; known are {', '.join(sorted(_DRIVERS))}.")
    try:
        driver = importlib.import_module(f"{_DRIVERS[scheme]}.dbapi")
    except ImportError as error:
        raise UnsupportedError(
            f'Reading {scheme} needs its driver: pip install "e2i-fs[postgres]" ({error}).'
        ) from error
    try:
        with driver.connect(uri) as session, session.cursor() as cursor:
            cursor.execute(query)
            table: pa.Table = cursor.fetch_arrow_table()
    except driver.Error as error:
        shown = uri.rpartition("@")[2]
        raise BackendDataError(
            f"The database at {shown}, a view's source, did not answer the query: {error}. Try again when it does."
        ) from error
    return table.to_reader()
