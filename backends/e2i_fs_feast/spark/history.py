"""The history of a view as one Spark data frame of positional columns, so that no name can collide with another.

``k0..`` are the join keys, ``e`` and ``c`` the event and created times in microseconds, ``v0..`` all fields in schema order:
the form of `e2i_fs.pit.history`, on Spark.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import types as st

from e2i_fs.backend import ParquetRows
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType, Timestamp
from e2i_fs.errors import BackendDataError, did_you_mean
from e2i_fs.objects import is_object
from e2i_fs.pit.fit import misfit
from e2i_fs.reading import parquet_schema
from e2i_fs_feast.spark.types import cast_sql, instant_sql, missing_sql, read_type, spark_type

__all__ = ["file_frame", "nothing", "positional", "readable_files", "union"]

_GLOB = "\\{}[]*?"


def union(frames: Sequence[Any]) -> Any:
    """Return the rows of all frames, which have the same columns in the same order."""
    return reduce(lambda one, other: one.union(other), frames)


def nothing(session: Any, view: FeatureView, join_keys: Mapping[str, DType]) -> Any:
    """Return a history without rows."""
    fields = [st.StructField(f"k{i}", spark_type(t)) for i, t in enumerate(join_keys.values())]
    fields += [st.StructField("e", st.LongType()), st.StructField("c", st.LongType())]
    fields += [st.StructField(f"v{i}", spark_type(f.dtype)) for i, f in enumerate(view.schema)]
    return session.createDataFrame([], st.StructType(fields))


def readable_files(part: ParquetRows, view: FeatureView, join_keys: Mapping[str, DType]) -> bool:
    """Return whether Spark reads these files exactly as the engine does.

    It does not where a name begins with ``_`` or ``.`` (Spark passes over it), in an object store of e2i_fs's own reading, for
    times in Parquet's old INT96 (Spark drops what is below a microsecond), and for the few types of `read_type`.
    """
    for paths, schema in _groups(part, view, join_keys):
        if any(is_object(path) or os.path.basename(path).startswith(("_", ".")) for path in paths):
            return False
        for name, dtype in _wanted(view, join_keys).items():
            place = schema.get_field_index(part.columns.get(name, name))
            if place < 0:
                continue  # told by `file_frame`, or allowed
            given = schema.field(place).type
            if read_type(given, dtype) is None:
                return False
            if pa.types.is_timestamp(given) and given.unit == "ns" and any(_has_int96(path) for path in paths):
                return False
    return True


def _has_int96(path: str) -> bool:
    stored = pq.ParquetFile(path).schema
    return any(stored.column(i).physical_type == "INT96" for i in range(len(stored)))


def file_frame(
    session: Any, part: ParquetRows, view: FeatureView, join_keys: Mapping[str, DType], until_us: int | None = None
) -> Any:
    """Return the rows of Parquet files, which every worker of the cluster sees under the same path.

    Raises `BackendDataError` naming file and column where a file does not hold what the view says.
    """
    frames = []
    for paths, schema in _groups(part, view, join_keys):
        wanted = {part.columns.get(name, name): dtype for name, dtype in _wanted(view, join_keys).items()}
        here = {own: schema.field(own).type for own in wanted if schema.get_field_index(own) >= 0}
        read = {own: read_type(given, wanted[own]) for own, given in here.items() if not pa.types.is_null(given)}
        form = st.StructType([st.StructField(own, kind) for own, kind in read.items() if kind is not None])
        frame = session.read.schema(form).parquet(*map(_exact, paths)).toDF(*(f"x{i}" for i in range(len(form))))
        seen = {own: f"x{i}" for i, own in enumerate(form.fieldNames())}
        columns = {own: (seen.get(own, "NULL"), given) for own, given in here.items()}
        if until_us is not None:
            frame = _bounded(frame, columns, part.columns.get(view.event_column, view.event_column), until_us)
        frames.append(positional(frame, columns, part.columns, view, join_keys, part.missing_ok, paths[0]))
    return union(frames)


def _bounded(frame: Any, columns: Mapping[str, tuple[str, pa.DataType]], event: str, until_us: int) -> Any:
    """Leave out what is later, in words that Spark passes on to the files' own statistics."""
    column, given = columns.get(event, ("", pa.null()))
    if not pa.types.is_timestamp(given) or given.unit == "ns" or given.tz is None:
        return frame
    return frame.where(f"{column} <= timestamp_micros({until_us})")


def positional(
    frame: Any,
    columns: Mapping[str, tuple[str, pa.DataType]],
    renamed: Mapping[str, str],
    view: FeatureView,
    join_keys: Mapping[str, DType],
    missing_ok: frozenset[str],
    where: str,
) -> Any:
    """Return ``frame`` in the positional form.

    ``columns`` has for each column of the source its name in ``frame`` and its Arrow type.
    """

    def column(name: str, dtype: DType, *, is_time: bool = False) -> str:
        own = renamed.get(name, name)
        if own not in columns:
            if name in missing_ok:
                return "CAST(NULL AS BIGINT)" if is_time else missing_sql(dtype)
            raise BackendDataError(
                f"{where} has no column {own!r}, which view {view.name!r} needs.{did_you_mean(own, list(columns))}"
            )
        found, given = columns[own]
        reason = misfit(given, dtype, is_time=is_time)
        if reason:
            raise BackendDataError(
                f"{where}: column {own!r} is {given}, view {view.name!r} declares {name!r} as {dtype!r}: {reason}."
            )
        return instant_sql(found, given, own) if is_time else cast_sql(found, given, dtype, own)

    chosen = [f"{column(name, dtype)} AS k{i}" for i, (name, dtype) in enumerate(join_keys.items())]
    chosen.append(f"{column(view.event_column, Timestamp, is_time=True)} AS e")
    created = column(view.created_column, Timestamp, is_time=True) if view.created_column else "CAST(NULL AS BIGINT)"
    chosen.append(f"{created} AS c")
    chosen += [f"{column(f.name, f.dtype)} AS v{i}" for i, f in enumerate(view.schema)]
    return frame.selectExpr(*chosen)


def _wanted(view: FeatureView, join_keys: Mapping[str, DType]) -> dict[str, DType]:
    """Return the view's columns and their dtypes."""
    times = dict.fromkeys([view.event_column, *([view.created_column] if view.created_column else [])], Timestamp)
    return {**times, **join_keys, **{f.name: f.dtype for f in view.schema}}


def _groups(
    part: ParquetRows, view: FeatureView, join_keys: Mapping[str, DType]
) -> Iterable[tuple[list[str], pa.Schema]]:
    """Group files whose needed columns have the same types: Spark reads all files of one frame as one schema."""
    names = [part.columns.get(name, name) for name in _wanted(view, join_keys)]
    groups: dict[tuple[str, ...], tuple[list[str], pa.Schema]] = {}
    for path in part.paths:
        schema = parquet_schema(path)
        types = tuple(str(schema.field(n).type) if schema.get_field_index(n) >= 0 else "" for n in names)
        groups.setdefault(types, ([], schema))[0].append(path)
    return groups.values()


def _exact(path: str) -> str:
    """Return a local path as Spark must be given it: characters that would make it a glob are escaped."""
    return "file:" + "".join(f"\\{c}" if c in _GLOB else c for c in path)
