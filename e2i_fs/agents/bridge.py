"""An `AsyncFeatureStore` as a `FeatureStore`, for work that runs in a worker thread of the event loop.

The components of this package are written once, against `FeatureStore`. Their awaited methods run that code in a
worker thread; where the store is an asynchronous one, each call of it goes back to the loop and is awaited there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import anyio.from_thread
import anyio.to_thread

from e2i_fs.errors import ConfigError, UnsupportedError
from e2i_fs.protocol import AsyncFeatureStore, FeatureStore
from e2i_fs.quality.leakage.events import Announces

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
    from e2i_fs.telemetry.events import Event
    from e2i_fs.writing import Target, WriteReceipt

__all__ = ["called", "check_thread", "in_thread", "is_async", "on_loop", "sync_face"]

P = ParamSpec("P")
T = TypeVar("T")
_IN_THREAD: ContextVar[bool] = ContextVar("e2i_fs_agents_in_thread", default=False)


def sync_face(store: FeatureStore | AsyncFeatureStore) -> FeatureStore:
    """Return a store as a `FeatureStore`; an asynchronous one can then be used inside `in_thread` alone.

    Raises `ConfigError` for what is no store.
    """
    if not isinstance(store, FeatureStore):
        raise ConfigError(f"store is {store!r}; give what e2i_fs.connect or e2i_fs.connect_async opened.")
    if inspect.iscoroutinefunction(store.get_online_features):
        return _OnLoop(cast("AsyncFeatureStore", store))
    return store


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return ``call(...)``, run in a worker thread. It is not abandoned when cancelled: what it began, it ends."""

    def marked() -> T:
        _IN_THREAD.set(True)  # in the copy of the context that this thread has
        return call(*args, **kwargs)

    return await anyio.to_thread.run_sync(marked)


def on_loop(call: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
    """Return what ``await call(...)`` gives on the loop that `in_thread` was called from.

    Raises `UnsupportedError` in any other thread, for there is no loop to await it on.
    """
    check_thread()
    return anyio.from_thread.run(partial(call, *args, **kwargs))


def check_thread() -> None:
    """Raise `UnsupportedError` outside `in_thread`, where nothing asynchronous can be waited for."""
    if not _IN_THREAD.get():
        raise UnsupportedError(
            "This component has something asynchronous in it (a store of connect_async, or an async function), so it has "
            "to be awaited: use its awaited method, or give the graph its .acall as the node."
        )


def is_async(call: object) -> bool:
    """Return whether calling ``call`` gives something to be awaited: an async function, or an object with an async call."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(type(call), "__call__", None))  # noqa: B004


def called(call: Callable[..., Any], *args: Any) -> Any:
    """Return what ``call`` gives, or what awaiting it on the loop gives where it is asynchronous."""
    return on_loop(call, *args) if is_async(call) else call(*args)


class _OnLoop:
    """Every method of `FeatureStore`, each awaited on the loop."""

    def __init__(self, store: AsyncFeatureStore) -> None:
        self._store = store

    def __repr__(self) -> str:
        return repr(self._store)

    def apply(self, definitions: Sequence[Definition], *, dry_run: bool = False, allow_breaking: bool = False) -> Plan:
        return on_loop(self._store.apply, definitions, dry_run=dry_run, allow_breaking=allow_breaking)

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
        return on_loop(
            self._store.get_historical_features,
            entity_df,
            features,
            full_feature_names=full_feature_names,
            labels=labels,
            filter_by_created_timestamp=filter_by_created_timestamp,
            as_of=as_of,
            timestamp_column=timestamp_column,
            strict=strict,
        )

    def get_online_features(
        self,
        features: Sequence[str] | FeatureService | str,
        entity_rows: Any,
        *,
        full_feature_names: bool = False,
        strict: bool = False,
    ) -> OnlineResult:
        return on_loop(
            self._store.get_online_features,
            features,
            entity_rows,
            full_feature_names=full_feature_names,
            strict=strict,
        )

    def write(
        self, view: str | FeatureView, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> WriteReceipt:
        return on_loop(self._store.write, view, frame, to, idempotency_key=idempotency_key)

    def push(
        self, push_source: str | PushSource, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> Mapping[str, WriteReceipt]:
        return on_loop(self._store.push, push_source, frame, to, idempotency_key=idempotency_key)

    def materialize(
        self, start: datetime | None, end: datetime | None = None, views: Sequence[str] | None = None
    ) -> MaterializationReport:
        return on_loop(self._store.materialize, start, end, views)

    def materialize_incremental(
        self, end: datetime | None = None, views: Sequence[str] | None = None
    ) -> MaterializationReport:
        return on_loop(self._store.materialize_incremental, end, views)

    def list_entities(self) -> list[Entity]:
        return on_loop(self._store.list_entities)

    def list_feature_views(self) -> list[FeatureView]:
        return on_loop(self._store.list_feature_views)

    def list_on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return on_loop(self._store.list_on_demand_feature_views)

    def list_feature_services(self) -> list[FeatureService]:
        return on_loop(self._store.list_feature_services)

    def get_feature_view(self, name: str) -> FeatureView:
        return on_loop(self._store.get_feature_view, name)

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
        return on_loop(
            self._store.search,
            text,
            use_case=use_case,
            entity=entity,
            owner=owner,
            tags=tags,
            dtype=dtype,
            role=role,
            limit=limit,
        )

    def delete(self, name: str, *, kind: str | None = None) -> Plan:
        return on_loop(self._store.delete, name, kind=kind)

    def freshness(self, views: Sequence[str] | None = None) -> Mapping[str, FreshnessReport]:
        return on_loop(self._store.freshness, views)

    def statistics(
        self,
        feature: str,
        *,
        where: Where = "offline",
        start: datetime | None = None,
        end: datetime | None = None,
        top: int = 10,
    ) -> FeatureStatistics:
        return on_loop(self._store.statistics, feature, where=where, start=start, end=end, top=top)

    def verify(self, receipt: TrainingReceipt) -> Verification:
        return on_loop(self._store.verify, receipt)

    def health(self, deadline: float = 1.0) -> list[BackendHealth]:
        return on_loop(self._store.health, deadline)

    def emit(self, make: Callable[[datetime], Event]) -> None:
        if isinstance(self._store, Announces):  # the protocol does not ask it of a store
            on_loop(cast("Any", self._store).emit, make)

    def close(self) -> None:
        on_loop(self._store.close)
