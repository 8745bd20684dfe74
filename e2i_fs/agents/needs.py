"""What a list of features needs: its outputs, the keys and columns to ask with, and the stored views behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import FeatureService
from e2i_fs.frozen import FrozenMap
from e2i_fs.protocol import FeatureStore
from e2i_fs.request import Request, resolve

__all__ = ["catalog_of", "needs"]


def catalog_of(store: FeatureStore) -> Catalog:
    """Return what is registered in a store, as one value."""
    return Catalog(
        entities=_by_name(store.list_entities()),
        views=_by_name(store.list_feature_views()),
        services=_by_name(store.list_feature_services()),
        on_demand=_by_name(store.list_on_demand_feature_views()),
    )


def needs(
    store: FeatureStore,
    features: Sequence[str] | FeatureService | str,
    *,
    labels: Sequence[str] = (),
    full_feature_names: bool = False,
) -> Request:
    """Return features resolved as the store resolves them; raises what a retrieval of them would (P-9, P-12)."""
    return resolve(catalog_of(store), features, labels=labels, full_feature_names=full_feature_names)


def _by_name(definitions: Iterable[Any]) -> FrozenMap[Any]:
    return FrozenMap({d.name: d for d in definitions})
