"""Scan parts as SQL: every part becomes rows of positional columns, so that no name can collide with another.

``k0..`` are the join keys, ``e`` and ``c`` the event and created times in microseconds, ``v0..`` all fields in
schema order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from e2i_fs.backend import ArrowRows, ParquetRows, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, did_you_mean
from e2i_fs.pit.fit import always_fits, cast_sql, duckdb_type, instant_sql, misfit
from e2i_fs.pit.sorted_rows import SortedRows
from e2i_fs.pit.times import check_stored_times, checked_reader, needs_check
from e2i_fs.reading import exact_path, parquet_schema

__all__ = ["Piece", "history_sql", "pieces_of"]

_FAR_US = 2**61  # of times further away than 70,000 years each type has its own limits
_ROWS_OF_A_FILE = 2**40  # a row's number: its file's, and its place there
_OF_DUCKDB = ("file_index", "file_row_number")  # what it adds to the columns of a file, if there is none of the name


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of history as SQL: where they lie, and what stands for each positional column there.

    ``number`` is SQL that gives each row a whole number that no row of another piece has, the same in every query; None where
    the rows can be read only once. ``where`` is the condition that they meet, if any. ``refusing`` has the columns that may
    hold a value that does not fit. ``copy`` is the sorted copy that these rows are.
    """

    relation: str
    columns: Mapping[str, str]
    number: str | None = None
    where: str = ""
    refusing: frozenset[str] = frozenset()
    copy: SortedRows | None = None

    def rows_as(self, names: Sequence[str]) -> Hashable:
        """Return what tells rows read so, as far as ``names`` go, from others; None where they can be read only once."""
        told = (self.relation, self.where, self.number, *(self.columns[name] for name in names))
        return None if self.number is None else told

    def select(self, *names: str, among: str = "") -> str:
        """Return a SELECT of the positional columns ``names``, and of ``id``, the rows' numbers, if that is among them.

        No value is looked at of a row whose ``id`` is not in the table ``among``, if one is given: it may as well not fit (P-10).
        """
        chosen = (f"{self.number if name == 'id' else self.columns[name]} AS {name}" for name in names)
        conditions = [self.where] if self.where else []
        if among and not self.refusing.isdisjoint(names):
            conditions.append(f"({self.number}) IN (SELECT id FROM {among})")
        filtered = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {', '.join(chosen)} FROM {self.relation}{filtered}"


def history_sql(
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    parts: Sequence[ScanPart],
    *,
    name: str = "part",
) -> str:
    """Return a SELECT of the view's whole history over ``parts``; see `pieces_of`."""
    pieces = pieces_of(connection, view, join_keys, parts, name=name)
    return "\nUNION ALL\n".join(p.select(*p.columns) for p in pieces) or _nothing(view, join_keys)


def pieces_of(
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    parts: Sequence[ScanPart | SortedRows],
    *,
    name: str = "part",
    until_us: int | None = None,
) -> list[Piece]:
    """Return the view's history over ``parts``; streams are registered with ``connection``.

    ``name`` tells the streams of one call from those of another on the same connection. Rows of files with an event time
    later than ``until_us`` (µs) are left out where DuckDB can tell them by what the file says of its row groups.

    Raises `BackendDataError` naming file and column where a part does not hold what the view says.
    """
    pieces: list[Piece] = []
    files = 0

    def stream(
        reader: pa.RecordBatchReader, columns: Mapping[str, str], missing_ok: frozenset[str], where: str
    ) -> None:
        # DuckDB takes names that differ only by case for one: here columns are known by position.
        checked = checked_reader(reader)
        schema, stream_name = checked.schema, f"{name}{len(pieces)}"
        renamed = pa.schema([pa.field(f"c{i}", f.type) for i, f in enumerate(schema)])
        batches = (pa.record_batch([_compact(c) for c in batch.columns], schema=renamed) for batch in checked)
        connection.register(stream_name, pa.RecordBatchReader.from_batches(renamed, batches))
        known = {f.name: f"c{i}" for i, f in enumerate(schema)}
        chosen = _columns(view, join_keys, schema, columns, missing_ok, where, known)
        pieces.append(Piece(stream_name, chosen, refusing=_refusing(view, schema, columns)))

    for part in parts:
        if isinstance(part, SortedRows):
            names = [*(f"k{i}" for i in range(len(join_keys))), "e", "c", *(f"v{i}" for i in range(len(view.schema)))]
            number = f"{files * _ROWS_OF_A_FILE} + CAST(file_row_number AS BIGINT)"
            pieces.append(Piece(f"read_parquet({_text(part.rows)})", {n: n for n in names}, number, copy=part))
            files += 1
            continue
        if isinstance(part, ArrowRows):
            stream(part.reader, {}, frozenset(), f"the rows of view {view.name!r}")
            continue
        for paths, schema in _same_types(view, join_keys, part):
            if _hidden(schema):
                for path in paths:
                    stream(_read_exactly(path, view, join_keys, part), part.columns, part.missing_ok, path)
                continue
            listed = ", ".join(_text(p) for p in paths)
            chosen = _columns(view, join_keys, schema, part.columns, part.missing_ok, paths[0])
            early = _early(schema, part.columns.get(view.event_column, view.event_column), until_us)
            number = f"({files} + CAST(file_index AS BIGINT)) * {_ROWS_OF_A_FILE} + CAST(file_row_number AS BIGINT)"
            relation = f"read_parquet([{listed}], hive_partitioning=false)"
            pieces.append(Piece(relation, chosen, number, early, _refusing(view, schema, part.columns)))
            files += len(paths)
            for column in _time_columns(view, join_keys, part.columns):
                if column in schema.names and needs_check(schema.field(column).type):
                    for path in paths:
                        check_stored_times(path, column)
    return pieces


def _compact(column: pa.Array) -> pa.Array:
    """Return a column that begins where its buffers do: DuckDB refuses a slice of structs within structs."""
    nested = pa.types.is_struct(column.type) and any(pa.types.is_struct(f.type) for f in column.type)
    return pa.concat_arrays([column, column.slice(0, 0)]) if nested and column.offset else column


def _hidden(schema: pa.Schema) -> bool:
    """Return whether a column hides another one from DuckDB, which takes names that differ only by case for one."""
    names = [*_OF_DUCKDB, *(name.lower() for name in schema.names)]
    return len(set(names)) < len(names)


def _read_exactly(
    path: str, view: FeatureView, join_keys: Mapping[str, DType], part: ParquetRows
) -> pa.RecordBatchReader:
    """Return a file's needed columns as a stream, by their exact names; no more than a piece of it is in memory."""
    wanted = {part.columns.get(n, n) for n in _names(view, join_keys)}
    schema = parquet_schema(path)
    chosen = pa.schema([field for field in schema if field.name in wanted])

    def batches() -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(
                columns=chosen.names
            ):  # a name is also that of what lies in "name.": chosen again
                names = batch.schema.names
                yield batch.select([i for i, name in enumerate(names) if name in wanted])

    return pa.RecordBatchReader.from_batches(chosen, batches())


def _same_types(
    view: FeatureView, join_keys: Mapping[str, DType], part: ParquetRows
) -> Iterable[tuple[list[str], pa.Schema]]:
    """Group files whose needed columns have the same types: read together, other types would be widened to one."""
    names = [part.columns.get(n, n) for n in _names(view, join_keys)]
    groups: dict[tuple[str, ...], tuple[list[str], pa.Schema]] = {}
    for path in part.paths:
        schema = parquet_schema(path)
        types = tuple(str(schema.field(n).type) if schema.get_field_index(n) >= 0 else "" for n in names)
        groups.setdefault((str(_hidden(schema)), *types), ([], schema))[0].append(path)
    return groups.values()


def _names(view: FeatureView, join_keys: Mapping[str, DType]) -> list[str]:
    created = [view.created_column] if view.created_column else []
    return [*join_keys, view.event_column, *created, *(f.name for f in view.schema)]


def _time_columns(view: FeatureView, join_keys: Mapping[str, DType], columns: Mapping[str, str]) -> list[str]:
    times = [view.event_column, *([view.created_column] if view.created_column else [])]
    times += [name for name, dtype in join_keys.items() if dtype.kind == "timestamp"]
    times += [f.name for f in view.schema if f.dtype.kind == "timestamp"]
    return [columns.get(n, n) for n in times]


def _columns(
    view: FeatureView,
    join_keys: Mapping[str, DType],
    schema: pa.Schema,
    columns: Mapping[str, str],
    missing_ok: frozenset[str],
    where: str,
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the SQL of each positional column of one part; ``known`` maps its column names to those that DuckDB sees, if others."""
    stamp = DType("timestamp")

    def column(name: str, dtype: DType, *, is_time: bool = False, future: bool = False) -> str:
        own = columns.get(name, name)
        if schema.get_field_index(own) < 0:
            if name in missing_ok:
                return f"CAST(NULL AS {'BIGINT' if is_time else duckdb_type(dtype)})"
            raise BackendDataError(
                f"{where} has no column {own!r}, which view {view.name!r} needs.{did_you_mean(own, schema.names)}"
            )
        given = schema.field(own).type
        if pa.types.is_dictionary(given):
            given = given.value_type
        reason = misfit(given, dtype, is_time=is_time)
        if reason:
            raise BackendDataError(
                f"{where}: column {own!r} is {given}, view {view.name!r} declares {name!r} as {dtype!r}: {reason}."
            )
        seen = own if known is None else known[own]
        quoted = '"' + seen.replace('"', '""') + '"'
        return instant_sql(quoted, given, own, future=future) if is_time else cast_sql(quoted, given, dtype, own)

    chosen = {f"k{i}": column(name, dtype) for i, (name, dtype) in enumerate(join_keys.items())}
    chosen["e"] = column(view.event_column, stamp, is_time=True, future=True)
    chosen["c"] = column(view.created_column, stamp, is_time=True) if view.created_column else "CAST(NULL AS BIGINT)"
    return chosen | {f"v{i}": column(f.name, f.dtype) for i, f in enumerate(view.schema)}


def _refusing(view: FeatureView, schema: pa.Schema, columns: Mapping[str, str]) -> frozenset[str]:
    """Return the positional columns of features that may hold a value that does not fit their dtype."""
    own = [schema.get_field_index(columns.get(f.name, f.name)) for f in view.schema]
    return frozenset(
        f"v{i}"
        for i, (field, place) in enumerate(zip(view.schema, own, strict=True))
        if place >= 0 and not always_fits(schema.field(place).type, field.dtype)
    )


def _early(schema: pa.Schema, column: str, until_us: int | None) -> str:
    """Return the condition by which DuckDB leaves out row groups that are later: it knows their times as they are stored."""
    given = schema.field(column).type
    if until_us is None or not pa.types.is_timestamp(given) or given.unit == "ns" or abs(until_us) > _FAR_US:
        return ""
    made = "make_timestamp" if given.tz is None else "make_timestamptz"
    return f""""{column.replace('"', '""')}" <= {made}({until_us})"""


def _nothing(view: FeatureView, join_keys: Mapping[str, DType]) -> str:
    chosen = [f"CAST(NULL AS {duckdb_type(t)}) AS k{i}" for i, t in enumerate(join_keys.values())]
    chosen += ["CAST(NULL AS BIGINT) AS e", "CAST(NULL AS BIGINT) AS c"]
    chosen += [f"CAST(NULL AS {duckdb_type(f.dtype)}) AS v{i}" for i, f in enumerate(view.schema)]
    return f"SELECT {', '.join(chosen)} WHERE false"


def _text(path: str) -> str:
    """Return a path as SQL text that stands for itself, not for what its brackets and stars might match."""
    return "'" + exact_path(path).replace("'", "''") + "'"
