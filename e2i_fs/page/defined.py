"""What is registered, as plain values: entities, views with their fields and sources, on-demand views, services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.page.said import without_secrets
from e2i_fs.sources import DuckDBSource, PushSource, Source

__all__ = ["catalogue", "source_of", "wanted_of"]


def catalogue(catalog: Catalog) -> dict[str, Any]:
    """Return all definitions of a catalogue, each kind in the order of names."""
    services = _services_by_ref(catalog)
    return {
        "entities": [_entity(e) for _, e in sorted(catalog.entities.items())],
        "views": [_view(catalog, name, services) for name in sorted(catalog.views)],
        "on_demand": [_on_demand(catalog, v, services) for _, v in sorted(catalog.on_demand.items())],
        "services": [_service(catalog, s) for _, s in sorted(catalog.services.items())],
    }


def wanted_of(catalog: Catalog, service: FeatureService) -> list[str]:
    """Return the features that a service lists, each by its own reference; a wildcard is all but labels (P-12)."""
    found: dict[str, None] = {}
    for ref in service.refs:
        name, _, feature = ref.partition(":")
        view = catalog.views.get(name) or catalog.on_demand[name]
        every = [f.name for f in view.schema if f.role == "feature"]
        found |= dict.fromkeys(f"{name}:{f}" for f in (every if feature == "*" else [feature]))
    return list(found)


def source_of(source: Source | None) -> dict[str, Any]:
    """Return where a view's rows come from; of a database the table, never how it is reached.

    >>> from e2i_fs import SQLSource
    >>> source_of(SQLSource("postgresql://ann:${PASSWORD}@db/e2i", table="triggers"))["where"]
    'triggers'
    """
    if source is None:
        return {"kind": "written", "name": "", "label": "written by producers", "where": "", "batch": None}
    where = f"{source.path}, {source.where()}" if isinstance(source, DuckDBSource) else source.where()
    where = without_secrets(where)
    batch = source.batch_source if isinstance(source, PushSource) else None
    return {
        "kind": source.kind,
        "name": source.name,
        "label": source.name or PurePath(where).name or where,
        "where": "" if isinstance(source, PushSource) else where,
        "timestamp_field": source.timestamp_field,
        "created_timestamp_field": source.created_timestamp_field,
        "field_mapping": dict(source.field_mapping),
        "batch": None if batch is None else source_of(batch),
    }


def _services_by_ref(catalog: Catalog) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, service in sorted(catalog.services.items()):
        for ref in wanted_of(catalog, service):
            found.setdefault(ref, []).append(name)
    return found


def _about(definition: Entity | FeatureView | FeatureService | OnDemandFeatureView) -> dict[str, Any]:
    return {
        "name": definition.name,
        "description": definition.description,
        "owner": definition.owner,
        "tags": dict(definition.tags),
    }


def _entity(entity: Entity) -> dict[str, Any]:
    return {**_about(entity), "join_keys": [[name, repr(dtype)] for name, dtype in entity.keys.items()]}


def _view(catalog: Catalog, name: str, services: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    view = catalog.view(name)
    return {
        **_about(view),
        "entities": list(view.entity_names),
        "join_keys": [[key, repr(dtype)] for key, dtype in catalog.join_keys(name).items()],
        "fields": _fields(name, view.schema, services),
        "source": source_of(view.source),
        "ttl": view.ttl,
        "max_staleness": view.max_staleness,
        "online": view.online,
        "fingerprint": catalog.fingerprint(name),
        "services": _users(name, view.schema, services),
        "on_demand": sorted(n for n, d in catalog.on_demand.items() if name in _inputs(d)),
    }


def _on_demand(catalog: Catalog, view: OnDemandFeatureView, services: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        **_about(view),
        "inputs": list(view.inputs),
        "views": _inputs(view),
        "requests": [{"name": r.name, "fields": [[f.name, repr(f.dtype)] for f in r.schema]} for r in view.request],
        "fields": _fields(view.name, view.schema, services),
        "code": view.code,
        "fingerprint": catalog.fingerprint(view.name),
        "services": _users(view.name, view.schema, services),
    }


def _service(catalog: Catalog, service: FeatureService) -> dict[str, Any]:
    wanted = wanted_of(catalog, service)
    views = dict.fromkeys(ref.partition(":")[0] for ref in wanted)
    keys = dict.fromkeys(key for v in views if v in catalog.views for key in catalog.join_keys(v))
    return {**_about(service), "features": wanted, "views": list(views), "join_keys": list(keys)}


def _fields(view: str, schema: Sequence[Field], services: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [
        {
            "name": f.name,
            "dtype": repr(f.dtype),
            "role": f.role,
            "description": f.description,
            "services": list(services.get(f"{view}:{f.name}", ())),
        }
        for f in schema
    ]


def _users(view: str, schema: Sequence[Field], services: Mapping[str, Sequence[str]]) -> list[str]:
    return sorted({s for f in schema for s in services.get(f"{view}:{f.name}", ())})


def _inputs(view: OnDemandFeatureView) -> list[str]:
    return list(dict.fromkeys(ref.partition(":")[0] for ref in view.inputs))
