"""The rows of a `SQLSource`: only the columns that the view needs and, of PostgreSQL, only the rows that it may need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, did_you_mean, unstopped
from e2i_fs.pit.fit import misfit
from e2i_fs.sources import SQLSource
from e2i_fs.sql.address import Address
from e2i_fs.sql.expanding import read_address
from e2i_fs.sql.hints import key_condition, until_condition
from e2i_fs.sql.names import from_clause, identifier
from e2i_fs.sql.postgres import converted, expression, typed
from e2i_fs.sql.session import Session

__all__ = ["Table", "Wanted", "sql_schema", "table_of", "table_rows"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table, or a query, of the database at an address."""

    address: Address
    table: str | None = None
    query: str | None = None

    @property
    def what(self) -> str:
        """The words for it in messages."""
        return f"table {self.table!r}" if self.table else "query"

    @property
    def sql(self) -> str:
        """What comes after FROM."""
        return from_clause(self.table, self.query)


def table_of(source: SQLSource) -> Table:
    """Return what a source names, the variables in its connection expanded."""
    return Table(read_address(source.connection), source.table, source.query)


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


def sql_schema(session: Session, table: Table, types: Mapping[str, DType]) -> pa.Schema:
    """Return the schema of a table in the Arrow types that `table_rows` gives; ``types`` are those declared for its columns."""
    described = _described(session, table)
    if not session.is_postgres:
        return described
    return pa.schema([pa.field(f.name, typed(f, types.get(f.name))) for f in described])


def _described(session: Session, table: Table) -> pa.Schema:
    return session.schema(f"SELECT * FROM {table.sql} LIMIT 0")


def table_rows(table: Table, wanted: Wanted) -> pa.RecordBatchReader:
    """Return the rows under the view's names, as a stream; the connection is let go of at its end, or with the stream.

    Raises `BackendDataError` naming the database and the column when the table is not what it was when the view was applied.
    """
    session = Session(table.address)
    try:
        fields = _found(session, _described(session, table), table, wanted)
        _, batches = session.rows(_query(session, table, wanted, fields))
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
    session: Session,
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    fields: Mapping[str, pa.Field],
    wanted: Wanted,
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
            yield pa.RecordBatch.from_arrays(
                [c.cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
            )
    finally:
        session.close()


def _found(session: Session, described: pa.Schema, table: Table, wanted: Wanted) -> dict[str, pa.Field]:
    """Return the table's column for each of the view's, or raise."""
    where, what = session.where, table.what
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


def _query(session: Session, table: Table, wanted: Wanted, fields: Mapping[str, pa.Field]) -> str:
    origin = table.sql
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
