"""What a Feast registry says, as a catalogue; and a registry that says what a catalogue does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from feast.feature_view import FeatureView as FeastFeatureView
from feast.project import Project
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto

from e2i_fs.adoption.foreign import Left
from e2i_fs.cached import cached
from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.definitions import Entity, FeatureService, FeatureView, fingerprint
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, DefinitionError
from e2i_fs.frozen import FrozenMap
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs_feast.rows import Layout
from e2i_fs_feast.translate import TAG, entity_objects, service_object, view_object

__all__ = ["Registered", "Rewritten", "Snapshot", "rewritten", "snapshot"]


@dataclass(frozen=True)
class Registered:
    """A feature view as it is registered: neutral, and as Feast's own message.

    ``generation`` tells its rows from those of a view of the same name before it. ``ours`` says that e2i_fs applied it.
    """

    view: FeatureView
    join_keys: Mapping[str, DType]
    generation: int
    message: Any
    base: str
    ours: bool

    @cached
    def table(self) -> Any:
        """The Feast feature view, as its online stores want it."""
        return FeastFeatureView.from_proto(self.message)

    @cached
    def layout(self) -> Layout:
        """How its online rows lie in the store."""
        return Layout(self.view, self.generation)

    @property
    def history(self) -> str:
        """The name of the segments with the rows written through e2i_fs."""
        return _history(self.view.name, self.generation)


@dataclass(frozen=True)
class Snapshot:
    """A registry at one moment. ``skipped`` says what of it has no neutral form."""

    catalog: Catalog
    views: Mapping[str, Registered]
    skipped: tuple[Left, ...] = ()


def _history(view: str, generation: int) -> str:
    # A name has up to 200 characters of up to 4 bytes, and a folder's name 255 bytes.
    short = view if len(view.encode()) <= 200 else fingerprint(view)
    return f"{short}@{generation}"


Adopt = Callable[[Any, Catalog], "tuple[Catalog, Mapping[str, Any], tuple[Left, ...]]"]
"""Add to a catalogue what of a registry's messages carries no tag; also the views' messages, and what was skipped."""


def _definition(spec: Any, what: str) -> dict[str, Any] | None:
    """Return what our tag says, or None for what Feast's user defined."""
    text = spec.tags.get(TAG)
    if text is None:
        return None
    try:
        form: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise BackendDataError(
            f"The Feast registry's {what} has a tag {TAG!r} that is not ours; apply it again."
        ) from error
    return form


def snapshot(registry: Any, project: str, adopt: Adopt, previous: Snapshot | None = None) -> Snapshot:
    """Return what ``registry`` says of ``project``; what is the same in ``previous`` is taken from there."""
    seen = previous.views if previous is not None else {}
    entities: dict[str, Entity] = {}
    views: dict[str, FeatureView] = {}
    services: dict[str, FeatureService] = {}
    bases: dict[str, str] = {}
    found: dict[str, tuple[Any, int]] = {}
    for message in _of(registry.entities, project):
        form = _definition(message.spec, f"entity {message.spec.name}")
        if form and "definition" in form:
            entity = Entity.from_json(form["definition"])
            entities[entity.name] = entity
    for message in _of(registry.feature_views, project):
        form = _definition(message.spec, f"feature view {message.spec.name}")
        if form:
            old = seen.get(message.spec.name)
            view = old.view if old and old.message.spec == message.spec else FeatureView.from_json(form["definition"])
            views[view.name], bases[view.name] = view, form["base"]
            found[view.name] = (message, form["generation"])
    for message in _of(registry.feature_services, project):
        form = _definition(message.spec, f"feature service {message.spec.name}")
        if form:
            service = FeatureService.from_json(form["definition"])
            services[service.name] = service
    on_demand = [OnDemandFeatureView.from_json(form) for form in _project_form(registry, project).get("on_demand", [])]
    ours = Catalog(
        FrozenMap(entities),
        FrozenMap(views),
        FrozenMap(services),
        FrozenMap({d.name: d for d in on_demand}),
        FrozenMap(bases),
    )
    catalog, theirs, skipped = adopt(registry, ours)
    found.update({name: (message, 0) for name, message in theirs.items()})
    registered = {}
    for name, (message, generation) in found.items():
        now = Registered(
            catalog.view(name), catalog.join_keys(name), generation, message, catalog.bases.get(name, ""), name in views
        )
        registered[name] = seen[name] if seen.get(name) == now else now
    return Snapshot(catalog, registered, skipped)


def _of(messages: Iterable[Any], project: str) -> list[Any]:
    return [m for m in messages if m.spec.project == project]


def _project_form(registry: Any, project: str) -> dict[str, Any]:
    for message in registry.projects:
        if message.spec.name == project:
            return _definition(message.spec, f"project {project}") or {}
    return {}


class Rewritten(NamedTuple):
    """A registry as it shall be, the Feast views that are new in it, and the views whose rows are to go."""

    registry: Any
    tables: Mapping[str, Any]
    gone: Sequence[Registered]


def rewritten(registry: Any, before: Snapshot, after: Catalog, project: str, own: Path, now: Any) -> Rewritten:
    """Return a registry that says ``after``.

    What e2i_fs did not make and ``after`` does not change stays as it is; so do Feast's records of materialisation.
    """
    new = RegistryProto()
    new.CopyFrom(registry)
    broken = set(breaking_views(before.catalog, after))
    generations = {
        name: before.views[name].generation if name in before.views and name not in broken else secrets.randbits(62) + 1
        for name in after.views
    }
    gone = [r for name, r in before.views.items() if name not in after.views or name in broken]

    entities = _changed(before.catalog.entities, after.entities)
    moved = {n for n in after.views if after.bases.get(n) != before.catalog.bases.get(n)}
    views = _changed(before.catalog.views, after.views) | broken | moved
    services = _changed(before.catalog.services, after.services)
    services |= {n for n, s in after.services.items() if views & {str(ref).partition(":")[0] for ref in s.features}}

    _replace(
        new.entities, project, _names_of_entities(before.catalog, entities), _entity_messages(after, entities), now
    )
    tables = {
        name: view_object(
            after, name, generations[name], f"{own.name}/history/{_history(name, generations[name])}", own
        )
        for name in after.views
        if name in views
    }
    kept = set(after.views) - broken
    _replace(new.feature_views, project, views, [t.to_proto() for t in tables.values()], now, same_rows=kept)
    for name in views:
        _discard(new.stream_feature_views, project, name)
    needed = {str(ref).partition(":")[0] for n in services if n in after.services for ref in after.services[n].features}
    known = {**{n: r.table for n, r in before.views.items() if n in needed}, **tables}
    made = [service_object(after, after.services[n], known).to_proto() for n in sorted(services) if n in after.services]
    _replace(new.feature_services, project, services, made, now)
    _replace_sources(new, project, tables)
    _replace_project(new, project, after, now)
    return Rewritten(new, tables, gone)


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    return {
        n
        for n in {*was, *now}
        if n not in was or n not in now or (was[n] is not now[n] and was[n].to_json() != now[n].to_json())
    }


def _names_of_entities(catalog: Catalog, names: set[str]) -> set[str]:
    return {o.name for n in names if n in catalog.entities for o in entity_objects(catalog.entities[n])}


def _entity_messages(catalog: Catalog, names: set[str]) -> list[Any]:
    messages: dict[str, Any] = {}
    for name in sorted(names & set(catalog.entities)):
        for made in entity_objects(catalog.entities[name]):
            if made.name in messages or (made.name != name and made.name in catalog.entities):
                raise DefinitionError(
                    f"Entity {name!r}: Feast keeps each of its join keys as an entity, and {made.name!r} is taken; "
                    "rename one of them."
                )
            messages[made.name] = made.to_proto()
    return list(messages.values())


def _replace(
    messages: Any, project: str, gone: set[str], made: list[Any], now: Any, *, same_rows: Collection[str] = ()
) -> None:
    """Take out the messages named in ``gone`` and put in ``made``; one that says the same stays as it was."""
    was = {m.spec.name: m for m in _of(messages, project)}
    for message in made:
        message.spec.project = project
        old = was.get(message.spec.name)
        if old is not None and message.spec.name in same_rows:
            message.meta.CopyFrom(old.meta)
        if old is not None and old.spec == message.spec:
            message.CopyFrom(old)
            continue
        if old is not None:
            message.meta.created_timestamp.CopyFrom(old.meta.created_timestamp)
        else:
            message.meta.created_timestamp.FromDatetime(now)
        message.meta.last_updated_timestamp.FromDatetime(now)
    names = gone | {m.spec.name for m in made}
    kept = [m for m in messages if m.spec.project != project or m.spec.name not in names]
    copies = [type(m).FromString(m.SerializeToString()) for m in kept]
    del messages[:]
    messages.extend(sorted([*copies, *made], key=lambda m: m.spec.name))


def _discard(messages: Any, project: str, name: str) -> None:
    for place in reversed(range(len(messages))):
        if messages[place].spec.project == project and messages[place].spec.name == name:
            del messages[place]


def _replace_sources(registry: Any, project: str, tables: Mapping[str, Any]) -> None:
    """Register the data sources of our views, and take out those of views that are no more."""
    made: dict[str, Any] = {}
    for table in tables.values():
        for source in (table.batch_source, table.stream_source):
            if source is not None and source.name not in made:
                message = source.to_proto()
                message.project = project
                message.data_source_class_type = f"{type(source).__module__}.{type(source).__name__}"
                made[source.name] = message
    specs = [m.spec for m in _of(registry.feature_views, project)]
    used = {source.name for spec in specs for source in (spec.batch_source, spec.stream_source)}
    kept = [
        type(m).FromString(m.SerializeToString())
        for m in registry.data_sources
        if m.project != project or (m.name not in made and (TAG not in m.tags or m.name in used))
    ]
    del registry.data_sources[:]
    registry.data_sources.extend(sorted([*kept, *made.values()], key=lambda m: m.name))


def _replace_project(registry: Any, project: str, catalog: Catalog, now: Any) -> None:
    form = {"on_demand": [d.to_json() for _, d in sorted(catalog.on_demand.items())]}
    text = json.dumps(form, separators=(",", ":"), sort_keys=True)
    for message in registry.projects:
        if message.spec.name == project:
            if message.spec.tags.get(TAG, '{"on_demand":[]}') == text:
                return
            message.spec.tags[TAG] = text
            message.meta.last_updated_timestamp.FromDatetime(now)
            return
    registry.projects.append(
        Project(name=project, tags={TAG: text}, created_timestamp=now, last_updated_timestamp=now).to_proto()
    )
