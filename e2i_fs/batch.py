"""Batches to write: checked against the view's schema first, whole, every problem listed (W-1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from e2i_fs.arrow import pa, pc
from e2i_fs.backend import Key, OnlineRow
from e2i_fs.clock import from_us, to_us
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidBatchError, InvalidEntityFrameError, InvalidTimestampError, did_you_mean
from e2i_fs.frames import Frame
from e2i_fs.hashes import quick_hash
from e2i_fs.pit.times import column_to_us
from e2i_fs.values import LossyCastError, arrow_type, cast_column, content_hash, storage_values

__all__ = ["check_form", "checked_batch", "content_key", "online_rows", "select_columns"]

_YEAR_1_US = to_us(datetime(1, 1, 1, tzinfo=UTC))
_YEAR_9999_US = to_us(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
_TIMESTAMP = DType("timestamp")


@dataclass(slots=True)
class _Context:
    table: pa.Table
    problems: list[str]

    def rows(self, column: str, mask: Any, what: str) -> None:
        """Add one problem for each row where ``mask`` is true."""
        hits = pc.indices_nonzero(mask).to_pylist()
        self.problems.extend(f"row {row}, column {column!r}: {what}" for row in hits)


def checked_batch(
    frame: Any, view: FeatureView, join_keys: Mapping[str, DType], *, now_us: int, skew_us: int, reject_naive: bool
) -> pa.Table:
    """Return the batch as the view's own columns in their dtypes: join keys, time columns, fields.

    Raises `InvalidBatchError` with every problem: missing and unknown columns, lossy casts, missing keys and event
    times, rows more than ``skew_us`` after ``now_us`` (O-4). Then nothing of it may be written.
    """
    try:
        table = Frame(frame, f"the batch for view {view.name!r}").table
    except InvalidEntityFrameError as error:
        raise InvalidBatchError(
            f"The batch for view {view.name!r} was refused whole, nothing was written (W-1):", [str(error)]
        ) from error
    context = _Context(table, [])
    times = {view.event_column: _TIMESTAMP, **({view.created_column: _TIMESTAMP} if view.created_column else {})}
    wanted = {**join_keys, **times, **{f.name: f.dtype for f in view.schema}}
    given = table.column_names
    context.problems.extend(
        f"column {n!r} is missing.{did_you_mean(n, [g for g in given if g not in wanted])}"
        for n in wanted
        if n not in given
    )
    context.problems.extend(f"column {n!r} is unknown.{did_you_mean(n, wanted)}" for n in given if n not in wanted)
    if not len(table):
        context.problems.append("it has no rows")
    columns: dict[str, pa.ChunkedArray] = {}
    for name, dtype in wanted.items():
        if name in given:
            made = _column(context, name, dtype, reject_naive)
            if made is not None:
                columns[name] = made
    for name in join_keys:
        if name in columns and columns[name].null_count:
            context.rows(name, columns[name].is_null(), "the join key is missing")
    _check_events(context, columns.get(view.event_column), view.event_column, now_us + skew_us)
    if context.problems:
        raise InvalidBatchError(
            f"The batch for view {view.name!r} was refused whole, nothing was written (W-1):", context.problems
        )
    return pa.table(columns)


def _column(context: _Context, name: str, dtype: DType, reject_naive: bool) -> pa.ChunkedArray | None:
    column = context.table.column(name)
    try:
        if dtype.kind == "timestamp":
            times = column_to_us(column, name, reject_naive=reject_naive)
            beyond = pc.fill_null(pc.or_(pc.less(times, _YEAR_1_US), pc.greater(times, _YEAR_9999_US)), False)
            if pc.any(beyond).as_py():
                context.rows(name, beyond, "the time is not between the years 1 and 9999")
            return times.cast(pa.timestamp("us", "UTC"))
        return cast_column(column, dtype)
    except InvalidTimestampError as error:
        context.problems.append(str(error))
    except LossyCastError as error:
        if error.rows:
            context.problems.extend(
                f"row {row}, column {name!r}: {column[row].as_py()!r} does not fit {dtype!r} ({error})"
                for row in error.rows
            )
        else:
            context.problems.append(f"column {name!r} {error}")
    return None


def _check_events(context: _Context, events: pa.ChunkedArray | None, name: str, latest_us: int) -> None:
    if events is None:
        return
    if events.null_count:
        context.rows(name, events.is_null(), "the event time is missing (T-3)")
    future = pc.fill_null(pc.greater(events.cast(pa.int64()), latest_us), False)
    if pc.any(future).as_py():
        context.rows(
            name,
            future,
            f"the event time is after {from_us(latest_us).isoformat()}, which is now and the skew allowed (O-4)",
        )


def check_form(rows: pa.Table, view: FeatureView, join_keys: Mapping[str, DType]) -> None:
    """Raise `InvalidBatchError` unless a checked batch still has the columns and dtypes of its view.

    For backends, at the moment of appending: somebody may have changed the view since the batch was checked (R-1).
    """
    times = [view.event_column, *([view.created_column] if view.created_column else [])]
    types = {**join_keys, **dict.fromkeys(times, _TIMESTAMP), **{f.name: f.dtype for f in view.schema}}
    if {f.name: f.type for f in rows.schema} != {name: arrow_type(dtype) for name, dtype in types.items()}:
        raise InvalidBatchError(
            f"View {view.name!r} changed while the batch was on its way. Nothing was written; write the batch again."
        )


def select_columns(frame: Any, wanted: Mapping[str, set[str]], what: str) -> tuple[dict[str, pa.Table], list[str]]:
    """Return the columns of a pushed frame that each view takes, and a problem for each column that no view takes (W-1)."""
    table = Frame(frame, what).table
    known = set().union(*wanted.values())
    problems = [
        f"column {n!r} is taken by no view.{did_you_mean(n, known)}" for n in table.column_names if n not in known
    ]
    return {v: table.select([n for n in table.column_names if n in own]) for v, own in wanted.items()}, problems


def online_rows(
    table: pa.Table, view: FeatureView, join_keys: Mapping[str, DType]
) -> tuple[list[Key], list[OnlineRow]]:
    """Return a checked batch as keys and online rows, in its order."""
    key_columns = [storage_values(table.column(n), t) for n, t in join_keys.items()]
    keys: list[Key] = list(zip(*key_columns, strict=True)) if key_columns else [()] * len(table)
    events = table.column(view.event_column).cast(pa.int64()).to_pylist()
    created: list[int | None] = [None] * len(table)
    if view.created_column:
        created = table.column(view.created_column).cast(pa.int64()).to_pylist()
    names = [f.name for f in view.schema]
    columns = [storage_values(table.column(name), f.dtype) for name, f in zip(names, view.schema, strict=True)]
    values = [dict(zip(names, row)) for row in zip(*columns, strict=True)]  # noqa: B905 - a row has a value for each name
    return keys, list(map(OnlineRow._make, zip(events, created, values, strict=True)))


def content_key(table: pa.Table, *, online_only: bool = False) -> str:
    """Return a key made of the rows themselves: the idempotency key of a batch that was given none.

    History knows a batch by it for ever, whichever version wrote it. Online rows are the same however often they are written
    (O-1), so for a batch that goes nowhere else (``online_only``) a hash will do that is made faster.
    """
    return f"rows-{quick_hash(table)}" if online_only else f"content-{content_hash(table)}"
