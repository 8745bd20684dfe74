"""Worlds as files and frames: Parquet parts, definitions, batches to write, and entity frames of every kind."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.dtypes import DType
from e2i_fs.sources import DuckDBSource, ParquetSource, Source
from e2i_fs.testing.draw import Draw, Seeded
from e2i_fs.testing.worlds import ViewWorld, World
from e2i_fs.values import arrow_type

if TYPE_CHECKING:
    from e2i_fs.testing.oracle import Row

__all__ = ["batch_table", "definitions", "entity_frame", "entity_rows", "entity_table", "write_parts"]

_UTC_US = pa.timestamp("us", "UTC")
_TIME_TYPES = (_UTC_US, _UTC_US, pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.timestamp("us", "America/New_York"))


def definitions(world: World, folder: Path, *, kind: str = "parquet") -> list[FeatureView]:
    """Write the history of ``world`` below ``folder`` and return its views, entities inside.

    ``kind`` is ``"parquet"`` (the parts as files) or ``"duckdb"`` (all parts as one table of a database file).
    """
    views = []
    for number, view in enumerate(world.views):
        draw = Seeded(world.seed + number)
        paths = write_parts(view, folder, draw, time_types=_TIME_TYPES if kind == "parquet" else (_UTC_US,))
        views.append(
            _definition(view, _duckdb_source(view, paths) if kind == "duckdb" else _parquet_source(view, paths))
        )
    return views


def _definition(view: ViewWorld, source: Source) -> FeatureView:
    types = dict(view.keys)
    entities = [_entity({k: types[k] for k in keys}) for keys in view.entities]
    schema = [Field(name, dtype) for name, dtype in view.fields]
    return FeatureView(view.name, entities=entities, schema=schema, source=source, ttl=view.ttl)


def _entity(join_keys: dict[str, DType]) -> Entity:
    """Return the entity of these keys: the same for all worlds, so that a store that sees thousands does not fill up."""
    digest = hashlib.sha256(repr(sorted((k, repr(t)) for k, t in join_keys.items())).encode()).hexdigest()[:6]
    return Entity(f"{'_'.join(join_keys)}_{digest}", join_keys=join_keys)


def _parquet_source(view: ViewWorld, paths: Sequence[Path]) -> ParquetSource:
    return ParquetSource([str(path) for path in paths], **_columns(view))


def _duckdb_source(view: ViewWorld, paths: Sequence[Path]) -> DuckDBSource:
    import duckdb

    database = paths[0].with_suffix(".duckdb")
    database.unlink(missing_ok=True)
    with duckdb.connect(str(database)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for number, path in enumerate(paths):
            verb = "INSERT INTO history BY NAME" if number else "CREATE TABLE history AS"
            connection.execute(f"{verb} SELECT * FROM read_parquet($1)", [str(path)])
    return DuckDBSource(str(database), table="history", **_columns(view))


def _columns(view: ViewWorld) -> dict[str, Any]:
    """Return how the source names the view's columns, as the keyword arguments of a source."""
    names = [
        *dict(view.keys),
        *dict(view.fields),
        view.event_column,
        *([view.created_column] if view.created_column else []),
    ]
    return {
        "timestamp_field": _stored(view, view.event_column),
        "created_timestamp_field": view.created_column and _stored(view, view.created_column),
        "field_mapping": {_stored(view, name): name for name in names} if view.renamed else {},
    }


def _stored(view: ViewWorld, name: str) -> str:
    return f"src {name}" if view.renamed else name


def write_parts(
    view: ViewWorld, folder: Path, draw: Draw, *, time_types: Sequence[pa.DataType] = _TIME_TYPES
) -> list[Path]:
    """Write each part of ``view`` as a Parquet file: columns in any order, one more than needed, times in any unit."""
    paths = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(view.parts):
        table = rows_table(view, [view.rows[i] for i in part], time_type=draw.choice(time_types))
        table = table.append_column("not asked for", pa.array(range(len(part)), pa.int64()))
        names = draw.shuffled(table.column_names)
        table = table.select(names)
        if view.renamed:
            table = table.rename_columns([_stored(view, name) for name in names])
        paths.append(folder / f"{view.name}_{number}.parquet")
        group = max(draw.choice([1, 3, 1000]), len(part) // 20)  # one row a group is slow for a file of thousands
        pq.write_table(table, paths[-1], row_group_size=group)
    return paths


def rows_table(view: ViewWorld, rows: Sequence[Row], *, time_type: pa.DataType = _UTC_US) -> pa.Table:
    """Return source rows as a table with the view's own column names: keys, times, fields."""
    columns: dict[str, pa.Array] = {}
    for n, (name, dtype) in enumerate(view.keys):
        columns[name] = pa.array([row.key[n] for row in rows], arrow_type(dtype))
    columns[view.event_column] = pa.array([row.event for row in rows], _UTC_US).cast(time_type)
    if view.created_column:
        columns[view.created_column] = pa.array([row.created for row in rows], _UTC_US).cast(time_type)
    for n, (name, dtype) in enumerate(view.fields):
        columns[name] = pa.array([row.values[n] for row in rows], arrow_type(dtype))
    return pa.table(columns)


def batch_table(view: ViewWorld, numbers: Sequence[int]) -> pa.Table:
    """Return the rows of these numbers as a batch for ``store.write``."""
    return rows_table(view, [view.rows[i] for i in numbers])


def entity_rows(world: World, view: ViewWorld) -> list[dict[str, Any]]:
    """Return the keys of ``view`` as the rows of an online request."""
    return [{name: keys[name] for name, _ in view.keys} for keys in world.entity_keys]


def entity_table(world: World) -> pa.Table:
    """Return the entity rows as Arrow: keys, time and extra columns in a seeded order, time in any zone and unit."""
    draw = Seeded(world.seed * 7 + 1)
    columns = {
        name: pa.array([keys[name] for keys in world.entity_keys], arrow_type(dtype))
        for name, dtype in world.key_columns().items()
    }
    columns[world.timestamp_column] = pa.array(world.times, _UTC_US).cast(draw.choice(_TIME_TYPES))
    for name in world.extra:
        columns[name] = draw.choice(
            [pa.array(world.times, pa.timestamp("us", "UTC")), pa.array(range(len(world.times)))]
        )
    return pa.table({name: columns[name] for name in draw.shuffled(sorted(columns))})


def entity_frame(world: World) -> Any:
    """Return the entity rows as the kind of frame that the world asks for, a pandas one with a strange index."""
    table = entity_table(world)
    draw = Seeded(world.seed * 7 + 2)
    if world.frame == "polars":
        import polars as pl

        return pl.from_arrow(table)
    if world.frame == "arrow":
        return table
    import pandas as pd

    frame = table.to_pandas(integer_object_nulls=True)
    for name, dtype in world.key_columns().items():
        frame[name] = _pandas_column(frame[name], dtype, draw)
    if draw.chance(0.3):  # Python's own datetimes, each in a zone of its own
        zones = ["UTC", "America/New_York", "Asia/Kolkata"]
        frame[world.timestamp_column] = pd.Series(
            [pd.Timestamp(t).tz_convert(draw.choice(zones)) for t in world.times], dtype=object
        )
    count = len(frame)
    frame.index = draw.choice(
        [
            pd.RangeIndex(count),
            pd.Index([draw.integer(0, 2) for _ in range(count)], name="event_timestamp"),
            pd.Index([f"r{i}" for i in range(count)][::-1], name="odd"),
            pd.MultiIndex.from_tuples([(i // 2, i % 2) for i in range(count)], names=["i", None]),
            pd.date_range("2024-03-10", periods=count, freq="h", tz="America/New_York"),
        ]
    )
    return frame


def _pandas_column(column: Any, dtype: DType, draw: Draw) -> Any:
    whole = [v for v in column if v is not None]
    if dtype.kind == "int64" and all(isinstance(v, int) for v in whole):
        if all(abs(v) <= 2**53 for v in whole) and draw.chance(0.4) and len(whole) < len(column):
            return column.astype("float64")  # what pandas makes of integers with a gap
        return column.astype("Int64")
    if dtype.kind == "string" and draw.chance(0.5):
        return column.astype("string")
    return column
