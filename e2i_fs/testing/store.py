"""A ready feature store in memory, for users' unit tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from e2i_fs.clock import Clock

if TYPE_CHECKING:
    from e2i_fs.catalog import Definition
    from e2i_fs.protocol import FeatureStore

__all__ = ["memory_store"]


def memory_store(*definitions: Definition, clock: Clock | Callable[[], datetime] | None = None) -> FeatureStore:
    """Return a `FeatureStore` that lives in memory, with ``definitions`` applied.

    It is the real store over the reference backend, so it keeps every rule of the contract; nothing of it
    outlives the object. Raises what ``apply`` raises.

    >>> from e2i_fs import Entity, FeatureView, Field, Int64
    >>> view = FeatureView("hcp_stats", entities=[Entity("hcp_id")], schema=[Field("trx_count", Int64)])
    >>> with memory_store(view) as store:
    ...     [v.name for v in store.list_feature_views()]
    ['hcp_stats']
    """
    from e2i_fs import connect

    store = connect({"backend": "memory"}, clock=clock)
    if definitions:
        store.apply(list(definitions))
    return store
