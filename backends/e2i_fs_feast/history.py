"""History that only Feast's offline store can read: sources other than local Parquet."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from feast.infra.offline_stores.offline_utils import get_offline_store_from_config

from e2i_fs.backend import ArrowRows, ScanPart
from e2i_fs_feast.registry import Registered

__all__ = ["feast_rows"]

_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_one_at_a_time = threading.Lock()  # Feast's duckdb store has one connection for the whole process


def feast_rows(registered: Registered, config: Any) -> list[ScanPart]:
    """Return all rows of the view's Feast source, under the view's own names; [] when it has none."""
    table = registered.table
    source = table.batch_source
    if source is None:
        return []
    renamed = dict(source.field_mapping)
    theirs = {renamed.get(column, column): column for column in renamed} | {}
    names = [*registered.join_keys, *registered.view.features]
    with _one_at_a_time:
        job = get_offline_store_from_config(config.offline_store).pull_all_from_table_or_query(
            config=config,
            data_source=source,
            join_key_columns=[theirs.get(n, n) for n in registered.join_keys],
            feature_name_columns=[theirs.get(n, n) for n in registered.view.features],
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column or None,
            start_date=_FIRST,
            end_date=_LAST,
        )
        rows: pa.Table = job.to_arrow()
    rows = rows.rename_columns([renamed.get(n, n) for n in rows.column_names])
    view = registered.view
    names += [view.event_column, *([view.created_column] if view.created_column else [])]
    return [ArrowRows(rows.select(names).to_reader())]
