"""Retrieving over a wire: online, at points in time, and why an answer is what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import Field

from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidEntityFrameError, RequestError, unstopped
from e2i_fs.frames import Frame
from e2i_fs.request import Request, resolve
from e2i_fs.results import HistoricalResult, Provenance
from e2i_fs.values import LossyCastError, cast_column
from e2i_fs.wire.arguments import Strict
from e2i_fs.wire.budget import cells_of
from e2i_fs.wire.desk import Answer, Desk
from e2i_fs.wire.entity_rows import column_dtypes, typed_rows, utc_time
from e2i_fs.wire.plain import Told, plain, plain_column

__all__ = [
    "Answered",
    "AskedAtTimes",
    "Explained",
    "ToExplain",
    "ToServe",
    "ToTrain",
    "TrainingSet",
    "at_times",
    "explained",
    "online",
    "told_features",
    "told_receipt",
    "told_training_set",
    "training_set",
]

_ROWS = (
    "A list of objects with one column each: join keys in their dtypes (whole numbers as numbers, or text beyond 2**53; "
    "dates and times as ISO text; bytes as base64; decimals as text)"
)


class _Asked(Strict):
    features: list[str] | None = Field(
        default=None, description='References: "view:feature", or "view:*" for all but labels.'
    )
    service: str | None = Field(default=None, description="A feature service instead of features.")
    full_feature_names: bool = Field(default=False, description="Name columns view__feature, where names clash.")

    @property
    def wanted(self) -> list[str] | str:
        """What is asked for: references or the name of a service, exactly one of the two."""
        if (self.features is None) == (self.service is None):
            raise RequestError("Say what to retrieve with either features or service, and not both.")
        return self.service or list(self.features or ())


class AskedAtTimes(_Asked):
    """A question about features at points in time, without its entity rows."""

    labels: list[str] = Field(
        default=[], description="Labels wanted as targets, by reference; no label comes unless named."
    )
    as_of: str | None = Field(default=None, description="Forget all that became known after this time (ISO 8601).")
    filter_by_created_timestamp: bool = Field(
        default=False,
        description="For each row, forget what became known after its time. Needs a created time, as as_of does.",
    )
    timestamp_column: str = Field(default="event_timestamp", description="The column of the rows that has their times.")
    strict: bool = Field(default=False, description="Fail rather than answer degraded.")


class ToTrain(AskedAtTimes):
    """A question about entity rows, each at its own time."""

    entity_rows: list[dict[str, Any]] = Field(description=f"{_ROWS}, and the time of each row in timestamp_column.")


class Answered(Answer):
    """Values with their statuses, event times and provenance."""

    rows: list[dict[str, Any]] = Field(
        description="One for each entity row, in its order: its own columns, then the features. null where missing; NaN and "
        "infinities as text, whole numbers beyond 2**53 as text, times in UTC."
    )
    features: list[dict[str, Any]] = Field(description="The feature columns in order: name, ref, dtype, role.")
    statuses: dict[str, list[str]] = Field(
        description="By ref, one for each row: PRESENT, NULL_VALUE, NOT_FOUND (no row of the key) or OUTSIDE_MAX_AGE (too old)."
    )
    event_timestamps: dict[str, list[str | None]] = Field(description="By ref: when each value became true.")
    degraded: bool = Field(description="True when the answer may have missed a write; provenance.reason says why.")
    provenance: dict[str, Any] = Field(
        description="Who answered, each attempt, the views' fingerprints, age in seconds."
    )


class TrainingSet(Answered):
    """A training set and its receipt."""

    receipt: dict[str, Any] = Field(
        description="What the set was made of: features, labels, cut-offs, fingerprints, who answered, and hashes of each column, "
        "of the rows asked and of the rows given. content_hash is the same for the same set, whoever made it and when."
    )


def training_set(desk: Desk, asked: ToTrain) -> Mapping[str, Any]:
    """Return features at each row's time, as `TrainingSet` (P-1 to P-12)."""
    return told_training_set(*at_times(desk, asked, asked.entity_rows))


def told_training_set(request: Request, result: HistoricalResult) -> Mapping[str, Any]:
    """Return a point-in-time answer as `TrainingSet`."""
    rows = _rows(result.to_arrow())
    answer = _answered(request, rows, result.statuses, result.event_timestamps, result.provenance)
    return {**answer, "receipt": told_receipt(result)}


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return a table's rows as JSON, or raise `InvalidEntityFrameError` for a column of the caller's that has no such form."""
    columns = {}
    for name in table.column_names:
        try:
            columns[name] = plain(table.column(name).to_pylist())
        except (ValueError, TypeError, OverflowError) as error:  # pyarrow's are among these
            raise InvalidEntityFrameError(
                f"Column {name!r} ({table.schema.field(name).type}) has no form in JSON: {unstopped(error)}. Leave it out, or ask "
                "for the answer as Arrow."
            ) from error
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def told_receipt(result: HistoricalResult) -> dict[str, Any]:
    """Return the receipt of an answer as a document, with the hash of what it holds."""
    return {**result.receipt.to_dict(), "content_hash": result.receipt.content_hash}


def at_times(
    desk: Desk, asked: AskedAtTimes, rows: Sequence[Mapping[str, Any]] | pa.Table
) -> tuple[Request, HistoricalResult]:
    """Return the point-in-time answer for entity rows, asked for only once it is known to fit the budget.

    Rows of JSON are read by the dtypes of their columns; a table is taken as it is.
    """
    catalog = desk.store.catalog()
    request = resolve(catalog, asked.wanted, labels=asked.labels, full_feature_names=asked.full_feature_names)
    desk.budget.require(len(rows), request)
    typed = (
        rows if isinstance(rows, pa.Table) else _table(rows, column_dtypes(catalog, request), asked.timestamp_column)
    )
    result = desk.store.get_historical_features(
        typed,
        asked.wanted,
        labels=asked.labels,
        full_feature_names=asked.full_feature_names,
        as_of=utc_time(asked.as_of, "as_of"),
        filter_by_created_timestamp=asked.filter_by_created_timestamp,
        timestamp_column=asked.timestamp_column,
        strict=asked.strict,
    )
    _required(desk, request, result)
    return request, result


def _required(desk: Desk, request: Request, result: HistoricalResult) -> int:
    table = result.to_arrow()
    return desk.budget.require_given(request, len(table), lambda output: table.column(output.name).to_pylist())


def _table(rows: Sequence[Mapping[str, Any]], dtypes: Mapping[str, DType], timestamp_column: str) -> pa.Table:
    typed = typed_rows(rows, dtypes, timestamp_column=timestamp_column)
    table = Frame(typed, "entity_rows").table
    for i, name in enumerate(table.column_names):
        if name in dtypes and dtypes[name].kind != "timestamp":  # whether a naive time is taken, the store judges (T-1)
            try:
                table = table.set_column(i, name, cast_column(table.column(i), dtypes[name]))
            except LossyCastError as error:
                raise InvalidEntityFrameError(f"entity_rows, column {name!r} {error}.") from error
    return table


class ToServe(_Asked):
    """A question about entities as they are now."""

    entity_rows: list[dict[str, Any]] = Field(description=f"{_ROWS}, and what on-demand views take from the request.")
    strict: bool = Field(default=False, description="Fail rather than answer degraded.")


def online(desk: Desk, asked: ToServe) -> Mapping[str, Any]:
    """Return features as they are now, as `Answered` (O-2, O-3, O-5)."""
    catalog = desk.store.catalog()
    request = resolve(catalog, asked.wanted, full_feature_names=asked.full_feature_names)
    desk.budget.require(len(asked.entity_rows), request)
    rows = typed_rows(asked.entity_rows, column_dtypes(catalog, request))
    answer = desk.store.get_online_features(
        asked.wanted, rows, full_feature_names=asked.full_feature_names, strict=asked.strict
    )
    columns = answer.to_dict()
    desk.budget.require_given(request, len(rows), lambda output: columns[output.name])
    dtypes = {output.name: output.field.dtype for output in request.outputs}
    told = [plain_column(values, dtypes.get(name)) for name, values in columns.items()]
    given = [dict(zip(columns, values, strict=True)) for values in zip(*told, strict=True)]
    return _answered(request, given, answer.statuses, answer.event_timestamps, answer.provenance)


def told_features(request: Request) -> list[dict[str, Any]]:
    """Return what each feature column of an answer is, in order."""
    return [
        {"name": o.name, "ref": o.ref, "dtype": o.field.dtype.canonical(), "role": o.field.role}
        for o in request.outputs
    ]


def _answered(
    request: Request,
    rows: list[dict[str, Any]],
    statuses: Mapping[str, Any],
    events: Mapping[str, Any],
    provenance: Provenance,
) -> dict[str, Any]:
    texts = Told(plain)  # the features of a view have the same times
    return {
        "rows": rows,
        "features": told_features(request),
        "statuses": dict(statuses),
        "event_timestamps": {ref: list(map(texts.__getitem__, times)) for ref, times in events.items()},
        "degraded": provenance.degraded,
        "provenance": plain(provenance),
    }


class ToExplain(AskedAtTimes):
    """A question about one entity row's answer."""

    entity_row: dict[str, Any] = Field(description="One entity row as get_training_set takes it, its time with it.")


class Explained(Answer):
    """An answer and the candidates behind it."""

    values: dict[str, Any] = Field(description="By ref: the value and the status that the row gets.")
    views: list[dict[str, Any]] = Field(
        description="By view the rows of history that might have answered, greatest first: event and created time, the values "
        "asked about, the verdict (chosen, expired, beaten, future, not yet known, no event time) and the rule behind it."
    )
    left_out: int = Field(
        description="How many candidates are not shown, for they are more rows or cells than the server gives in a call."
    )


def explained(desk: Desk, asked: ToExplain) -> Mapping[str, Any]:
    """Return why one row gets its answer, as `Explained`."""
    request, result = at_times(desk, asked, [asked.entity_row])
    (row,) = result.to_arrow().to_pylist()
    values = {o.ref: {"value": row[o.name], "status": result.statuses[o.ref][0]} for o in request.outputs}
    cells = _required(desk, request, result)
    room = _Room(desk.budget.max_rows, desk.budget.max_cells - cells)
    views = []
    for view, told in result.explain(0).items():
        # A candidate is a whole row, its labels too; told is what was asked about, as in any other answer (P-12).
        asked_about = [(c, {name: c.values[name] for name in request.views[view]}) for c in told.candidates]
        candidates = [{**plain(c), "values": plain(part)} for c, part in asked_about if room.takes(part)]
        views.append({"view": view, "key": plain(told.key), "at": plain(told.timestamp), "candidates": candidates})
    return {"values": plain(values), "views": views, "left_out": room.left_out}


@dataclass
class _Room:
    """How many candidates, and cells of them, may still be shown. Once one does not fit, none after it is shown."""

    rows: int
    cells: int
    left_out: int = 0

    def takes(self, values: Mapping[str, Any]) -> bool:
        """Return whether a candidate of these values fits, and count it."""
        self.rows -= 1
        self.cells -= cells_of(values)
        fits = not self.left_out and self.rows >= 0 and self.cells >= 0
        self.left_out += not fits
        return fits
