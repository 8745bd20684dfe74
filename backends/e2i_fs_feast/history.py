"""History of an adopted view that is not Parquet in a local file: remote files, and whatever else Feast can read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from feast import FileSource
from feast.data_format import DeltaFormat
from feast.infra.offline_stores.offline_utils import get_offline_store_from_config
from pyarrow.fs import FileSystem

from e2i_fs.backend import ArrowRows, ScanPart
from e2i_fs.dtypes import Timestamp
from e2i_fs.errors import BackendDataError, did_you_mean
from e2i_fs.forks import RenewedLock
from e2i_fs.sql.reading import Table, Wanted, table_rows
from e2i_fs_feast.postgres_address import address_of
from e2i_fs_feast.registry import Registered

__all__ = ["feast_rows"]

_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_one_at_a_time = RenewedLock()  # Feast's duckdb store has one connection for the whole process


def feast_rows(
    registered: Registered, config: Any, *, keys: pa.Table | None = None, until_us: int | None = None
) -> list[ScanPart]:
    """Return all rows of the view's Feast source, under the view's own names; [] when it has none.

    Remote Parquet and PostgreSQL are read as they are, for Feast's stores make floats of integers with gaps. All else comes
    through Feast's offline store.
    """
    source = registered.table.batch_source
    if source is None:
        return []
    columns = _source_columns(registered, dict(source.field_mapping))
    if isinstance(source, FileSource) and not isinstance(source.file_format, DeltaFormat):
        filesystem, path = FileSystem.from_uri(source.path)
        return [
            ArrowRows(
                _renamed(
                    ds.dataset(path, filesystem=filesystem, format="parquet").scanner().to_reader(), columns, registered
                )
            )
        ]
    if config.offline_store.type == "postgres" and type(source).__name__ == "PostgreSQLSource":
        return [ArrowRows(_postgres_rows(registered, columns, config.offline_store, keys, until_us))]
    with _one_at_a_time:
        job = get_offline_store_from_config(config.offline_store).pull_all_from_table_or_query(
            config=config,
            data_source=source,
            join_key_columns=[columns[n] for n in registered.join_keys],
            feature_name_columns=[columns[n] for n in registered.view.features],
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column or None,
            start_date=_FIRST,
            end_date=_LAST,
        )
        rows: pa.Table = job.to_arrow()
    return [ArrowRows(_renamed(rows.to_reader(), columns, registered))]


def _postgres_rows(
    registered: Registered, columns: Mapping[str, str], store: Any, keys: pa.Table | None, until_us: int | None
) -> pa.RecordBatchReader:
    view = registered.view
    times = (view.event_column, *([view.created_column] if view.created_column else []))
    types = {**dict.fromkeys(times, Timestamp), **registered.join_keys, **{f.name: f.dtype for f in view.schema}}
    options = registered.table.batch_source._postgres_options
    table = Table(address_of(store), None if options._query else options._table, options._query or None)
    return table_rows(table, Wanted(columns, types, times, tuple(registered.join_keys), keys, until_us))


def _source_columns(registered: Registered, mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the source's column for each of the view's: join keys, times, fields."""
    view = registered.view
    theirs = {ours: column for column, ours in mapping.items()}
    names = [
        *registered.join_keys,
        view.event_column,
        *([view.created_column] if view.created_column else []),
        *view.features,
    ]
    return {name: theirs.get(name, name) for name in names}


def _renamed(reader: pa.RecordBatchReader, columns: Mapping[str, str], registered: Registered) -> pa.RecordBatchReader:
    given = reader.schema.names
    renames = dict(columns)
    for name, column in columns.items():
        if column not in given and name in given:  # some of Feast's stores rename already
            renames[name] = name
        elif column not in given:
            raise BackendDataError(
                f"View {registered.view.name!r}: its Feast source has no column {column!r}."
                f"{did_you_mean(column, given)}"
            )
    schema = pa.schema([reader.schema.field(column).with_name(name) for name, column in renames.items()])
    batches = (pa.RecordBatch.from_arrays([b.column(c) for c in renames.values()], schema=schema) for b in reader)
    return pa.RecordBatchReader.from_batches(schema, batches)
