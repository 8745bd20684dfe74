"""Finding and watching over a wire: search, description, freshness, health."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from e2i_fs.catalog import Catalog
from e2i_fs.discovery import FoundFeature, nearest_words
from e2i_fs.ops.freshness import FreshnessStatus
from e2i_fs.wire.arguments import Strict
from e2i_fs.wire.described import described
from e2i_fs.wire.desk import Answer, Desk
from e2i_fs.wire.plain import plain

__all__ = [
    "Described",
    "Found",
    "Freshness",
    "Health",
    "Name",
    "Nothing",
    "Search",
    "Views",
    "describe",
    "discover",
    "freshness",
    "health",
]


class Search(Strict):
    """What to search for."""

    text: str = Field(
        default="",
        max_length=1_000,
        description="Words to find in names, descriptions, tags, keys and owners; empty: all.",
    )
    use_case: str | None = Field(default=None, max_length=200, description="Only of this use case (the tag use_case).")
    entity: str | None = Field(default=None, max_length=200, description="Only about this entity.")
    owner: str | None = Field(default=None, max_length=200)
    tags: dict[str, str] | None = Field(default=None, description="Only with all of these tags.")
    dtype: str | None = Field(default=None, max_length=200, description="Only of this dtype, such as Int64.")
    role: Literal["feature", "label"] | None = Field(default=None, description="label: outcomes, which are no inputs.")
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class Found(Answer):
    """What a search found."""

    features: list[dict[str, Any]] = Field(
        description="Best first: ref (what other tools take), dtype, role, entities, join_keys, ttl and max_staleness in "
        "seconds, owner, description, tags, online, services, source, freshness with its note, score."
    )
    nearest: list[str] = Field(description="When nothing was found: the nearest words that would find something.")


def discover(desk: Desk, asked: Search) -> Mapping[str, Any]:
    """Return the features found, as `Found`."""
    found = desk.store.search(**dict(asked))
    near = [] if found else nearest_words(desk.store.catalog(), asked.text, asked.use_case, asked.entity, asked.owner)
    return {"features": [_shown(f) for f in found], "nearest": near}


def _shown(found: FoundFeature) -> dict[str, Any]:
    about: dict[str, Any] = plain(found)
    keys = {name: dtype.canonical() for name, dtype in found.join_keys}
    return {**about, "dtype": found.dtype.canonical(), "join_keys": keys}


class Name(Strict):
    """Which definition."""

    name: str = Field(description="An entity, a view, an on-demand view or a service.")
    kind: Literal["entity", "view", "on-demand view", "service"] | None = Field(
        default=None, description="Only needed when several kinds have the name."
    )


class Described(Answer):
    """One definition, and what belongs to it."""

    kind: str
    definition: dict[str, Any] = Field(description="In the form that plan_registration takes.")
    fingerprint: str | None = Field(description="Of a view: equal fingerprints are equal definitions.")
    join_keys: dict[str, Any] = Field(description="What entity rows need, with dtypes.")
    services: list[str] = Field(description="The feature services that name it.")


def describe(desk: Desk, asked: Name) -> Mapping[str, Any]:
    """Return one definition, as `Described`."""
    catalog = desk.store.catalog()
    kind = catalog.kind_of(asked.name, asked.kind)
    definition: Any
    match kind:
        case "entity":
            definition = catalog.entities[asked.name]
        case "service":
            definition = catalog.service(asked.name)
        case "view":
            definition = catalog.view(asked.name)
        case _:
            definition = catalog.on_demand[asked.name]
    is_view = kind in ("view", "on-demand view")
    used_by = [n for n, s in catalog.services.items() if any(r.startswith(f"{asked.name}:") for r in s.refs)]
    return {
        "kind": kind,
        "definition": plain(described(definition)),
        "fingerprint": catalog.fingerprint(asked.name) if is_view else None,
        "join_keys": {name: dtype.canonical() for name, dtype in _keys(catalog, kind, asked.name).items()},
        "services": sorted(used_by) if is_view else [],
    }


def _keys(catalog: Catalog, kind: str, name: str) -> Mapping[str, Any]:
    if kind == "entity":
        return catalog.entities[name].keys
    if kind == "view":
        return catalog.join_keys(name)
    inputs = catalog.on_demand[name].inputs if kind == "on-demand view" else catalog.service(name).refs
    views = [v for v in dict.fromkeys(ref.partition(":")[0] for ref in inputs) if v in catalog.views]
    views += [
        v
        for ref in inputs
        if (d := catalog.on_demand.get(ref.partition(":")[0]))
        for v in {r.partition(":")[0] for r in d.inputs}
    ]
    return {key: dtype for view in views for key, dtype in catalog.join_keys(view).items()}


class Views(Strict):
    """Which views."""

    views: list[str] | None = Field(default=None, description="Only these; every online view unless given.")


class Freshness(Answer):
    """How old views are (F-1, F-2)."""

    all_fresh: bool = Field(description="True when every view is FRESH; UNKNOWN (nothing is online) is not.")
    views: list[dict[str, Any]] = Field(
        description="view, status (FRESH, WARNING, STALE, EXPIRED or UNKNOWN), age and max_staleness in seconds, "
        "newest_event_timestamp, rows, served_by, degraded."
    )


def freshness(desk: Desk, asked: Views) -> Mapping[str, Any]:
    """Return the age of views, as `Freshness`."""
    reports = list(desk.store.freshness(asked.views).values())
    return {"all_fresh": all(r.status is FreshnessStatus.FRESH for r in reports), "views": plain(reports)}


class Nothing(Strict):
    """Nothing is asked for but the answer."""


class Health(Answer):
    """Which backends are up."""

    all_up: bool
    backends: list[dict[str, Any]] = Field(
        description="name, role, up, latency in seconds, liveness, parity by view (would it answer the same), error."
    )


def health(desk: Desk, _: Nothing) -> Mapping[str, Any]:
    """Return the health of each backend, as `Health`."""
    backends = desk.store.health(min(1.0, desk.budget.max_seconds))
    return {"all_up": all(b.up for b in backends), "backends": plain(backends)}
