"""Reading the user's own sources in place, and checking at apply that they hold what a view says (R-3)."""

from __future__ import annotations

import functools
import glob
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from e2i_fs.arrow import pa, pq
from e2i_fs.backend import ArrowRows, ParquetRows, ScanPart
from e2i_fs.dtypes import DType
from e2i_fs.errors import (
    BackendDataError,
    DefinitionError,
    SchemaMismatchError,
    UnsupportedError,
    did_you_mean,
)
from e2i_fs.frozen import FrozenMap
from e2i_fs.objects import expand_objects, is_object, object_parts, object_schema
from e2i_fs.pit.fit import misfit
from e2i_fs.sources import CSVSource, DuckDBSource, ParquetSource, PushSource, Source, SQLSource

if TYPE_CHECKING:
    from e2i_fs.definitions import FeatureView
    from e2i_fs.sql.reading import Wanted

__all__ = ["check_source", "exact_path", "expand_paths", "parquet_schema", "source_parts", "stored_source"]

_log = logging.getLogger("e2i_fs.sources")


def stored_source(view: FeatureView) -> Source | None:
    """Return the source that holds history of its own: the view's, or its push source's batch source, or None."""
    return view.source.batch_source if isinstance(view.source, PushSource) else view.source


def expand_paths(paths: Sequence[str], base: str, suffix: str) -> tuple[str, ...]:
    """Return the files that ``paths`` (files, folders, globs; relative to ``base``) stand for, sorted.

    A path with a scheme, ``s3://bucket/folder``, names objects, and is no part of ``base``.
    Raises `FileNotFoundError` naming the first path that stands for no file.
    """
    files: set[str] = set()
    for path in paths:
        if is_object(path):
            objects = expand_objects(path, suffix)
            if not objects:
                raise FileNotFoundError(path)
            files.update(objects)
            continue
        full = os.path.join(base, os.path.expanduser(path))
        if os.path.isdir(full):
            found = list(_below(full, suffix))
        elif os.path.isfile(full):
            found = [full]
        else:
            found = [f for f in glob.glob(full, recursive=True) if os.path.isfile(f)]
        if not found:
            raise FileNotFoundError(full)
        files.update(os.path.abspath(f) for f in found)
    return tuple(sorted(files))


def _below(folder: str, suffix: str) -> Iterator[str]:
    """Yield the files below a folder, through links to other folders too: each folder once, so that links may go in a ring.

    Names that begin with a dot or an underscore are other programs' work in progress, folders too.
    """

    def unreadable(error: OSError) -> None:
        raise BackendDataError(
            f"The folder {error.filename}, part of a view's source, cannot be read: {error.strerror}. Make it readable."
        ) from error

    def counts(name: str) -> bool:
        return not name.startswith((".", "_"))

    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=unreadable):
        real = os.path.realpath(here)
        folders[:] = [] if real in seen else sorted(filter(counts, folders))
        if real not in seen:
            yield from (os.path.join(here, name) for name in names if name.endswith(suffix) and counts(name))
        seen.add(real)


def exact_path(path: str) -> str:
    """Return a path as DuckDB must be given it: characters that would make it a glob are put in brackets."""
    return "".join(f"[{c}]" if c in "[*?" else c for c in path)


def parquet_schema(path: str) -> pa.Schema:
    """Return the Arrow schema of a Parquet file; read once for each state of the file.

    Raises `BackendDataError` when it is not readable Parquet.
    """
    if is_object(path):
        return object_schema(path)
    try:
        state = os.stat(path)
        return _parquet_schema(path, (state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size))
    except FileNotFoundError as error:
        raise BackendDataError(
            f"The file {path} is gone; put it back, or apply the view with where it is now."
        ) from error
    except OSError as error:
        raise BackendDataError(f"The file {path} cannot be read: {error}. Make it readable.") from error
    except pa.ArrowInvalid as error:
        raise BackendDataError(f"The file {path} is not readable Parquet ({error}); write it again.") from error


@functools.lru_cache(maxsize=4096)
def _parquet_schema(path: str, _state: tuple[int, ...]) -> pa.Schema:
    return pq.read_schema(path)


def source_parts(
    view: FeatureView,
    join_keys: Mapping[str, DType],
    base: str,
    *,
    keys: pa.Table | None = None,
    until_us: int | None = None,
) -> list[ScanPart]:
    """Return the history that lies in the view's own source, as parts for the engine; [] if it has none.

    Every column of the view comes: join keys, time columns, all fields. ``keys`` and ``until_us`` are the hints of
    `Backend.scan`: a database leaves out rows by them, where it compares as the engine does. A source that cannot be read, or
    reached, is a `BackendDataError`: it is the view's own and every backend reads the same one, so it is no sign of a backend
    being down, and asking the next would not help (X-1, X-2).
    """
    source = stored_source(view)
    if source is None:
        return []
    columns = FrozenMap({name: source.source_column(name) for name in _columns(view, join_keys)})
    if isinstance(source, ParquetSource):
        files = _files(source, view, base, ".parquet")
        objects = [path for path in files if is_object(path)]
        parts = object_parts(objects, columns, view.event_column, tuple(join_keys), keys, until_us)
        local = tuple(path for path in files if not is_object(path))
        return [*parts, *([ParquetRows(local, columns)] if local else [])]
    types = {**_time_types(view), **join_keys, **{f.name: f.dtype for f in view.schema}}
    if isinstance(source, CSVSource):
        from e2i_fs.csv_files import read_csv

        return [ArrowRows(read_csv(source, _files(source, view, base, ".csv"), columns, types))]
    if isinstance(source, DuckDBSource | SQLSource):
        from e2i_fs.sql.reading import Wanted

        wanted = Wanted(columns, types, tuple(_time_types(view)), tuple(join_keys), keys, until_us)
        return [ArrowRows(_table_rows(source, base, wanted))]
    raise UnsupportedError(f"View {view.name!r}: sources of type {type(source).__name__} cannot be read in place.")


def _table_rows(source: DuckDBSource | SQLSource, base: str, wanted: Wanted) -> pa.RecordBatchReader:
    if isinstance(source, DuckDBSource):
        from e2i_fs.sql.duckdb_file import duckdb_rows

        return duckdb_rows(source, base, wanted)
    from e2i_fs.sql.reading import table_of, table_rows

    return table_rows(table_of(source), wanted)


def _columns(view: FeatureView, join_keys: Mapping[str, DType]) -> list[str]:
    times = [view.event_column] + ([view.created_column] if view.created_column else [])
    return [*join_keys, *times, *(f.name for f in view.schema)]


def _time_types(view: FeatureView) -> dict[str, DType]:
    stamp = DType("timestamp")
    return {view.event_column: stamp, **({view.created_column: stamp} if view.created_column else {})}


def _files(source: ParquetSource | CSVSource, view: FeatureView, base: str, suffix: str) -> tuple[str, ...]:
    try:
        return expand_paths(source.paths, base, suffix)
    except FileNotFoundError as error:
        raise BackendDataError(
            f"View {view.name!r}: no {suffix} file at {error}. Put it back, or apply the view with where it is now."
        ) from error


def check_source(view: FeatureView, join_keys: Mapping[str, DType], base: str) -> None:
    """Raise if the view's source lacks a column or holds a dtype that does not fit, naming it (R-3).

    A missing file is a `DefinitionError`, a misfit a `SchemaMismatchError` that lists every column in question,
    an unreadable file a `BackendDataError`. A database that cannot be reached now is not checked.
    """
    source = stored_source(view)
    if source is None:
        return
    where = f"FeatureView {view.name!r}"
    schemas: dict[str, pa.Schema] = {}
    if isinstance(source, ParquetSource | CSVSource):
        suffix = ".parquet" if isinstance(source, ParquetSource) else ".csv"
        try:
            files = expand_paths(source.paths, base, suffix)
        except FileNotFoundError as error:
            raise DefinitionError(
                f"{where}: its source names {error}, where there is no {suffix} file. Write it first, or mend the path."
            ) from error
        for file in files:
            schemas[file] = _file_schema(file, source, where)
    elif isinstance(source, DuckDBSource | SQLSource):
        declared = {**_time_types(view), **join_keys, **{f.name: f.dtype for f in view.schema}}
        schema = _table_schema(source, base, {source.source_column(n): t for n, t in declared.items()}, where)
        if schema is None:
            return  # R-3 asks for the sources that can be reached
        schemas[source.where()] = schema
    wanted = {**_time_types(view), **join_keys, **{f.name: f.dtype for f in view.schema}}
    times = set(_time_types(view))
    problems = []
    for file, schema in schemas.items():
        for name, dtype in wanted.items():
            column = source.source_column(name)
            index = schema.get_all_field_indices(column)
            if not index:
                problems.append(f"{file}: no column {column!r}.{did_you_mean(column, schema.names)}")
            elif len(index) > 1:
                problems.append(f"{file}: {len(index)} columns are called {column!r}")
            elif isinstance(source, CSVSource):
                from e2i_fs.csv_files import NESTED

                if dtype.kind in NESTED:
                    problems.append(f"{file}: a CSV column cannot hold {name!r} as {dtype!r}; use Parquet")
            else:
                given = schema.field(index[0]).type
                reason = misfit(given, dtype, is_time=name in times)
                if reason:
                    hint = ""
                    if name in join_keys and dtype.kind == "string":
                        hint = f" A join key is String unless said: join_keys={{{name!r}: fs.Int64}}."
                    wanted_as = f"{name!r} is declared {dtype!r}"
                    if name in times:
                        wanted_as = f"which is to be the {'event' if name == view.event_column else 'created'} time"
                    problems.append(f"{file}: column {column!r} is {given}, {wanted_as}: {reason}.{hint}")
    if problems:
        raise SchemaMismatchError(
            f"{where}: its source does not fit the definition (R-3):\n  - " + "\n  - ".join(problems)
        )


def _file_schema(file: str, source: ParquetSource | CSVSource, where: str) -> pa.Schema:
    try:
        if isinstance(source, ParquetSource):
            return parquet_schema(file)
        from e2i_fs.csv_files import csv_names

        return pa.schema([(name, pa.string()) for name in csv_names(file, source)])
    except BackendDataError as error:
        given = type(source).__name__
        wanted = {".csv": "CSVSource", ".parquet": "ParquetSource"}.get(os.path.splitext(file)[1].lower(), given)
        if wanted == given:
            raise
        raise DefinitionError(f"{where}: its {given} names {file}. Use {wanted} for it.") from error


def _table_schema(
    source: DuckDBSource | SQLSource, base: str, types: Mapping[str, DType], where: str
) -> pa.Schema | None:
    """Return the schema of a table or query; None, with a warning in the log, when its database cannot be reached."""
    if isinstance(source, DuckDBSource):
        from e2i_fs.sql.duckdb_file import duckdb_schema

        try:
            return duckdb_schema(source, base)
        except BackendDataError as error:
            if type(error.__cause__).__name__ != "IOException":
                raise
            _log.warning("%s is applied and its source is not checked (R-3): %s", where, error)
            return None
    from e2i_fs.sql.reading import sql_schema, table_of
    from e2i_fs.sql.session import Session

    table = table_of(source)
    try:
        session = Session(table.address)
    except BackendDataError as error:
        _log.warning("%s is applied and its source is not checked (R-3): %s", where, error)
        return None
    with closing(session):
        return sql_schema(session, table, types)
