"""Ready feature stores: an empty one for users' unit tests, and one with rows to try things on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from e2i_fs.clock import Clock
from e2i_fs.testing.clock import FakeClock

if TYPE_CHECKING:
    from e2i_fs.catalog import Definition
    from e2i_fs.protocol import FeatureStore
    from e2i_fs.store import Store

__all__ = ["example_store", "memory_store"]


def memory_store(*definitions: Definition, clock: Clock | Callable[[], datetime] | None = None) -> FeatureStore:
    """Return a `FeatureStore` that lives in memory, with ``definitions`` applied; for unit tests.

    It is the real store over the reference backend, so it keeps every rule of the contract; nothing outlives the
    object. ``clock`` replaces the machine's clock. Raises what `Store.apply` raises.

    >>> from e2i_fs import Entity, FeatureView, Field, Int64
    >>> from e2i_fs.testing import memory_store
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


def example_store(config: Mapping[str, Any] | None = None) -> Store:
    """Return a store with a few rows to try things on: the one that the examples of this package use.

    ``config`` is what `connect` takes, a store in memory unless given. Its clock stands at noon of 10 March 2024 (UTC).
    It has one view, ``hcp_stats``, of the entity ``hcp`` (join key ``hcp_id``, String): ``trx_count`` (Int64), ``engagement``
    (Float64) and the label ``converted`` (Bool), with a ``ttl`` of 7 days and a ``max_staleness`` of 2, fed by the push
    source ``crm``; and the feature service ``hcp_model`` of the first two. Its history, in March 2024:

    ======  ===============  ==========  =========  ==========  =========
    hcp_id  event_timestamp  created_at  trx_count  engagement  converted
    ======  ===============  ==========  =========  ==========  =========
    hcp_1   1st              1st         10         0.4         False
    hcp_1   5th              9th (late)  14         0.5         True
    hcp_2   8th              8th         3          None        False
    ======  ===============  ==========  =========  ==========  =========

    Nothing is online before `Store.materialize`.

    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from e2i_fs.testing import example_store
    >>> asked = pa.table({"hcp_id": ["hcp_1", "hcp_1"], "event_timestamp": [datetime(2024, 3, d) for d in (2, 6)]})
    >>> with example_store() as store:
    ...     store.get_historical_features(asked, "hcp_model").to_arrow()["trx_count"].to_pylist()
    [10, 14]
    """
    from e2i_fs import Bool, Entity, FeatureService, FeatureView, Field, Float64, Int64, PushSource, connect

    def march(day: int) -> datetime:
        return datetime(2024, 3, day, tzinfo=UTC)

    view = FeatureView(
        "hcp_stats",
        entities=[Entity("hcp", join_keys=["hcp_id"])],
        schema=[Field("trx_count", Int64), Field("engagement", Float64), Field("converted", Bool, role="label")],
        source=PushSource("crm", created_timestamp_field="created_at"),
        ttl=timedelta(days=7),
        max_staleness=timedelta(days=2),
        owner="crm-team",
        description="What an HCP prescribed and how engaged they were.",
    )
    service = FeatureService("hcp_model", features=["hcp_stats:trx_count", "hcp_stats:engagement"])
    names = ("hcp_id", "event_timestamp", "created_at", "trx_count", "engagement", "converted")
    rows = [
        ("hcp_1", march(1), march(1), 10, 0.4, False),
        ("hcp_1", march(5), march(9), 14, 0.5, True),
        ("hcp_2", march(8), march(8), 3, None, False),
    ]
    store = connect(config or {"backend": "memory"}, clock=FakeClock(march(10) + timedelta(hours=12)))
    store.apply([view, service])
    store.push("crm", [dict(zip(names, row, strict=True)) for row in rows], to="offline")
    return store
