"""The rows of a `SQLSource`: only the columns that the view needs and, of PostgreSQL, only the rows that it may need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, did_you_mean, unstopped
from e2i_fs.pit.fit import misfit
from e2i_fs.sources import SQLSource
from e2i_fs.sql.hints import key_condition, until_condition
from e2i_fs.sql.names import from_clause, identifier
from e2i_fs.sql.postgres import converted, expression, typed
from e2i_fs.sql.session import Session

__all__ = ["Wanted", "sql_rows", "sql_schema"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a view needs of a table: by the view's name of each column the table's and the dtype; and what it may leave out.

    ``times`` names the time columns, the event time first. ``keys`` has the join keys asked for, in the order of ``join_keys``.
    """

    columns: Mapping[str, str]
    types: Mapping[str, DType]
    times: Sequence[str]
    join_keys: Sequence[str]
    keys: pa.Table | None = None
    until_us: int | None = None


def sql_schema(session: Session, source: SQLSource, types: Mapping[str, DType]) -> pa.Schema:
    """Return the schema of the source's columns in the Arrow types that `sql_rows` gives; ``types`` are those declared for them."""
    described = _described(session, source)
    if not session.is_postgres:
        return described
    return pa.schema([pa.field(f.name, typed(f, types.get(f.name))) for f in described])


def _described(session: Session, source: SQLSource) -> pa.Schema:
    return session.schema(f"SELECT * FROM {from_clause(source.table, source.query)} LIMIT 0")


def sql_rows(source: SQLSource, wanted: Wanted) -> pa.RecordBatchReader:
    """Return the rows under the view's names, as a stream; the connection is let go of at its end, or with the stream.

    Raises `BackendDataError` naming the database and the column when the table is not what it was when the view was applied.
    """
    session = Session(source)
    try:
        described = _described(session, source)
        fields = _found(session, described, source, wanted)
        _, batches = session.rows(_query(session, source, wanted, fields))
    except BaseException:
        session.close()
        raise
    schema = pa.schema([pa.field(name, _type(session, fields[name], wanted.types[name])) for name in wanted.columns])
    stream = _stream(session, batches, schema, fields, wanted)
    next(stream)  # it has begun, so that it closes the session also when nobody reads it
    return pa.RecordBatchReader.from_batches(schema, stream)


def _type(session: Session, field: pa.Field, dtype: DType) -> pa.DataType:
    if not session.is_postgres:
        return field.type
    given = typed(field, dtype)
    return pa.decimal128(38, dtype.numbers[1]) if pa.types.is_decimal(given) else given


def _stream(
    session: Session, batches: Iterator[pa.RecordBatch], schema: pa.Schema, fields: Mapping[str, pa.Field], wanted: Wanted
) -> Iterator[pa.RecordBatch]:
    try:
        yield pa.RecordBatch.from_pylist([], schema)
        for batch in batches:
            columns = batch.columns
            if session.is_postgres:
                columns = [
                    converted(column, fields[name], wanted.types[name], session.where)
                    for column, name in zip(columns, wanted.columns, strict=True)
                ]
            yield pa.RecordBatch.from_arrays([c.cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    finally:
        session.close()


def _found(session: Session, described: pa.Schema, source: SQLSource, wanted: Wanted) -> dict[str, pa.Field]:
    """Return the table's column for each of the view's, or raise."""
    where = session.where
    what = f"table {source.table!r}" if source.table else "query"
    found = {}
    for name, column in wanted.columns.items():
        index = described.get_all_field_indices(column)
        if len(index) != 1:
            raise BackendDataError(
                f"The {what} in {where} has {len(index) or 'no'} column{'s' * (len(index) > 1)} {column!r}, which a view reads."
                f"{did_you_mean(column, described.names)} Put it back, or apply the view anew with what there is."
            )
        field = described.field(index[0])
        dtype = wanted.types[name]
        given = typed(field, dtype) if session.is_postgres else field.type
        reason = misfit(given, dtype, is_time=name in wanted.times)
        if reason:
            raise BackendDataError(
                f"The {what} in {where}: column {column!r} is {given} now, and {name!r} is declared {dtype!r}: "
                f"{unstopped(reason)}. Change it back, or apply the view anew."
            )
        found[name] = field
    return found


def _query(session: Session, source: SQLSource, wanted: Wanted, fields: Mapping[str, pa.Field]) -> str:
    origin = from_clause(source.table, source.query)
    if not session.is_postgres:
        return f"SELECT {', '.join(f'source.{identifier(f.name)}' for f in fields.values())} FROM {origin}"
    chosen = ", ".join(f"{expression(field)} AS c{i}" for i, field in enumerate(fields.values()))
    conditions = [until_condition(fields[wanted.times[0]], wanted.until_us)]
    if wanted.keys is not None:
        for name, column in zip(wanted.join_keys, wanted.keys.columns, strict=True):
            conditions.append(key_condition(fields[name], column, lambda: _is_utf8(session)))
    kept = " AND ".join(condition for condition in conditions if condition)
    return f"SELECT {chosen} FROM {origin}{f' WHERE {kept}' if kept else ''}"


def _is_utf8(session: Session) -> bool:
    return bool(session.one("SELECT current_setting('server_encoding')") == "UTF8")
