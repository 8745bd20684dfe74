"""What Feast's paths do: its questions asked of the store, the answers in its shapes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from e2i_fs.catalog import Catalog
from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidBatchError, InvalidEntityFrameError, RequestError
from e2i_fs.ops.materialize import MaterializationReport
from e2i_fs.request import Request, resolve
from e2i_fs.results import OnlineResult
from e2i_fs.server import feast_forms as forms
from e2i_fs.server.feast_values import NO_TIME, event_text, from_feast, to_feast
from e2i_fs.server.refusals import NotHereError
from e2i_fs.wire.batches import batch_dtypes, typed_batch
from e2i_fs.wire.desk import Desk
from e2i_fs.wire.entity_rows import column_dtypes, typed_rows, utc_time
from e2i_fs.wire.plain import Told, plain
from e2i_fs.wire.writing import Where, feeds, push, write

__all__ = ["get_online_features", "materialize", "materialize_incremental", "push_rows", "write_to_online_store"]

_NO_KEY = "__dummy_id"  # what Feast's clients send for a view without entities
_TO: Mapping[str, Any] = {"online": "online", "offline": "offline", "online_and_offline": "both"}


def get_online_features(desk: Desk, asked: forms.GetOnlineFeatures) -> Mapping[str, Any]:
    """Return features as they are now, as `OnlineFeatures` (O-2, O-3, O-5)."""
    if asked.feature_service is not None and asked.features:
        raise RequestError("Say what to retrieve with either features or feature_service, and not both.")
    catalog = desk.store.catalog()
    wanted = asked.feature_service if asked.feature_service is not None else list(asked.features)
    request = resolve(catalog, wanted, full_feature_names=asked.full_feature_names)
    dtypes = column_dtypes(catalog, request)
    rows = _rows(catalog, request, asked.entities, dtypes)
    desk.budget.require(len(rows), request)
    typed = typed_rows(rows, dtypes)
    answer = desk.store.get_online_features(wanted, typed, full_feature_names=asked.full_feature_names)
    shaped = _shaped(desk, request, answer, typed, dtypes)
    if asked.include_feature_view_version_metadata:
        views = [*request.views, *(view.name for view in request.on_demand)]
        shaped["metadata"]["feature_view_metadata"] = [{"name": name, "version": 0} for name in views]
    return shaped


def _rows(
    catalog: Catalog, request: Request, entities: Mapping[str, Sequence[Any]], dtypes: Mapping[str, DType]
) -> list[dict[str, Any]]:
    """Return the columns of a request as entity rows; a column may have the name of an entity that has one key."""
    columns: dict[str, Sequence[Any]] = {}
    for name, values in entities.items():
        entity = catalog.entities.get(name)
        key = name
        if entity is not None and name not in dtypes and len(entity.keys) == 1:
            (key,) = entity.keys
        if key in columns:
            raise InvalidEntityFrameError(f"entities has the key {key!r} twice, once by the name of its entity.")
        columns[key] = values
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {count}" for name, count in lengths.items())
        raise InvalidEntityFrameError(f"The columns of entities are not of one length: {told}.")
    columns = {
        n: from_feast(v, dtypes[n]) if n in dtypes else v for n, v in columns.items() if n in dtypes or n != _NO_KEY
    }
    count = next(iter(lengths.values()), 0)
    return [{name: values[i] for name, values in columns.items()} for i in range(count)]


def _shaped(
    desk: Desk, request: Request, answer: OnlineResult, typed: Sequence[Mapping[str, Any]], dtypes: Mapping[str, DType]
) -> dict[str, Any]:
    rows, columns = len(typed), answer.to_dict()
    desk.budget.require_given(request, rows, lambda output: columns[output.name])
    texts = Told(event_text)  # the features of a view have the same times
    results = [
        {
            "values": to_feast([row[key] for row in typed], dtypes[key]),
            "statuses": ["PRESENT"] * rows,
            "event_timestamps": [NO_TIME] * rows,
        }
        for key in request.join_keys
    ]
    results += [
        {
            "values": to_feast(columns[o.name], o.field.dtype),
            "statuses": answer.statuses[o.ref],
            "event_timestamps": list(map(texts.__getitem__, answer.event_timestamps[o.ref])),
        }
        for o in request.outputs
    ]
    told = plain(answer.provenance)
    about = {key: told[key] for key in ("served_by", "role", "degraded", "reason", "age", "position", "fingerprints")}
    names = [*request.join_keys, *(o.name for o in request.outputs)]
    return {"metadata": {"feature_names": names}, "results": results, "e2i_fs": about}


def push_rows(desk: Desk, asked: forms.Push) -> Mapping[str, Any]:
    """Write rows to every view that a push source feeds (W-1)."""
    what = f"The batch for push source {asked.push_source_name!r}"
    dtypes = batch_dtypes(desk.store.catalog(), feeds(desk, asked.push_source_name))
    return push(desk, asked.push_source_name, Where(to=_TO[asked.to]), _table(what, asked.df, dtypes))


def write_to_online_store(desk: Desk, asked: forms.WriteToOnlineStore) -> Mapping[str, Any]:
    """Write rows of one view online (W-1).

    Feast's remote client calls the times ``event_timestamp`` and ``created`` whatever the view calls them, and always sends
    both. A ``created`` without a value is left out for a view that has no created time; with a value it is refused there.
    """
    view = desk.store.catalog().view(asked.feature_view_name)
    what = f"The batch for view {view.name!r}"
    dtypes = batch_dtypes(desk.store.catalog(), [view.name])
    columns = dict(asked.df)
    for theirs, ours in (("event_timestamp", view.event_column), ("created", view.created_column)):
        if theirs not in columns or theirs in dtypes:
            continue
        if ours is not None and ours not in columns:
            columns[ours] = columns.pop(theirs)
        elif theirs == "created" and ours is None and any(value is not None for value in columns.pop(theirs)):
            problem = "column 'created' has times, and the view has no created time (created_timestamp_field)"
            raise InvalidBatchError(f"{what} was refused whole, nothing was written (W-1):", [problem])
    return write(desk, view.name, Where(to="online"), _table(what, columns, dtypes))


def _table(what: str, columns: Mapping[str, Sequence[Any]], dtypes: Mapping[str, DType]) -> pa.Table:
    read = {name: from_feast(v, dtypes[name]) if name in dtypes else v for name, v in columns.items()}
    return typed_batch(what, read, dtypes)


def materialize(desk: Desk, asked: forms.Materialize) -> Mapping[str, Any]:
    """Bring a window of history online (W-4)."""
    _unversioned(asked.version)
    if asked.disable_event_timestamp:
        return _told(desk.store.materialize(None, None, asked.feature_views))
    start, end = _time(asked.start_ts, "start_ts"), _time(asked.end_ts, "end_ts")
    if start is None or end is None:
        raise RequestError("start_ts and end_ts are needed, unless disable_event_timestamp is true.")
    return _told(desk.store.materialize(start, end, asked.feature_views))


def materialize_incremental(desk: Desk, asked: forms.MaterializeIncremental) -> Mapping[str, Any]:
    """Bring online what arrived since the last run, late rows too (W-3)."""
    _unversioned(asked.version)
    return _told(desk.store.materialize_incremental(_time(asked.end_ts, "end_ts"), asked.feature_views))


def _time(text: str | None, name: str) -> dt.datetime | None:
    moment = utc_time(text, name)
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _unversioned(version: str | None) -> None:
    if version is not None:
        raise NotHereError(f"version is {version!r}, and views have no versions here.", fix="Leave version out.")


def _told(report: MaterializationReport) -> dict[str, Any]:
    return {"runs": plain(report.runs)}
