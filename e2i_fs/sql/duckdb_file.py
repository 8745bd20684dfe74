"""Tables and queries in a DuckDB database file, which is opened read-only and let go of at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.errors import BackendDataError, did_you_mean
from e2i_fs.pit.connection import database
from e2i_fs.sources import DuckDBSource
from e2i_fs.sql.names import from_clause, identifier
from e2i_fs.sql.reading import Wanted

__all__ = ["duckdb_rows", "duckdb_schema"]

_MICROSECONDS = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
_INFINITE_US = 2**63 - 1  # what DuckDB takes for infinity
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")


def duckdb_schema(source: DuckDBSource, base: str) -> pa.Schema:
    """Return the schema of the source. Raises `BackendDataError`, with DuckDB's `IOException` as cause when the file cannot be opened."""
    with _opened(source, base) as connection:
        schema: pa.Schema = connection.sql(f"SELECT * FROM {_origin(source)} LIMIT 0").to_arrow_table().schema
        return schema


def duckdb_rows(source: DuckDBSource, base: str, wanted: Wanted) -> pa.RecordBatchReader:
    """Return the rows that ``wanted`` asks for under the view's names; a missing column is a `BackendDataError`."""
    with _opened(source, base) as connection:
        found = connection.sql(f"SELECT * FROM {_origin(source)} LIMIT 0")
        types = dict(zip(found.columns, map(str, found.types), strict=True))
        missing = [column for column in wanted.columns.values() if column not in types]
        if missing:
            raise BackendDataError(
                f"The DuckDB source {source.where()!r} in {source.path} has no column {missing[0]!r}."
                f"{did_you_mean(missing[0], list(types))}"
            )
        chosen = ", ".join(f"source.{identifier(c)} AS c{i}" for i, c in enumerate(wanted.columns.values()))
        conditions = _conditions(connection, types, wanted)
        kept = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        table = connection.sql(f"SELECT {chosen} FROM {_origin(source)}{kept}").to_arrow_table()
    return table.rename_columns(list(wanted.columns)).to_reader()


def _conditions(connection: duckdb.DuckDBPyConnection, types: dict[str, str], wanted: Wanted) -> list[str]:
    """Return what DuckDB may leave out by itself, comparing as the engine does (P-7)."""
    made = []
    event = wanted.columns[wanted.times[0]]
    if wanted.until_us is not None and abs(wanted.until_us) < _INFINITE_US and types[event] in _MICROSECONDS:
        zoned = "make_timestamptz" if types[event] != "TIMESTAMP" else "make_timestamp"
        made.append(f"source.{identifier(event)} <= {zoned}({wanted.until_us})")
    if wanted.keys is None:
        return made
    for i, (name, keys) in enumerate(zip(wanted.join_keys, wanted.keys.columns, strict=True)):
        column = wanted.columns[name]
        same = types[column] == "VARCHAR" if pa.types.is_string(keys.type) else types[column] in _WHOLE
        if same and (pa.types.is_string(keys.type) or pa.types.is_integer(keys.type)):
            connection.register(f"asked{i}", pa.table({"key": pc.unique(keys.drop_null())}))
            made.append(f"source.{identifier(column)} IN (SELECT key FROM asked{i})")
    return made


def _origin(source: DuckDBSource) -> str:
    return from_clause(source.table, source.query)


@contextmanager
def _opened(source: DuckDBSource, base: str) -> Iterator[duckdb.DuckDBPyConnection]:
    path = os.path.join(base, os.path.expanduser(source.path))
    connection = database()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH '{path.replace(chr(39), chr(39) * 2)}' AS source_db (READ_ONLY)")
        connection.execute("USE source_db")
        yield connection
    except duckdb.IOException as error:
        raise BackendDataError(
            f"The DuckDB file {path}, a view's source, cannot be opened: {error}. Put it back, or make it readable."
        ) from error
    except duckdb.Error as error:
        raise BackendDataError(f"The DuckDB source {source.where()!r} in {path} cannot be read: {error}") from error
    finally:
        connection.close()
