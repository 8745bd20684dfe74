"""What is registered in a store, through its public lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.frozen import FrozenMap
from e2i_fs.protocol import FeatureStore

__all__ = ["catalog_of"]


def catalog_of(store: FeatureStore) -> Catalog:
    """Return what is registered in a store, as one value."""
    return Catalog(
        entities=_by_name(store.list_entities()),
        views=_by_name(store.list_feature_views()),
        services=_by_name(store.list_feature_services()),
        on_demand=_by_name(store.list_on_demand_feature_views()),
    )


def _by_name(definitions: Iterable[Any]) -> FrozenMap[Any]:
    return FrozenMap({d.name: d for d in definitions})
