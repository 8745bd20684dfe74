"""Definitions as documents."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from e2i_fs.definitions import Entity, FeatureService, FeatureView
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.sources import CSVSource, ParquetSource, PushSource

__all__ = ["described"]


def described(definition: Entity | FeatureView | FeatureService | OnDemandFeatureView) -> dict[str, Any]:
    """Return a definition in the form that a registration over MCP takes; an on-demand view, which comes from Python only, with its code."""
    about = {"tags": dict(definition.tags), "owner": definition.owner, "description": definition.description}
    if isinstance(definition, Entity):
        return {"name": definition.name, "join_keys": _keys(definition), **about}
    if isinstance(definition, FeatureService):
        return {"name": definition.name, "features": list(definition.refs), **about}
    fields = [
        {"name": f.name, "dtype": f.dtype.canonical(), "role": f.role, "description": f.description}
        for f in definition.schema
    ]
    if isinstance(definition, OnDemandFeatureView):
        request = {name: f.dtype.canonical() for name, f in definition.request_columns.items()}
        inputs = list(definition.inputs)
        return {
            "name": definition.name, "inputs": inputs, "request_columns": request, "fields": fields,
            "code": definition.code, **about,
        }  # fmt: skip
    return {
        "name": definition.name,
        "entities": list(definition.entity_names),
        "fields": fields,
        "source": _source_form(definition),
        "ttl_seconds": _seconds(definition.ttl),
        "online": definition.online,
        "max_staleness_seconds": _seconds(definition.max_staleness),
        **about,
    }


def _source_form(view: FeatureView) -> dict[str, Any] | None:
    """Return the form of a view's source. One that may hold an address or a secret is told by the view that has it."""
    source = view.source
    if source is None:
        return None
    times = {
        "timestamp_field": source.timestamp_field,
        "created_timestamp_field": source.created_timestamp_field,
        "field_mapping": dict(source.field_mapping),
    }
    match source:
        case CSVSource():
            return {"type": "csv", "path": list(source.paths), "delimiter": source.delimiter, **times}
        case ParquetSource():
            return {"type": "parquet", "path": list(source.paths), **times}
        case PushSource(batch_source=None):
            return {"type": "push", "name": source.name, **times}
    return {"type": "registered", "view": view.name}


def _keys(entity: Entity) -> dict[str, Any]:
    return {name: dtype.canonical() for name, dtype in entity.keys.items()}


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
