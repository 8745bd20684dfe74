"""Feast's SparkSource: a table, a query, or a path and its format, as a frame of Spark's or as rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyspark.sql.functions import broadcast
from pyspark.sql.pandas.types import to_arrow_schema

from e2i_fs.errors import BackendDataError
from e2i_fs_feast.registry import Registered
from e2i_fs_feast.spark.history import positional
from e2i_fs_feast.spark.types import quoted, read_type

__all__ = ["source_frame", "source_rows"]


def source_frame(session: Any, found: Registered) -> Any:
    """Return the source's rows in the positional form of `e2i_fs_feast.spark.history`.

    Raises `BackendDataError` naming the column where it does not hold what the view says.
    """
    frame, where = _frame(session, found.table.batch_source)
    schema = to_arrow_schema(frame.schema, timezone="UTC")
    names = frame.columns
    frame = frame.toDF(*(f"x{i}" for i in range(len(names))))
    columns = {name: (f"x{i}", schema.field(i).type) for i, name in enumerate(names)}
    view, keys = found.view, found.join_keys
    theirs = {ours: own for own, ours in dict(found.table.batch_source.field_mapping).items()}
    for name, dtype in {**keys, **{f.name: f.dtype for f in view.schema}}.items():
        own = theirs.get(name, name)
        if own in columns and read_type(columns[own][1], dtype) is None:
            given = columns[own][1]
            raise BackendDataError(
                f"{where}: column {own!r} is {given}, view {view.name!r} declares {name!r} as {dtype!r}; cast it in a query."
            )
    return positional(frame, columns, theirs, view, keys, frozenset(), where)


def source_rows(
    session: Any, found: Registered, *, keys: pa.Table | None = None, until_us: int | None = None
) -> pa.RecordBatchReader:
    """Return the source's rows under the view's own names; ``keys`` and ``until_us`` leave out rows on Spark."""
    view, join_keys = found.view, found.join_keys
    frame = source_frame(session, found)
    if until_us is not None:
        frame = frame.where(f"e <= {until_us}")
    if keys is not None and join_keys and len(keys):
        named = keys.rename_columns([f"k{i}" for i in range(len(join_keys))])
        wanted = session.createDataFrame(named).distinct()
        frame = frame.join(broadcast(wanted), list(named.column_names), "left_semi")
    names = {
        **{name: f"k{i}" for i, name in enumerate(join_keys)},
        view.event_column: "timestamp_micros(e)",
        **({view.created_column: "timestamp_micros(c)"} if view.created_column else {}),
        **{f.name: f"v{i}" for i, f in enumerate(view.schema)},
    }
    made = frame.selectExpr(*(f"{column} AS y{i}" for i, column in enumerate(names.values()))).toArrow()
    return made.rename_columns(list(names)).to_reader()


def _frame(session: Any, source: Any) -> tuple[Any, str]:
    """Return the rows of a SparkSource, and what to call it. A query is read before a path, as Feast does."""
    if source.table:
        return session.table(".".join(map(quoted, source.table.split(".")))), f"the table {source.table}"
    if source.query:
        return session.sql(source.query), f"the query of {source.name}"
    if source.table_format is not None:
        reader = session.read.format(source.table_format.format_type.value)
        for key, value in source.table_format.properties.items():
            reader = reader.option(key, value)
        return reader.load(source.path), f"the path {source.path}"
    return session.read.format(source.file_format).load(source.path), f"the path {source.path}"
