"""The tools that retrieve: get_training_set, get_online_features, explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import Field

from e2i_fs.agents.mcp.arguments import Strict
from e2i_fs.agents.mcp.budget import cells_of
from e2i_fs.agents.mcp.desk import Answer, Desk, Tool, plain
from e2i_fs.agents.mcp.entity_rows import column_dtypes, typed_rows, utc_time
from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidEntityFrameError, RequestError
from e2i_fs.frames import Frame
from e2i_fs.request import Request, resolve
from e2i_fs.results import HistoricalResult, Provenance
from e2i_fs.values import LossyCastError, cast_column

__all__ = ["TOOLS"]

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


class _AskedAtTimes(_Asked):
    labels: list[str] = Field(
        default=[], description="Labels wanted as targets, by reference; no label comes unless named."
    )
    as_of: str | None = Field(default=None, description="Forget all that became known after this time (ISO 8601).")
    filter_by_created_timestamp: bool = Field(
        default=False,
        description="For each row, forget what became known after its time. Needs a created time, as as_of does.",
    )
    timestamp_column: str = Field(default="event_timestamp", description="The column of the rows that has their times.")


class _ToTrain(_AskedAtTimes):
    entity_rows: list[dict[str, Any]] = Field(description=f"{_ROWS}, and the time of each row in timestamp_column.")


class _Answered(Answer):
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


class _TrainingSet(_Answered):
    receipt: dict[str, Any] = Field(
        description="What the set was made of: features, labels, cut-offs, fingerprints, who answered, and hashes of each column, "
        "of the rows asked and of the rows given. content_hash is the same for the same set, whoever made it and when."
    )


def _training_set(desk: Desk, asked: _ToTrain) -> Mapping[str, Any]:
    request, result, rows, _ = _at_times(desk, asked, asked.entity_rows)
    receipt = result.receipt
    answer = _answered(request, plain(rows), result.statuses, result.event_timestamps, result.provenance)
    return {**answer, "receipt": {**receipt.to_dict(), "content_hash": receipt.content_hash}}


def _at_times(
    desk: Desk, asked: _AskedAtTimes, rows: Sequence[Mapping[str, Any]]
) -> tuple[Request, HistoricalResult, list[dict[str, Any]], int]:
    """Return the point-in-time answer for entity rows, with its rows and cells, asked for only once it may fit the budget."""
    catalog = desk.store.catalog()
    request = resolve(catalog, asked.wanted, labels=asked.labels, full_feature_names=asked.full_feature_names)
    desk.budget.require(len(rows), request)
    result = desk.store.get_historical_features(
        _table(rows, column_dtypes(catalog, request), asked.timestamp_column),
        asked.wanted,
        labels=asked.labels,
        full_feature_names=asked.full_feature_names,
        as_of=utc_time(asked.as_of, "as_of"),
        filter_by_created_timestamp=asked.filter_by_created_timestamp,
        timestamp_column=asked.timestamp_column,
    )
    given = result.to_arrow().to_pylist()
    cells = desk.budget.require_given({o.ref: [row[o.name] for row in given] for o in request.outputs})
    return request, result, given, cells


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


class _ToServe(_Asked):
    entity_rows: list[dict[str, Any]] = Field(description=f"{_ROWS}, and what on-demand views take from the request.")
    strict: bool = Field(default=False, description="Fail rather than answer degraded.")


def _online(desk: Desk, asked: _ToServe) -> Mapping[str, Any]:
    catalog = desk.store.catalog()
    request = resolve(catalog, asked.wanted, full_feature_names=asked.full_feature_names)
    desk.budget.require(len(asked.entity_rows), request)
    rows = typed_rows(asked.entity_rows, column_dtypes(catalog, request))
    answer = desk.store.get_online_features(
        asked.wanted, rows, full_feature_names=asked.full_feature_names, strict=asked.strict
    )
    columns = answer.to_dict()
    desk.budget.require_given({o.ref: columns[o.name] for o in request.outputs})
    given = plain([dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)])
    return _answered(request, given, answer.statuses, answer.event_timestamps, answer.provenance)


def _answered(
    request: Request,
    rows: list[dict[str, Any]],
    statuses: Mapping[str, Any],
    events: Mapping[str, Any],
    provenance: Provenance,
) -> dict[str, Any]:
    features = [
        {"name": o.name, "ref": o.ref, "dtype": o.field.dtype.canonical(), "role": o.field.role}
        for o in request.outputs
    ]
    return {
        "rows": rows,
        "features": features,
        "statuses": plain(statuses),
        "event_timestamps": plain(events),
        "degraded": provenance.degraded,
        "provenance": plain(provenance),
    }


class _ToExplain(_AskedAtTimes):
    entity_row: dict[str, Any] = Field(description="One entity row as get_training_set takes it, its time with it.")


class _Explained(Answer):
    values: dict[str, Any] = Field(description="By ref: the value and the status that the row gets.")
    views: list[dict[str, Any]] = Field(
        description="By view the rows of history that might have answered, greatest first: event and created time, the values "
        "asked about, the verdict (chosen, expired, beaten, future, not yet known, no event time) and the rule behind it."
    )
    left_out: int = Field(
        description="How many candidates are not shown, for they are more rows or cells than the server gives in a call."
    )


def _explain(desk: Desk, asked: _ToExplain) -> Mapping[str, Any]:
    request, result, (row,), cells = _at_times(desk, asked, [asked.entity_row])
    values = {o.ref: {"value": row[o.name], "status": result.statuses[o.ref][0]} for o in request.outputs}
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


TOOLS = (
    Tool(
        "get_training_set",
        "Get a training set",
        "Features of entity rows, each as of its own time: nothing that was not known then. Labels come only when named in "
        "labels. With as_of the set can be made again later.",
        _ToTrain,
        _TrainingSet,
        _training_set,
    ),
    Tool(
        "get_online_features",
        "Get online features",
        "Features of entities as they are now, each with its status and event time. Look at degraded and at the statuses: "
        "a missing value is null, never a default. Labels are not served.",
        _ToServe,
        _Answered,
        _online,
    ),
    Tool(
        "explain",
        "Explain an answer",
        "Why one entity row gets its answer: every row of history that might have answered, and by which rule it did or did not.",
        _ToExplain,
        _Explained,
        _explain,
    ),
)
