"""The catalogue: all definitions of a store as one value, and the plan from one catalogue to the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from e2i_fs.cached import cached
from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field, fingerprint
from e2i_fs.dtypes import DType
from e2i_fs.errors import BreakingChangeError, DefinitionError, StalePlanError, UnknownFeatureError, did_you_mean
from e2i_fs.frozen import FrozenMap
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.sources import PushSource, RequestSource, Source

__all__ = ["Catalog", "Plan"]

T = TypeVar("T")
_KEPT = 512  # answers about one catalogue
_ATTRIBUTES = {"entity": "entities", "view": "views", "on-demand view": "on_demand", "service": "services"}

Definition = Entity | FeatureView | FeatureService | OnDemandFeatureView | Source | RequestSource


@dataclass(frozen=True, slots=True)
class Plan:
    """What an ``apply`` or ``delete`` does or would do (R-1, R-4).

    ``created``, ``updated``, ``unchanged`` and ``removed`` hold items such as ``"view hcp_stats"``: a kind and a name.
    ``breaking`` describes each breaking change. ``dry_run`` says that nothing was applied.

    >>> import e2i_fs as fs
    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     plan = store.apply([fs.Entity("brand", join_keys=["brand_id"])], dry_run=True)
    >>> plan.created, plan.changes, plan.dry_run
    (('entity brand',), True, True)
    """

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    breaking: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def changes(self) -> bool:
        """True when applying the plan changes something."""
        return bool(self.created or self.updated or self.removed)


@dataclass(frozen=True)
class Catalog:
    """All definitions of one store, as an immutable value.

    ``entities``, ``views``, ``services`` and ``on_demand`` hold the definitions by name. ``bases`` has, for each view,
    the folder from which its relative paths start (T-4); it is not part of any fingerprint.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     catalog = store.catalog()
    >>> dict(catalog.join_keys("hcp_stats")), len(catalog.fingerprint("hcp_stats"))
    ({'hcp_id': String}, 32)
    """

    entities: Mapping[str, Entity] = field(default_factory=FrozenMap)
    views: Mapping[str, FeatureView] = field(default_factory=FrozenMap)
    services: Mapping[str, FeatureService] = field(default_factory=FrozenMap)
    on_demand: Mapping[str, OnDemandFeatureView] = field(default_factory=FrozenMap)
    bases: Mapping[str, str] = field(default_factory=FrozenMap)

    # ---- asking -------------------------------------------------------------------------------------------

    def view(self, name: str) -> FeatureView:
        """Return the view of this name with its entities. Raises `UnknownFeatureError` (nearest names, P-9)."""
        found = self._attached.get(name)
        if found is None and name in self.on_demand:
            raise UnknownFeatureError(f"{name!r} is an on-demand view; list_on_demand_feature_views() has it.")
        if found is None:
            known = [*self.views, *self.on_demand]
            raise UnknownFeatureError(f"Unknown feature view {name!r}.{did_you_mean(name, known)}")
        return found

    @cached
    def _attached(self) -> dict[str, FeatureView]:
        return {
            name: replace(view, entity_objects=tuple(self.entities[e] for e in view.entity_names if e in self.entities))
            for name, view in self.views.items()
        }

    def has(self, view: str) -> bool:
        """Return whether a feature view or on-demand view of this name is registered."""
        return view in self.views or view in self.on_demand

    def service(self, name: str) -> FeatureService:
        """Return the service of this name. Raises `UnknownFeatureError` (nearest names, P-9)."""
        if name not in self.services:
            raise UnknownFeatureError(f"Unknown feature service {name!r}.{did_you_mean(name, self.services)}")
        return self.services[name]

    def join_keys(self, view: str) -> Mapping[str, DType]:
        """Return the join keys of a view, those of all its entities in order, as a mapping of column name to dtype."""

        def joined() -> Mapping[str, DType]:
            keys: dict[str, DType] = {}
            for entity in self.view(view).entity_names:
                keys.update(self.entities[entity].keys)
            return FrozenMap(keys)

        return self.remembered(("join keys", view), joined)

    def remembered(self, question: Hashable, answered: Callable[[], T]) -> T:
        """Return ``answered()``, computed once per ``question`` for this catalogue, which never changes.

        At most a few hundred answers are kept. An error is not.
        """
        known = self._known
        try:
            found: T = known[question]
        except KeyError:
            found = answered()
            if len(known) >= _KEPT:
                known.clear()
            known[question] = found
        return found

    @cached
    def _known(self) -> dict[Hashable, Any]:
        return {}

    def push_sources(self) -> Mapping[str, tuple[str, ...]]:
        """Return the names of the push sources, each with the views that it feeds."""
        feeds: dict[str, list[str]] = {}
        for view in self.views.values():
            if isinstance(view.source, PushSource):
                feeds.setdefault(view.source.name, []).append(view.name)
        return {name: tuple(sorted(views)) for name, views in feeds.items()}

    def fingerprint(self, view: str) -> str:
        """Return the fingerprint of a view: a hash of its keys and their dtypes, fields, source, ttl or code (R-2)."""
        return self._fingerprints[view]

    @cached
    def _fingerprints(self) -> dict[str, str]:
        made = {name: fingerprint(d.canonical()) for name, d in self.on_demand.items()}
        for name, view in self.views.items():
            keys = [self.entities[e].canonical() for e in view.entity_names]
            made[name] = fingerprint({"keys": keys, **view.canonical()})
        return made

    @cached
    def revision(self) -> str:
        """A hash of everything in the catalogue: equal catalogues, and only they, have equal revisions."""
        return fingerprint(self.to_json())

    def require_revision(self, expected: str | None) -> None:
        """Raise `StalePlanError` unless the catalogue has the revision ``expected``; None is always accepted."""
        if expected not in (None, self.revision):
            raise StalePlanError(
                "What is registered has changed since the plan was made, so nothing was applied. Plan again, and look at what "
                "the new plan says."
            )

    # ---- changing -----------------------------------------------------------------------------------------

    def planned(
        self, definitions: Iterable[Definition], base: str, *, allow_breaking: bool = False
    ) -> tuple[Catalog, Plan]:
        """Return the catalogue with ``definitions`` added or changed, and the plan of that change.

        Raises `DefinitionError` when the result would be inconsistent, and `BreakingChangeError` for a change that
        would break readers (R-4) without ``allow_breaking``. Nothing is written.
        """
        given = _grouped(definitions)
        after = Catalog(
            entities=FrozenMap({**self.entities, **given["entity"]}),
            views=FrozenMap({**self.views, **given["view"]}),
            services=FrozenMap({**self.services, **given["service"]}),
            on_demand=FrozenMap({**self.on_demand, **given["on-demand view"]}),
            bases=FrozenMap({**self.bases, **dict.fromkeys(given["view"], base)}),
        )
        after._check(given["source"])
        created, updated, unchanged, breaking = [], [], [], []
        for kind, attribute in _ATTRIBUTES.items():
            before = getattr(self, attribute)
            for name, definition in getattr(after, attribute).items():
                if name not in given[kind]:
                    continue
                label = f"{kind} {name}"
                if name not in before:
                    created.append(label)
                elif before[name].to_json() == definition.to_json() and (
                    kind != "view" or self.bases.get(name) == base or not _relative(definition)
                ):
                    unchanged.append(label)
                else:
                    updated.append(label)
        for name, view in self.views.items():
            breaking.extend(_breaks(view, self.join_keys(name), after.view(name), after.join_keys(name)))
        if breaking and not allow_breaking:
            raise BreakingChangeError(
                "Breaking changes (R-4), so nothing was applied: " + "; ".join(breaking) + ". "
                "Pass allow_breaking=True (`e2i-fs apply --allow-breaking`) if no reader needs the old form; what is online for a view so changed is dropped."
            )
        return after, Plan(tuple(created), tuple(updated), tuple(unchanged), (), tuple(breaking))

    def holding(self, other: Catalog) -> Catalog:
        """Return this catalogue with everything of ``other`` in it, in ``other``'s form."""
        return Catalog(
            entities=FrozenMap({**self.entities, **other.entities}),
            views=FrozenMap({**self.views, **other.views}),
            services=FrozenMap({**self.services, **other.services}),
            on_demand=FrozenMap({**self.on_demand, **other.on_demand}),
            bases=FrozenMap({**self.bases, **other.bases}),
        )

    def dropping(self, kind: str, name: str) -> Catalog:
        """Return this catalogue without the definition of this kind and name, if there is one."""
        attribute = _ATTRIBUTES[kind]

        def rest(kept: Mapping[str, Any]) -> FrozenMap[Any]:
            return FrozenMap({n: d for n, d in kept.items() if n != name})

        after = replace(self, **{attribute: rest(getattr(self, attribute))})
        return replace(after, bases=rest(self.bases)) if kind == "view" else after

    def kind_of(self, name: str, kind: str | None = None) -> str:
        """Return the kind of the definition called ``name``: entity, view, on-demand view or service.

        Raises `UnknownFeatureError` when there is none, and `DefinitionError` when several kinds have one and ``kind``
        does not choose.
        """
        if kind is not None and kind not in _ATTRIBUTES:
            raise DefinitionError(f"kind={kind!r}: use one of {', '.join(repr(k) for k in _ATTRIBUTES)}.")
        kinds = [k for k, a in _ATTRIBUTES.items() if name in getattr(self, a) and kind in (None, k)]
        if not kinds:
            known = [n for k, a in _ATTRIBUTES.items() if kind in (None, k) for n in getattr(self, a)]
            others = [
                f"{'an' if k[0] in 'eo' else 'a'} {k}" for k, a in _ATTRIBUTES.items() if name in getattr(self, a)
            ]
            hint = f" It is the name of {' and '.join(others)}." if others else did_you_mean(name, known)
            raise UnknownFeatureError(f"No {kind or 'definition'} is called {name!r}.{hint}")
        if len(kinds) > 1:
            raise DefinitionError(f"{name!r} names {' and '.join(kinds)}; say which with kind={kinds[1]!r}.")
        return kinds[0]

    def without(self, name: str, kind: str | None = None) -> tuple[Catalog, Plan]:
        """Return the catalogue without the definition called ``name``, and the plan of that change (R-4)."""
        kind = self.kind_of(name, kind)
        users = self._users(kind, name)
        if users:
            raise DefinitionError(f"{kind} {name!r} is still used by {', '.join(users)}; delete or change these first.")
        after = self.dropping(kind, name)
        return after, Plan(removed=(f"{kind} {name}",))

    def _users(self, kind: str, name: str) -> list[str]:
        """Return the definitions that need the one of this kind and name."""
        if kind == "entity":
            return [f"view {v.name!r}" for v in self.views.values() if name in v.entity_names]
        if kind == "service":
            return []
        wanted = f"{name}:"
        found = [f"service {s.name!r}" for s in self.services.values() if any(r.startswith(wanted) for r in s.refs)]
        found += [
            f"on-demand view {d.name!r}" for d in self.on_demand.values() if any(r.startswith(wanted) for r in d.inputs)
        ]
        return found

    def _check(self, sources: Mapping[str, Source | RequestSource]) -> None:
        for name in self.views:
            if name in self.on_demand:
                raise DefinitionError(f"{name!r} names both a feature view and an on-demand view; rename one of them.")
            self._check_view(self.views[name])
        for view in self.on_demand.values():
            for ref in view.inputs:
                self._check_ref(ref, f"On-demand view {view.name!r}", stored_only=True)
                name, _, feature = ref.partition(":")
                if self.views[name].features[feature].role == "label":
                    raise DefinitionError(
                        f"On-demand view {view.name!r} takes the label {ref!r}: its outcome would reach a model by way of "
                        "the function (P-12). Compute it where labels are made."
                    )
        for service in self.services.values():
            for ref in service.refs:
                self._check_ref(ref, f"Feature service {service.name!r}")
        used = [v.source for v in self.views.values()]
        used += [s.batch_source for s in used if isinstance(s, PushSource)]
        asked: list[Any] = [*used, *(r for d in self.on_demand.values() for r in d.request)]
        for label, source in sources.items():
            if source not in asked:
                raise DefinitionError(f"No view uses {label}; a source is registered through the view that names it.")
        pushes: dict[str, PushSource] = {}
        for push in used:
            if isinstance(push, PushSource) and pushes.setdefault(push.name, push) != push:
                raise DefinitionError(f"Two different push sources are called {push.name!r}; rename one of them.")

    def _check_view(self, view: FeatureView) -> None:
        keys: dict[str, str] = {}
        for name in view.entity_names:
            if name not in self.entities:
                raise DefinitionError(
                    f"FeatureView {view.name!r}: entity {name!r} is not registered.{did_you_mean(name, self.entities)} "
                    "Apply it together with the view."
                )
            for key in self.entities[name].keys:
                if key in keys:
                    raise DefinitionError(
                        f"FeatureView {view.name!r}: entities {keys[key]!r} and {name!r} share the join key {key!r}."
                    )
                keys[key] = name
        for f in view.schema:
            if f.name in keys:
                raise DefinitionError(
                    f"FeatureView {view.name!r}: field {f.name!r} has the name of a join key of entity {keys[f.name]!r}."
                )
        for column in (view.event_column, view.created_column):
            if column in keys:
                raise DefinitionError(f"FeatureView {view.name!r}: {column!r} is both a time column and a join key.")

    def _check_ref(self, ref: str, who: str, *, stored_only: bool = False) -> None:
        view, _, feature = ref.partition(":")
        known: Mapping[str, FeatureView | OnDemandFeatureView] = self.views
        if not stored_only:
            known = {**self.views, **self.on_demand}
        if stored_only and feature == "*":
            raise DefinitionError(
                f"{who} takes {ref!r}: its function gets single features by name. Name them ('{view}:feature'), or the view itself."
            )
        if stored_only and view in self.on_demand and view not in known:
            raise DefinitionError(
                f"{who} takes {ref!r}, which is computed on demand itself. Only stored features can be taken: "
                f"compute both in one function, over {', '.join(self.on_demand[view].inputs) or 'its request columns'}."
            )
        if view not in known:
            raise DefinitionError(f"{who} names the unknown view {view!r}.{did_you_mean(view, known)}")
        if feature != "*" and feature not in known[view].features:
            nearest = did_you_mean(feature, known[view].features, prefix=f"{view}:")
            raise DefinitionError(f"{who} names the unknown feature {ref!r}.{nearest}")

    # ---- keeping ------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the whole catalogue as a JSON value that `from_json` reads."""
        return {
            "format": 1,
            "entities": [d.to_json() for _, d in sorted(self.entities.items())],
            "views": [{**d.to_json(), "base": self.bases.get(n, "")} for n, d in sorted(self.views.items())],
            "services": [d.to_json() for _, d in sorted(self.services.items())],
            "on_demand": [d.to_json() for _, d in sorted(self.on_demand.items())],
        }

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Catalog:
        """Return the catalogue that `to_json` wrote."""
        if form.get("format") != 1:
            raise DefinitionError(
                f"Definitions of format {form.get('format')!r}: written by a newer e2i_fs; upgrade it."
            )
        views = [FeatureView.from_json(v) for v in form["views"]]
        return cls(
            entities=_by_name(Entity.from_json(d) for d in form["entities"]),
            views=_by_name(views),
            services=_by_name(FeatureService.from_json(d) for d in form["services"]),
            on_demand=_by_name(OnDemandFeatureView.from_json(d) for d in form["on_demand"]),
            bases=FrozenMap({v["view"]: v.get("base", "") for v in form["views"]}),
        )


def _by_name(definitions: Iterable[Any]) -> FrozenMap[Any]:
    return FrozenMap({d.name: d for d in definitions})


def _relative(view: FeatureView) -> bool:
    """True when the meaning of the view's source depends on the folder that relative paths are taken from."""
    source = view.source.batch_source if isinstance(view.source, PushSource) else view.source
    return getattr(source, "path", None) is not None


def _grouped(definitions: Any) -> dict[str, dict[str, Any]]:
    """Sort definitions by kind and name; entities given inside views come along."""
    if isinstance(definitions, Entity | FeatureView | FeatureService | OnDemandFeatureView):
        raise DefinitionError(f"apply takes a list of definitions; write apply([{definitions.name}]).")
    if isinstance(definitions, str) or not isinstance(definitions, Iterable):
        raise DefinitionError(f"apply takes a list of definitions, not {definitions!r}.")
    groups: dict[str, dict[str, Any]] = {k: {} for k in ("entity", "view", "service", "on-demand view", "source")}

    def put(kind: str, name: str, definition: Any) -> None:
        if groups[kind].setdefault(name, definition) != definition:
            raise DefinitionError(f"Two different definitions of {kind} {name!r} in one apply; keep one of them.")

    for definition in definitions:
        if isinstance(definition, Entity):
            put("entity", definition.name, definition)
        elif isinstance(definition, FeatureView):
            for entity in definition.entity_objects:
                put("entity", entity.name, entity)
            put("view", definition.name, definition)
        elif isinstance(definition, FeatureService):
            put("service", definition.name, definition)
        elif isinstance(definition, OnDemandFeatureView):
            put("on-demand view", definition.name, definition)
        elif isinstance(definition, Source | RequestSource):
            groups["source"][f"{type(definition).__name__} {definition.name!r}"] = definition
        else:
            raise DefinitionError(
                f"apply: {definition!r} is not a definition; give Entity, FeatureView, FeatureService, on-demand views."
            )
    return groups


def _breaks(
    before: FeatureView, keys: Mapping[str, DType], after: FeatureView, keys_after: Mapping[str, DType]
) -> list[str]:
    """Say each way in which ``after`` would break a reader of ``before`` (R-4)."""
    found = []
    if list(keys.items()) != list(keys_after.items()):
        found.append(f"view {before.name!r}: the join keys change from {dict(keys)} to {dict(keys_after)}")
    if before.event_column != after.event_column or before.created_column not in (None, after.created_column):
        found.append(
            f"view {before.name!r}: the time columns change from {_times(before)} to {_times(after)}, and rows already "
            "written have the old ones"
        )
    fields: Mapping[str, Field] = after.features
    if [n for n in before.features if n in fields] != [n for n in fields if n in before.features]:
        found.append(f"view {before.name!r}: the order of the fields changes, which decides between tied rows (P-4)")
    for name, old in before.features.items():
        new = fields.get(name)
        if new is None:
            found.append(f"view {before.name!r}: the feature {name!r} is removed")
        elif new.dtype != old.dtype:
            found.append(f"view {before.name!r}: the feature {name!r} changes from {old.dtype!r} to {new.dtype!r}")
    return found


def _times(view: FeatureView) -> str:
    return f"{view.event_column!r} and {view.created_column!r}" if view.created_column else repr(view.event_column)


def breaking_views(before: Catalog, after: Catalog) -> Sequence[str]:
    """Return the views whose stored rows cannot be read under ``after``."""
    return [
        name
        for name, view in before.views.items()
        if name in after.views and _breaks(view, before.join_keys(name), after.view(name), after.join_keys(name))
    ]
