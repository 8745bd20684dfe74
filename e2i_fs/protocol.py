"""What agents call: the one protocol that a single backend, failover, the async store and the test double satisfy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from e2i_fs.catalog import Definition, Plan
    from e2i_fs.definitions import Entity, FeatureService, FeatureView
    from e2i_fs.discovery import FoundFeature
    from e2i_fs.dtypes import DType
    from e2i_fs.on_demand import OnDemandFeatureView
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.materialize import MaterializationReport
    from e2i_fs.ops.statistics import FeatureStatistics, Where
    from e2i_fs.receipts import TrainingReceipt, Verification
    from e2i_fs.results import HistoricalResult, OnlineResult
    from e2i_fs.routing import BackendHealth
    from e2i_fs.sources import PushSource
    from e2i_fs.writing import Target, WriteReceipt

__all__ = ["AsyncFeatureStore", "FeatureStore"]


@runtime_checkable
class FeatureStore(Protocol):
    """The protocol of every feature store: type your own code against it. `e2i_fs.connect` opens one.

    `e2i_fs.store.Store` documents what each method takes, returns and raises.

    >>> import e2i_fs as fs
    >>> from e2i_fs.testing import example_store
    >>> def trx_count(store: fs.FeatureStore, hcp_id: str) -> int | None:
    ...     return store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": hcp_id}]).to_dict()["trx_count"][0]
    >>> with example_store() as store:
    ...     _ = store.materialize_incremental()
    ...     isinstance(store, fs.FeatureStore), trx_count(store, "hcp_1")
    (True, 14)
    """

    def apply(self, definitions: Sequence[Definition], *, dry_run: bool = False, allow_breaking: bool = False) -> Plan:
        """Register definitions, all or none (R-1 to R-5)."""
        ...

    def get_historical_features(
        self,
        entity_df: Any,
        features: Sequence[str] | FeatureService | str,
        *,
        full_feature_names: bool = False,
        labels: Sequence[str] = (),
        filter_by_created_timestamp: bool = False,
        as_of: datetime | None = None,
        timestamp_column: str = "event_timestamp",
        strict: bool = False,
    ) -> HistoricalResult:
        """Return each entity row with the features as they were at its time (P-1 to P-12)."""
        ...

    def get_online_features(
        self,
        features: Sequence[str] | FeatureService | str,
        entity_rows: Any,
        *,
        full_feature_names: bool = False,
        strict: bool = False,
    ) -> OnlineResult:
        """Return the features of each entity row as they are now (O-2, O-3, O-5)."""
        ...

    def write(
        self, view: str | FeatureView, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> WriteReceipt:
        """Write a batch of rows to one view (W-1, W-2)."""
        ...

    def push(
        self, push_source: str | PushSource, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> Mapping[str, WriteReceipt]:
        """Write rows to every view fed by a push source (W-1, W-2)."""
        ...

    def materialize(
        self, start: datetime | None, end: datetime | None = None, views: Sequence[str] | None = None
    ) -> MaterializationReport:
        """Copy the newest rows of a window of history to online (O-6, W-4)."""
        ...

    def materialize_incremental(
        self, end: datetime | None = None, views: Sequence[str] | None = None
    ) -> MaterializationReport:
        """Copy to online what arrived since the last run, late rows included (W-3)."""
        ...

    def list_entities(self) -> list[Entity]:
        """Return the registered entities."""
        ...

    def list_feature_views(self) -> list[FeatureView]:
        """Return the registered feature views."""
        ...

    def list_on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Return the registered on-demand views."""
        ...

    def list_feature_services(self) -> list[FeatureService]:
        """Return the registered feature services."""
        ...

    def get_feature_view(self, name: str) -> FeatureView:
        """Return one feature view by name."""
        ...

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
        """Return the features that match the words of ``text``, best match first."""
        ...

    def delete(self, name: str, *, kind: str | None = None) -> Plan:
        """Delete one definition (R-4)."""
        ...

    def freshness(self, views: Sequence[str] | None = None) -> Mapping[str, FreshnessReport]:
        """Return the age of each view's newest row, and its status (F-1 to F-3)."""
        ...

    def statistics(
        self,
        feature: str,
        *,
        where: Where = "offline",
        start: datetime | None = None,
        end: datetime | None = None,
        top: int = 10,
    ) -> FeatureStatistics:
        """Return statistics of one feature, over its history or over what is online now."""
        ...

    def verify(self, receipt: TrainingReceipt) -> Verification:
        """Recreate the training set of a receipt, and say whether it is identical or what differs."""
        ...

    def health(self, deadline: float = 1.0) -> list[BackendHealth]:
        """Return the health of every backend, waiting at most ``deadline`` seconds for each."""
        ...

    def close(self) -> None:
        """Close every backend and file."""
        ...


@runtime_checkable
class AsyncFeatureStore(Protocol):
    """The methods of `FeatureStore`, awaited; `e2i_fs.connect_async` opens one.

    >>> import asyncio
    >>> import e2i_fs as fs
    >>> async def main() -> bool:
    ...     async with fs.connect_async({"backend": "memory"}) as store:
    ...         return isinstance(store, fs.AsyncFeatureStore)
    >>> asyncio.run(main())
    True
    """

    async def apply(
        self, definitions: Sequence[Definition], *, dry_run: bool = False, allow_breaking: bool = False
    ) -> Plan:
        """Register definitions, all or none (R-1 to R-5)."""
        ...

    async def get_historical_features(
        self,
        entity_df: Any,
        features: Sequence[str] | FeatureService | str,
        *,
        full_feature_names: bool = False,
        labels: Sequence[str] = (),
        filter_by_created_timestamp: bool = False,
        as_of: datetime | None = None,
        timestamp_column: str = "event_timestamp",
        strict: bool = False,
    ) -> HistoricalResult:
        """Return each entity row with the features as they were at its time (P-1 to P-12)."""
        ...

    async def get_online_features(
        self,
        features: Sequence[str] | FeatureService | str,
        entity_rows: Any,
        *,
        full_feature_names: bool = False,
        strict: bool = False,
    ) -> OnlineResult:
        """Return the features of each entity row as they are now (O-2, O-3, O-5)."""
        ...

    async def write(
        self, view: str | FeatureView, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> WriteReceipt:
        """Write a batch of rows to one view (W-1, W-2)."""
        ...

    async def push(
        self, push_source: str | PushSource, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> Mapping[str, WriteReceipt]:
        """Write rows to every view fed by a push source (W-1, W-2)."""
        ...

    async def materialize(
        self, start: datetime | None, end: datetime | None = None, views: Sequence[str] | None = None
    ) -> MaterializationReport:
        """Copy the newest rows of a window of history to online (O-6, W-4)."""
        ...

    async def materialize_incremental(
        self, end: datetime | None = None, views: Sequence[str] | None = None
    ) -> MaterializationReport:
        """Copy to online what arrived since the last run, late rows included (W-3)."""
        ...

    async def list_entities(self) -> list[Entity]:
        """Return the registered entities."""
        ...

    async def list_feature_views(self) -> list[FeatureView]:
        """Return the registered feature views."""
        ...

    async def list_on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Return the registered on-demand views."""
        ...

    async def list_feature_services(self) -> list[FeatureService]:
        """Return the registered feature services."""
        ...

    async def get_feature_view(self, name: str) -> FeatureView:
        """Return one feature view by name."""
        ...

    async def search(
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
        """Return the features that match the words of ``text``, best match first."""
        ...

    async def delete(self, name: str, *, kind: str | None = None) -> Plan:
        """Delete one definition (R-4)."""
        ...

    async def freshness(self, views: Sequence[str] | None = None) -> Mapping[str, FreshnessReport]:
        """Return the age of each view's newest row, and its status (F-1 to F-3)."""
        ...

    async def statistics(
        self,
        feature: str,
        *,
        where: Where = "offline",
        start: datetime | None = None,
        end: datetime | None = None,
        top: int = 10,
    ) -> FeatureStatistics:
        """Return statistics of one feature, over its history or over what is online now."""
        ...

    async def verify(self, receipt: TrainingReceipt) -> Verification:
        """Recreate the training set of a receipt, and say whether it is identical or what differs."""
        ...

    async def health(self, deadline: float = 1.0) -> list[BackendHealth]:
        """Return the health of every backend, waiting at most ``deadline`` seconds for each."""
        ...

    async def close(self) -> None:
        """Close every backend and file."""
        ...
