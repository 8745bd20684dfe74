"""The same store, awaited: every call runs in a worker thread, so that none blocks the event loop.

Works on asyncio and on trio (through anyio). A cancelled call is abandoned: its thread ends when the call does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

import anyio
import anyio.to_thread

from e2i_fs.catalog import Catalog, Definition, Plan
from e2i_fs.clock import Clock
from e2i_fs.definitions import Entity, FeatureService, FeatureView
from e2i_fs.discovery import FoundFeature
from e2i_fs.dtypes import DType
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.opening import connect
from e2i_fs.receipts import TrainingReceipt, Verification
from e2i_fs.results import HistoricalResult, OnlineResult
from e2i_fs.routing import BackendHealth
from e2i_fs.sources import PushSource
from e2i_fs.store import Store
from e2i_fs.telemetry.events import Event
from e2i_fs.writing import Target, WriteReceipt

if TYPE_CHECKING:
    from e2i_fs.failover.differences import Diff
    from e2i_fs.failover.journal import JournalState
    from e2i_fs.failover.replay import CatchUp
    from e2i_fs.ops.event_history import EventRecord
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.job_summary import JobSummary
    from e2i_fs.ops.jobs import Job, JobReport, Jobs
    from e2i_fs.ops.materialize import MaterializationReport, MaterializationRun
    from e2i_fs.ops.settings import MaterializationConfig
    from e2i_fs.ops.statistics import FeatureStatistics, Where
    from e2i_fs.sorted_copies import Optimized, SortedCopy

__all__ = ["AsyncJobs", "AsyncStore", "connect_async"]

P = ParamSpec("P")
T = TypeVar("T")
_THREADS = 16


class AsyncJobs:
    """The methods of `Jobs`, with the same arguments, results and errors, awaited; they take no ``progress``.

    >>> import asyncio
    >>> import e2i_fs as fs
    >>> async def main() -> int:
    ...     async with fs.connect_async({"backend": "memory"}) as store:
    ...         jobs = await store.jobs()
    ...         return len((await jobs.incremental()).jobs)
    >>> asyncio.run(main())
    0
    """

    def __init__(self, jobs: Jobs, run: Callable[..., Awaitable[Any]]) -> None:
        self._jobs = jobs
        self._run = run

    async def incremental(
        self, views: Sequence[str] | None = None, *, end: datetime | None = None, dry_run: bool = False
    ) -> JobReport:
        """See `Jobs.incremental`."""
        done: JobReport = await self._run(self._jobs.incremental, views, end=end, dry_run=dry_run)
        return done

    async def full(
        self, views: Sequence[str] | None = None, *, start: datetime | None = None, end: datetime | None = None,
        days_back: float | None = None, dry_run: bool = False,
    ) -> JobReport:  # fmt: skip
        """See `Jobs.full`."""
        done: JobReport = await self._run(
            self._jobs.full, views, start=start, end=end, days_back=days_back, dry_run=dry_run
        )
        return done

    async def recover(self, views: Sequence[str] | None = None) -> JobReport:
        """See `Jobs.recover`."""
        done: JobReport = await self._run(self._jobs.recover, views)
        return done

    async def check_freshness(self, views: Sequence[str] | None = None) -> dict[str, FreshnessReport]:
        """See `Jobs.check_freshness`."""
        done: dict[str, FreshnessReport] = await self._run(self._jobs.check_freshness, views)
        return done

    async def history(self, view: str | None = None, *, days: float = 7.0) -> list[Job]:
        """See `Jobs.history`."""
        done: list[Job] = await self._run(self._jobs.history, view, days=days)
        return done

    async def summary(self, *, days: float = 7.0) -> list[JobSummary]:
        """See `Jobs.summary`."""
        done: list[JobSummary] = await self._run(self._jobs.summary, days=days)
        return done

    async def runs(self, job_id: str) -> list[MaterializationRun]:
        """See `Jobs.runs`."""
        done: list[MaterializationRun] = await self._run(self._jobs.runs, job_id)
        return done

    async def last_started(self, view: str, mode: str) -> datetime | None:
        """See `Jobs.last_started`."""
        found: datetime | None = await self._run(self._jobs.last_started, view, mode)
        return found


class AsyncStore:
    """The methods of `Store`, with the same arguments, results and errors, awaited: an `AsyncFeatureStore`.

    Each call runs in a worker thread, at most 16 at a time; more wait their turn without blocking the event loop. A
    cancelled call is abandoned, and its thread ends when the call does. `materialize` and `materialize_incremental`
    take no ``progress``.

    >>> import asyncio
    >>> import e2i_fs as fs
    >>> async def main() -> list[str]:
    ...     async with fs.connect_async({"backend": "memory"}) as store:
    ...         await store.apply([fs.Entity("hcp", join_keys=["hcp_id"])])
    ...         return [entity.name for entity in await store.list_entities()]
    >>> asyncio.run(main())
    ['hcp']
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._limiter = anyio.CapacityLimiter(_THREADS)

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        work = partial(call, *args, **kwargs)
        return await anyio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)

    def __repr__(self) -> str:
        return f"<Async{repr(self._store)[1:]}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def emit(self, make: Callable[[datetime], Event]) -> None:
        """See `Store.emit`."""
        await self._run(self._store.emit, make)

    async def apply(
        self,
        definitions: Sequence[Definition],
        *,
        dry_run: bool = False,
        allow_breaking: bool = False,
        expected: str | None = None,
    ) -> Plan:
        """See `Store.apply`."""
        return await self._run(
            self._store.apply, definitions, dry_run=dry_run, allow_breaking=allow_breaking, expected=expected
        )

    async def delete(self, name: str, *, kind: str | None = None) -> Plan:
        """See `Store.delete`."""
        return await self._run(self._store.delete, name, kind=kind)

    async def list_entities(self) -> list[Entity]:
        """See `Store.list_entities`."""
        return await self._run(self._store.list_entities)

    async def list_feature_views(self) -> list[FeatureView]:
        """See `Store.list_feature_views`."""
        return await self._run(self._store.list_feature_views)

    async def list_on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """See `Store.list_on_demand_feature_views`."""
        return await self._run(self._store.list_on_demand_feature_views)

    async def list_feature_services(self) -> list[FeatureService]:
        """See `Store.list_feature_services`."""
        return await self._run(self._store.list_feature_services)

    async def get_feature_view(self, name: str) -> FeatureView:
        """See `Store.get_feature_view`."""
        return await self._run(self._store.get_feature_view, name)

    async def catalog(self) -> Catalog:
        """See `Store.catalog`."""
        return await self._run(self._store.catalog)

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
        """See `Store.search`."""
        return await self._run(
            self._store.search, text, use_case=use_case, entity=entity, owner=owner, tags=tags, dtype=dtype, role=role,
            limit=limit,
        )  # fmt: skip

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
        """See `Store.get_historical_features`."""
        return await self._run(
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

    async def verify(self, receipt: TrainingReceipt) -> Verification:
        """See `Store.verify`."""
        return await self._run(self._store.verify, receipt)

    async def get_online_features(
        self,
        features: Sequence[str] | FeatureService | str,
        entity_rows: Any,
        *,
        full_feature_names: bool = False,
        strict: bool = False,
    ) -> OnlineResult:
        """See `Store.get_online_features`."""
        return await self._run(
            self._store.get_online_features,
            features,
            entity_rows,
            full_feature_names=full_feature_names,
            strict=strict,
        )

    async def write(
        self, view: str | FeatureView, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> WriteReceipt:
        """See `Store.write`."""
        return await self._run(self._store.write, view, frame, to, idempotency_key=idempotency_key)

    async def push(
        self, push_source: str | PushSource, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, WriteReceipt]:
        """See `Store.push`."""
        return await self._run(self._store.push, push_source, frame, to, idempotency_key=idempotency_key)

    async def materialize(  # the limit is on the work itself, which goes on in its thread whoever awaits it
        self,
        start: datetime | None,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        batch: timedelta | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        dry_run: bool = False,
    ) -> MaterializationReport:
        """See `Store.materialize`."""
        return await self._run(
            self._store.materialize, start, end, views, batch=batch, timeout=timeout, dry_run=dry_run
        )

    async def materialize_incremental(
        self,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        dry_run: bool = False,
    ) -> MaterializationReport:
        """See `Store.materialize_incremental`."""
        return await self._run(self._store.materialize_incremental, end, views, timeout=timeout, dry_run=dry_run)

    async def jobs(
        self,
        settings: MaterializationConfig | str | Mapping[str, Any] | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        again: Callable[[Job, float], None] | None = None,
    ) -> AsyncJobs:
        """See `Store.jobs`; ``sleep`` and ``again`` are called in the thread that does the work."""
        return AsyncJobs(await self._run(self._store.jobs, settings, sleep=sleep, again=again), self._run)

    async def materialization_runs(self, view: str | None = None, limit: int = 100) -> list[MaterializationRun]:
        """See `Store.materialization_runs`."""
        return await self._run(self._store.materialization_runs, view, limit)

    async def freshness(self, views: Sequence[str] | None = None, *, tell: bool = True) -> dict[str, FreshnessReport]:
        """See `Store.freshness`."""
        return await self._run(self._store.freshness, views, tell=tell)

    async def freshness_history(self, view: str | None = None, *, days: float = 7.0) -> list[FreshnessReport]:
        """See `Store.freshness_history`."""
        return await self._run(self._store.freshness_history, view, days=days)

    async def events(
        self, *, days: float = 7.0, kinds: Sequence[str] | None = None, limit: int = 1000
    ) -> list[EventRecord]:
        """See `Store.events`."""
        return await self._run(self._store.events, days=days, kinds=kinds, limit=limit)

    async def statistics(
        self,
        feature: str,
        *,
        where: Where = "offline",
        start: datetime | None = None,
        end: datetime | None = None,
        top: int = 10,
    ) -> FeatureStatistics:
        """See `Store.statistics`."""
        return await self._run(self._store.statistics, feature, where=where, start=start, end=end, top=top)

    async def view_statistics(
        self,
        view: str | FeatureView,
        *,
        features: Sequence[str] | None = None,
        where: Where = "offline",
        start: datetime | None = None,
        end: datetime | None = None,
        top: int = 10,
    ) -> dict[str, FeatureStatistics]:
        """See `Store.view_statistics`."""
        return await self._run(
            self._store.view_statistics, view, features=features, where=where, start=start, end=end, top=top
        )

    async def catch_up(  # the limit is on the work itself, which goes on in its thread whoever awaits it
        self,
        backend: str | None = None,
        views: Sequence[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> dict[str, CatchUp]:
        """See `Store.catch_up`."""
        return await self._run(self._store.catch_up, backend, views, timeout=timeout)

    async def optimize(self, views: str | Sequence[str] | None = None) -> list[Optimized]:
        """See `Store.optimize`."""
        return await self._run(self._store.optimize, views)

    async def sorted_copies(self, views: str | Sequence[str] | None = None) -> list[SortedCopy]:
        """See `Store.sorted_copies`."""
        return await self._run(self._store.sorted_copies, views)

    async def rebuild(self, backend: str, views: Sequence[str] | None = None, *, from_sources: bool = False) -> CatchUp:
        """See `Store.rebuild`."""
        return await self._run(self._store.rebuild, backend, views, from_sources=from_sources)

    async def diff(
        self, backend: str, other: str, views: Sequence[str] | None = None, *, sample: int = 100, seed: int = 0
    ) -> Diff:
        """See `Store.diff`."""
        return await self._run(self._store.diff, backend, other, views, sample=sample, seed=seed)

    async def journal(self) -> JournalState:
        """See `Store.journal`."""
        return await self._run(self._store.journal)

    async def isolate(self, backend: str) -> None:
        """See `Store.isolate`."""
        await self._run(self._store.isolate, backend)

    async def observe(self, backend: str) -> None:
        """See `Store.observe`."""
        await self._run(self._store.observe, backend)

    async def release(self, backend: str) -> None:
        """See `Store.release`."""
        await self._run(self._store.release, backend)

    async def readmit(self, backend: str, views: Sequence[str] | None = None) -> None:
        """See `Store.readmit`."""
        await self._run(self._store.readmit, backend, views)

    async def health(self, deadline: float = 1.0) -> list[BackendHealth]:
        """See `Store.health`."""
        return await self._run(self._store.health, deadline)

    async def close(self) -> None:
        """See `Store.close`."""
        await self._run(self._store.close)


class _Connecting:
    """What `connect_async` returns: ``async with`` it, or await it."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open = open_store
        self._store: AsyncStore | None = None

    async def _connect(self) -> AsyncStore:
        # Not abandoned when cancelled: a store half opened would keep its files.
        return AsyncStore(await anyio.to_thread.run_sync(self._open))

    def __await__(self) -> Generator[Any, None, AsyncStore]:
        return self._connect().__await__()

    async def __aenter__(self) -> AsyncStore:
        self._store = await self._connect()
        return self._store

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            await self._store.close()


def connect_async(
    config: str | os.PathLike[str] | Mapping[str, Any],
    *,
    clock: Clock | Callable[[], datetime] | None = None,
    plugins: Sequence[object] = (),
) -> _Connecting:
    """Open a feature store whose methods are awaited: ``await`` it, or use it in ``async with``.

    The arguments and errors are those of `e2i_fs.connect`.

    >>> from e2i_fs import connect_async
    >>> import anyio, tempfile
    >>> async def names():
    ...     async with connect_async({"backend": "duckdb", "path": tempfile.mkdtemp()}) as store:
    ...         return await store.list_feature_views()
    >>> anyio.run(names)
    []
    """
    return _Connecting(partial(connect, config, clock=clock, plugins=plugins))
