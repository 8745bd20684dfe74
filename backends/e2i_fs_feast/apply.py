"""Changing a repository as one step (R-1): compare, replace the registry file, then remove rows that nobody can read.

What is left when a process dies in between is harmless: rows of an older generation are invisible, and what is still
to be removed is on record.
"""

from __future__ import annotations

import logging
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from feast.feature_view import FeatureView as FeastFeatureView
from feast.protos.feast.core.FeatureView_pb2 import FeatureView as FeatureViewMessage

from e2i_fs.catalog import Catalog
from e2i_fs.errors import BackendError, ConfigError, UnsupportedError
from e2i_fs.reading import stored_source
from e2i_fs_feast.conflicts import check_dangling, check_taken
from e2i_fs_feast.errors import driver_errors
from e2i_fs_feast.options import Options
from e2i_fs_feast.registry import Registered, rewritten, snapshot
from e2i_fs_feast.rows import HIDDEN
from e2i_fs_feast.state import Leftover

if TYPE_CHECKING:
    from e2i_fs_feast.backend import FeastBackend

__all__ = ["apply_catalog", "clean_up", "prepare"]

_log = logging.getLogger("e2i_fs.feast")


def prepare(backend: FeastBackend, options: Options) -> None:
    """Make the registry of a new repository of ours, and mend what a crash left."""
    repository = backend.repository
    if repository.signature() is None:
        if options.adopted:
            raise ConfigError(
                f"The Feast repository {options.folder} was never applied: there is no {repository.registry}. "
                "Run `feast apply` in it first."
            )
        repository.registry.parent.mkdir(parents=True, exist_ok=True)
        with repository.lock("apply"):
            if repository.signature() is None:
                _, empty = repository.read()
                now = backend.clock.now().astimezone(UTC)
                nothing = snapshot(empty, options.project, _nothing)
                new = rewritten(empty, nothing, Catalog(), options.project, repository.own, now)
                repository.replace(new.registry, now)
    if backend.state.leftovers() and (backend.store is None or backend.store.local):
        backend.clean_up()


def _nothing(_: Any, ours: Catalog) -> tuple[Catalog, dict[str, Any], tuple[()]]:
    return ours, {}, ()


def apply_catalog(backend: FeastBackend, after: Catalog, expected: str) -> bool:
    """Put ``after`` in the place of the kept catalogue if this is still the ``expected`` one."""
    repository = backend.repository
    _check_supported(after, backend.capabilities.sources)
    with repository.lock("apply"):
        repository.clear_leftovers()
        backend.forget()
        before = backend.snapshot()
        if before.catalog.revision != expected:
            return False
        _, registry = repository.read()
        now = backend.clock.now().astimezone(UTC)
        check_taken(registry, before.catalog, after, repository.config.project)
        new, tables, gone = rewritten(registry, before, after, repository.config.project, repository.own, now)
        check_dangling(registry, new, repository.config.project)
        _check_names(backend, after, new)
        if gone:
            backend.state.leave([_leftover(r) for r in gone])
        if backend.store is not None:
            backend.store.create([table for name, table in tables.items() if name not in before.views and table.online])
        if new != registry:
            repository.replace(new, now)
        backend.forget()
        for registered in gone:
            backend.segments.drop(registered.history)
        if gone or backend.state.leftovers():
            _clean_up(backend)
    return True


def clean_up(backend: FeastBackend) -> None:
    """Remove what is on record as left behind. A store that cannot be reached is asked again at the next apply."""
    with backend.repository.lock("apply"):
        _clean_up(backend)


def _clean_up(backend: FeastBackend) -> None:
    views = backend.snapshot().views
    for leftover in backend.state.leftovers():
        current = views[leftover.view].generation if leftover.view in views else None
        if current == leftover.generation:  # the process died before the registry was replaced
            backend.state.forget(leftover)
            continue
        message = FeatureViewMessage.FromString(bytes.fromhex(leftover.form["message"]))
        try:
            if backend.store is not None:
                with driver_errors(f"removing the rows of {leftover.view!r}"):
                    backend.store.remove(FeastFeatureView.from_proto(message), current)
        except BackendError as error:
            _log.warning(
                "The online rows of the former view %r are invisible but still there: %s", leftover.view, error
            )
        else:
            backend.state.removed(leftover)


def _leftover(registered: Registered) -> Leftover:
    form = {"message": registered.message.SerializeToString().hex()}
    return Leftover(registered.view.name, registered.generation, form)


def _check_supported(catalog: Catalog, sources: frozenset[str]) -> None:
    for view in catalog.views.values():
        source = view.source
        for kind in [s.kind for s in (source, stored_source(view)) if s is not None]:
            if kind not in sources:
                hint = "Give it offline_store: {type: postgres, ...}, or write" if kind == "sql" else "Write"
                raise UnsupportedError(
                    f"FeatureView {view.name!r}: this feast backend reads sources of kind {', '.join(sorted(sources))}, not "
                    f"{kind!r}. {hint} its rows to Parquet, or serve the view from the duckdb backend."
                )
        if view.ttl is not None and view.ttl > timedelta(days=3_650_000):
            raise UnsupportedError(f"FeatureView {view.name!r}: Feast holds no ttl of {view.ttl}; None is no limit.")


def _check_names(backend: FeastBackend, catalog: Catalog, registry: Any) -> None:
    """Refuse names that the online store would take for one: the same but for case, or with one hash."""
    if backend.store is None:
        return
    project = backend.repository.config.project
    if backend.store.local:
        taken: dict[str, str] = {}
        for name in sorted(m.spec.name for m in registry.feature_views if m.spec.project == project):
            for table in (name.lower(), f"{name.lower()}_ek"):  # the second is the name of the table's index
                if table in taken:
                    raise UnsupportedError(
                        f"FeatureViews {taken[table]!r} and {name!r} would share the sqlite table or index {table!r}; "
                        "rename one of them."
                    )
                taken[table] = name
        return
    from e2i_fs_feast.redis_store import hash_field

    fields: dict[tuple[tuple[str, ...], bytes], str] = {}
    for name, view in catalog.views.items():
        keys = tuple(sorted(catalog.join_keys(name)))
        for feature in (HIDDEN, *view.features):
            other = fields.setdefault((keys, hash_field(name, feature)), f"{name}:{feature}")
            if other != f"{name}:{feature}":
                raise UnsupportedError(
                    f"Feast keeps {other} and {name}:{feature} in one field of Redis, for their 32-bit hashes collide; "
                    "rename one of them."
                )
