"""The whole catalogue as one document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from e2i_fs.wire.described import described
from e2i_fs.wire.desk import Answer, Desk
from e2i_fs.wire.plain import plain

__all__ = ["Catalogue", "listed"]


class Catalogue(Answer):
    """What is registered, by kind and name."""

    revision: str = Field(description="Another one whenever anything that is registered changes.")
    entities: list[dict[str, Any]]
    views: list[dict[str, Any]]
    on_demand_views: list[dict[str, Any]]
    services: list[dict[str, Any]]
    push_sources: dict[str, list[str]] = Field(description="Each with the views that it feeds.")


def listed(desk: Desk) -> Mapping[str, Any]:
    """Return everything that is registered, as `Catalogue`."""
    catalog = desk.store.catalog()
    return {
        "revision": catalog.revision,
        "entities": [plain(described(e)) for _, e in sorted(catalog.entities.items())],
        "views": [plain(described(catalog.view(name))) for name in sorted(catalog.views)],
        "on_demand_views": [plain(described(v)) for _, v in sorted(catalog.on_demand.items())],
        "services": [plain(described(s)) for _, s in sorted(catalog.services.items())],
        "push_sources": plain(catalog.push_sources()),
    }
