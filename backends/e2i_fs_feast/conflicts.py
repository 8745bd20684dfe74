"""What of an adopted repository an apply would overwrite or leave dangling: refused, since Feast would not say so."""

from __future__ import annotations

from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.errors import DefinitionError

__all__ = ["check_dangling", "check_taken"]


def _named(messages: Any, project: str) -> set[str]:
    return {m.spec.name for m in messages if m.spec.project == project}


def _views(registry: Any, project: str) -> set[str]:
    lists = (
        registry.feature_views,
        registry.stream_feature_views,
        registry.on_demand_feature_views,
        registry.label_views,
    )
    return set().union(*(_named(messages, project) for messages in lists))


def check_taken(registry: Any, before: Catalog, after: Catalog, project: str) -> None:
    """Raise `DefinitionError` when a new definition has the name of a Feast object without a neutral form."""
    pairs = (
        ("entity", before.entities, after.entities, _named(registry.entities, project)),
        ("feature view", before.views, after.views, _views(registry, project)),
        ("feature service", before.services, after.services, _named(registry.feature_services, project)),
    )
    for kind, was, now, taken in pairs:
        for name in sorted((set(now) - set(was)) & taken):
            raise DefinitionError(
                f"The Feast repository has a {kind} {name!r} of its own that has no neutral form; it would be lost. "
                "Choose another name."
            )


def check_dangling(registry: Any, rewritten: Any, project: str) -> None:
    """Raise `DefinitionError` when something of Feast's own would name a view that is no more."""
    gone = _views(registry, project) - _views(rewritten, project)
    users = [(f"feature service {m.spec.name!r}", m.spec.features) for m in rewritten.feature_services]
    for message in rewritten.on_demand_feature_views:
        parts = [source.feature_view_projection for source in message.spec.sources.values()]
        users.append((f"on-demand feature view {message.spec.name!r}", parts))
    for user, parts in users:
        for part in parts:
            if part.feature_view_name in gone:
                raise DefinitionError(
                    f"Feast's {user} still needs {part.feature_view_name!r}; take it out of the Feast repository first."
                )
