"""What a store knows of definitions: they are registered, deleted, listed and searched."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from e2i_fs.catalog import Catalog, Definition, Plan
from e2i_fs.config import Config
from e2i_fs.definitions import Entity, FeatureService, FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendError
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.ops.ledger import Ledger
from e2i_fs.routing import Router, check_capabilities
from e2i_fs.telemetry.events import Applied, Event

if TYPE_CHECKING:
    from e2i_fs.discovery import FoundFeature
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.sorted_copies import SortedCopies

__all__ = ["Registering"]

_log = logging.getLogger("e2i_fs.definitions")


class Registering(ABC):
    """The part of `e2i_fs.store.Store` that is about definitions."""

    _config: Config
    _ledger: Ledger

    @property
    @abstractmethod
    def _router(self) -> Router:
        """The way to the backends."""

    @property
    @abstractmethod
    def _copies(self) -> SortedCopies:
        """The sorted copies of views' files."""

    @abstractmethod
    def emit(self, make: Callable[[datetime], Event]) -> None:
        """Tell every observer."""

    @abstractmethod
    def _freshness_of(self, view: str) -> FreshnessReport:
        """Return how fresh a view is."""

    def apply(
        self,
        definitions: Sequence[Definition],
        *,
        dry_run: bool = False,
        allow_breaking: bool = False,
        expected: str | None = None,
    ) -> Plan:
        """Register definitions, all or none, and return the `Plan` (R-1).

        ``definitions`` are entities, views, on-demand views and services. ``dry_run=True`` returns the plan and changes
        nothing. ``expected`` is the ``revision`` of the `catalog` that you planned against. Sources that can be reached
        are checked first (R-3), and what is applied can be read immediately (R-5).

        Raises `DefinitionError`; `SchemaMismatchError` when a source does not match its view; `BreakingChangeError` for
        a breaking change without ``allow_breaking=True`` (R-4); `StalePlanError` when the catalogue's revision is no
        longer ``expected``; `UnsupportedError` for a view that a backend cannot keep. Unless ``dry_run``, it also raises
        `BackendError` when a backend is down: behind failover all of them must be up.

        >>> import e2i_fs as fs
        >>> from e2i_fs.testing import example_store
        >>> visits = fs.FeatureView("visits", entities=["hcp"], schema=[fs.Field("visits", fs.Int64)], source=fs.PushSource("crm_visits"))
        >>> with example_store() as store:
        ...     print(store.apply([visits], dry_run=True).created)
        ...     print(store.apply([visits]).created, store.apply([visits]).unchanged)
        ('view visits',)
        ('view visits',) ('view visits',)
        """
        from e2i_fs.reading import check_source

        definitions = list(definitions) if isinstance(definitions, Iterable) else definitions
        base = self._config.base
        before = self._router.catalog()
        before.require_revision(expected)
        after, plan = before.planned(definitions, base, allow_breaking=allow_breaking)
        named = {definition.name for definition in definitions if isinstance(definition, FeatureView)}
        for name in after.views:  # a view changes with its entities too
            if name in named or (name in before.views and before.fingerprint(name) != after.fingerprint(name)):
                check_source(after.view(name), after.join_keys(name), after.bases[name])
        plan = replace(plan, dry_run=dry_run)
        if dry_run:
            self._check_kept(before, after)
            return plan

        def change(current: Catalog) -> Catalog:
            nonlocal plan
            current.require_revision(expected)
            changed, plan = current.planned(definitions, base, allow_breaking=allow_breaking)
            return changed

        self._ledger.forget(n for n in before.views if before.fingerprint(n) != after.fingerprint(n))
        self._router.change(change)
        self.emit(lambda at: Applied(at, plan))
        return plan

    def _check_kept(self, before: Catalog, after: Catalog) -> None:
        """Raise `UnsupportedError` for what a backend says that it cannot keep (G-3); one that cannot be opened now is not asked."""
        for name in self._router.names:
            try:
                can = self._router.backend(name).capabilities
            except BackendError as error:
                _log.warning("backend %r was not asked whether it can keep what is planned: %s", name, error)
                continue
            check_capabilities(can, before, after)

    def delete(self, name: str, *, kind: str | None = None) -> Plan:
        """Delete the entity, view, on-demand view or service called ``name``, and return the `Plan` (R-4).

        Deleting a view also deletes the rows written to it; your own source files stay. ``kind`` (``"entity"``,
        ``"view"``, ``"on-demand view"`` or ``"service"``) is needed only when definitions of two kinds have the same
        name. Raises `UnknownFeatureError` when nothing has the name, and `DefinitionError` while another definition
        still uses it or when ``kind`` is needed. Behind failover all backends must be up, or it raises `BackendError`.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     store.delete("hcp_model").removed
        ('service hcp_model',)
        """
        plan = Plan()

        def change(current: Catalog) -> Catalog:
            nonlocal plan
            changed, plan = current.without(name, kind)
            return changed

        removed = (self._router.catalog().kind_of(name, kind), name)
        self._ledger.forget([name] if removed[0] == "view" else [])
        self._router.change(change, removed=removed)
        if removed[0] == "view":
            self._copies.drop(name)
        self.emit(lambda at: Applied(at, plan))
        return plan

    def list_entities(self) -> list[Entity]:
        """Return the registered entities, sorted by name.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(entity.name, dict(entity.join_keys)) for entity in store.list_entities()]
        [('hcp', {'hcp_id': String})]
        """
        return [e for _, e in sorted(self._router.catalog().entities.items())]

    def list_feature_views(self) -> list[FeatureView]:
        """Return the registered feature views, sorted by name; for on-demand views see `list_on_demand_feature_views`.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(view.name, list(view.features)) for view in store.list_feature_views()]
        [('hcp_stats', ['trx_count', 'engagement', 'converted'])]
        """
        catalog = self._router.catalog()
        return [catalog.view(name) for name in sorted(catalog.views)]

    def list_on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Return the registered on-demand views, sorted by name.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     store.list_on_demand_feature_views()
        []
        """
        return [v for _, v in sorted(self._router.catalog().on_demand.items())]

    def list_feature_services(self) -> list[FeatureService]:
        """Return the registered feature services, sorted by name.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(service.name, list(service.features)) for service in store.list_feature_services()]
        [('hcp_model', ['hcp_stats:trx_count', 'hcp_stats:engagement'])]
        """
        return [s for _, s in sorted(self._router.catalog().services.items())]

    def get_feature_view(self, name: str) -> FeatureView:
        """Return the feature view called ``name``. Raises `UnknownFeatureError`, with the nearest names (P-9).

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     store.get_feature_view("hcp_stats").ttl
        datetime.timedelta(days=7)
        """
        return self._router.catalog().view(name)

    def catalog(self) -> Catalog:
        """Return everything that is registered, as one value; its ``revision`` changes when any definition does.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     list(store.catalog().views), list(store.catalog().services)
        (['hcp_stats'], ['hcp_model'])
        """
        return self._router.catalog()

    def search(
        self,
        text: str = "",
        *,
        use_case: str | None = None,
        entity: str | None = None,
        owner: str | None = None,
        tags: Mapping[str, str] | None = None,
        dtype: DType | str | None = None,
        role: str | None = None,
        limit: int = 20,
    ) -> list[FoundFeature]:
        """Return the features that match the words of ``text``, best match first, at most ``limit`` of them.

        Each is a `FoundFeature`. Names, descriptions, tags, join keys, owners and services are searched; without
        ``text`` every feature matches. The other arguments keep only exact matches, ignoring case; ``use_case`` matches
        the ``use_case`` tag of the view or of a service that has the feature. Returns an empty list when nothing
        matches. Raises `RequestError` for an unknown ``dtype`` or ``role``, ``tags`` that are no mapping, or a
        ``limit`` below 1.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(found.ref, found.owner) for found in store.search("engaged", dtype="Float64")]
        [('hcp_stats:engagement', 'crm-team')]
        """
        from e2i_fs.discovery import search

        return search(
            self._router.catalog(), text, freshness=self._freshness_of, use_case=use_case, entity=entity, owner=owner,
            tags=tags, dtype=dtype, role=role, limit=limit,
        )  # fmt: skip
