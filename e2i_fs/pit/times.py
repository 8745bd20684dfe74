"""Times to whole UTC microseconds: rules T-1 to T-3, for callers' frames and for stored columns."""

from __future__ import annotations

import datetime as dt
import functools
import os
from typing import Any

from e2i_fs.arrow import pa, pc, pq
from e2i_fs.clock import to_us
from e2i_fs.errors import BackendDataError, InvalidTimestampError

__all__ = ["check_stored_times", "checked_reader", "column_to_us", "moment_to_us", "needs_check"]


def column_to_us(column: pa.ChunkedArray, name: str, *, reject_naive: bool, what: str = "row") -> pa.ChunkedArray:
    """Return a column of times as int64 microseconds since the epoch, None where missing.

    Aware times of any zone are converted, naive ones read as UTC or, with ``reject_naive``, refused (T-1).
    Raises `InvalidTimestampError` naming the column and the first row of a time finer than a microsecond (T-2).
    """
    given = column.type
    if pa.types.is_dictionary(given):
        column = column.cast(given.value_type)
        given = column.type
    if pa.types.is_null(given):
        return pa.chunked_array([pa.nulls(len(column), pa.int64())])
    if pa.types.is_date(given):
        try:
            column = column.cast(pa.timestamp("us"))
        except pa.ArrowInvalid as error:
            raise InvalidTimestampError(f"Column {name!r} holds a date beyond what can be counted: {error}") from error
        given = column.type
    if not pa.types.is_timestamp(given):
        raise InvalidTimestampError(
            f"Column {name!r} is {given}, not times{_example(column)}. Parse it first, e.g. "
            "pandas.to_datetime(..., utc=True); in a CSV write each time as 2024-03-10T12:00:00Z, all of them with a zone "
            "or all without (T-1)."
        )
    if given.tz is None and reject_naive and len(column) > column.null_count:
        raise InvalidTimestampError(
            f"Column {name!r} has no time zone and the configuration says naive_timestamps: reject (T-1). "
            "Localise it, e.g. with .dt.tz_localize('UTC')."
        )
    if given.unit == "ns":
        row = _fine_row(column)
        if row >= 0:
            raise InvalidTimestampError(
                f"Column {name!r}, {what} {row}: {column[row].cast(pa.int64()).as_py()} ns since the epoch is finer than "
                "a microsecond (T-2). Rounding down could let the future in, so round it yourself, upwards."
            )
    unit = pa.timestamp("us", given.tz)
    try:
        return column.cast(unit).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InvalidTimestampError(
            f"Column {name!r} holds a time beyond what microseconds can count: {error}"
        ) from error


def moment_to_us(moment: Any, name: str, *, reject_naive: bool) -> int:
    """Return one time given as an argument (a datetime) in microseconds since the epoch, by the same rules."""
    if not isinstance(moment, dt.datetime):
        raise InvalidTimestampError(f"{name} is {moment!r}; give a datetime.datetime, best with a time zone (T-1).")
    if moment.tzinfo is None and reject_naive:
        raise InvalidTimestampError(
            f"{name} is {moment!r}, without a time zone, and the configuration says naive_timestamps: reject (T-1)."
        )
    if getattr(moment, "nanosecond", 0):  # a pandas.Timestamp is a datetime with nanoseconds
        raise InvalidTimestampError(f"{name} is {moment!r}, which is finer than a microsecond (T-2).")
    return to_us(moment)


def needs_check(given: pa.DataType) -> bool:
    """Return whether a stored column of this type can hold times finer than a microsecond."""
    return bool(pa.types.is_timestamp(given) and given.unit == "ns")


def check_stored_times(path: str, column: str) -> None:
    """Raise `InvalidTimestampError` if a nanosecond column of a Parquet file is finer than a microsecond (T-2).

    The file is read once for each state of it.
    """
    state = os.stat(path)
    row = _first_fine_row(path, column, (state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size))
    if row is not None:
        raise InvalidTimestampError(
            f"{path}: column {column!r}, row {row} holds a time finer than a microsecond (T-2). "
            "Round the column to microseconds, upwards, and write the file again."
        )


@functools.lru_cache(maxsize=4096)
def _first_fine_row(path: str, column: str, _state: tuple[int, ...]) -> int | None:
    seen = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=[column]):
                row = _fine_row(batch.column(0))
                if row >= 0:
                    return seen + row
                seen += len(batch)
    except pa.ArrowInvalid as error:
        raise BackendDataError(f"The file {path} is not readable Parquet ({error}); write it again.") from error
    return None


def _fine_row(column: pa.Array | pa.ChunkedArray) -> int:
    """Return the first row of a nanosecond column that is finer than a microsecond, or -1."""
    counts = column.cast(pa.int64())
    whole = pc.multiply(pc.divide(counts, 1000), 1000)
    return int(pc.index(pc.fill_null(pc.not_equal(counts, whole), False), pa.scalar(True)).as_py())


def checked_reader(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Return a stream whose nanosecond columns have become microseconds; one that is finer raises (T-2)."""
    if not any(needs_check(f.type) for f in reader.schema):
        return reader
    fields = [pa.field(f.name, pa.timestamp("us", f.type.tz)) if needs_check(f.type) else f for f in reader.schema]
    schema = pa.schema(fields)
    seen = 0
    batches = []
    for batch in reader:
        columns = []
        for given, wanted in zip(batch.columns, schema, strict=True):
            if needs_check(given.type):
                row = _fine_row(given)
                if row >= 0:
                    raise InvalidTimestampError(
                        f"Column {wanted.name!r}, row {seen + row} of the stored history is finer than a microsecond (T-2)."
                    )
                given = given.cast(wanted.type)
            columns.append(given)
        seen += len(batch)
        batches.append(pa.record_batch(columns, schema=schema))
    return pa.Table.from_batches(batches, schema).to_reader()


def _example(column: pa.ChunkedArray) -> str:
    """Return the first value that is no time, for the error: the first of several spellings is not always the wrong one."""
    given = column.drop_null()
    return f" (the first is {str(given[0].as_py())[:40]!r})" if len(given) else ""
