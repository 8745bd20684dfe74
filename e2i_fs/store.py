"""The one feature store: everything that has a meaning is done here once, over one backend or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from e2i_fs.backend import Backend, Position
from e2i_fs.cached import cached
from e2i_fs.catalog import Catalog, Definition, Plan
from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.config import Config
from e2i_fs.definitions import Entity, FeatureService, FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.entries import performer
from e2i_fs.errors import BackendUnavailableError, UnknownFeatureError
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.operating import Operating
from e2i_fs.ops.ledger import Ledger
from e2i_fs.plugins import Plugins
from e2i_fs.profiled import Profiled
from e2i_fs.question import Answered, PlainQuestion
from e2i_fs.results import HistoricalResult, OnlineResult
from e2i_fs.routing import BackendHealth, Router
from e2i_fs.sources import PushSource
from e2i_fs.telemetry.events import Applied, Event, Retrieved, Written
from e2i_fs.watching import Watching
from e2i_fs.writing import Limits, Target, WriteReceipt, checked, pushed, target_of, write_table

if TYPE_CHECKING:
    from e2i_fs.answering import Answering
    from e2i_fs.discovery import FoundFeature
    from e2i_fs.entries import Progress
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.job_records import JobRecords
    from e2i_fs.ops.jobs import Job, Jobs
    from e2i_fs.ops.materialize import MaterializationReport, MaterializationRun
    from e2i_fs.ops.runs import Runner
    from e2i_fs.ops.settings import MaterializationConfig
    from e2i_fs.receipts import TrainingReceipt, Verification

__all__ = ["Store"]


class Store(Operating, Profiled, Watching):
    """A `FeatureStore` over one backend, or over several behind failover; opened by `connect`.

    Safe to share between threads. Use it as a context manager, or call `close`. Once closed, its methods raise
    `BackendUnavailableError`.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     [view.name for view in store.list_feature_views()]
    ['hcp_stats']
    """

    def __init__(self, router: Router, config: Config, plugins: Plugins, ledger: Ledger, clock: Clock) -> None:
        self._through = router
        self._closed = False
        self._config = config
        self._plugins = plugins
        self._ledger = ledger
        self._perform = performer(ledger, clock)
        self._clock = clock
        self._skew_us = round(config.max_future_skew * 1_000_000)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FeatureStore on {' → '.join(self._through.names)}>"

    def close(self) -> None:
        """Close every backend and file. Calling it twice is harmless.

        >>> from e2i_fs.testing import example_store
        >>> store = example_store()
        >>> store.close()
        >>> store.list_entities()
        Traceback (most recent call last):
        ...
        e2i_fs.errors.BackendUnavailableError: This store is closed. Open it again with connect.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._through.close()
        finally:
            self._plugins.close()
            self._ledger.close()

    @property
    def _router(self) -> Router:
        """The way to the backends, while the store is open."""
        if self._closed:
            raise BackendUnavailableError("This store is closed. Open it again with connect.")
        return self._through

    def emit(self, make: Callable[[datetime], Event]) -> None:
        """Send an event to every observer: ``make`` gets the store's present time and returns the `Event` (G-5).

        ``make`` is not called when nobody listens. An observer that raises is logged; the error does not reach the
        caller.

        >>> import e2i_fs as fs
        >>> class Listener:
        ...     @fs.hookimpl
        ...     def e2i_fs_on_event(self, event: fs.Event) -> None:
        ...         print("heard", type(event).__name__)
        >>> with fs.connect({"backend": "memory"}, plugins=[Listener()]) as store:
        ...     store.emit(fs.Event)
        heard Event
        """
        if self._plugins.is_heard:
            self._plugins.emit(make(self._clock.now()))

    # ---- registering --------------------------------------------------------------------------------------

    def apply(
        self,
        definitions: Sequence[Definition],
        *,
        dry_run: bool = False,
        allow_breaking: bool = False,
        expected: str | None = None,
    ) -> Plan:
        """Register definitions, all or none, and return the `Plan` (R-1).

        ``definitions`` are entities, views, on-demand views and services. ``dry_run=True`` returns the plan and changes
        nothing. ``expected`` is the ``revision`` of the `catalog` that you planned against. Sources that can be reached
        are checked first (R-3), and what is applied can be read immediately (R-5).

        Raises `DefinitionError`; `SchemaMismatchError` when a source does not match its view; `BreakingChangeError` for
        a breaking change without ``allow_breaking=True`` (R-4); `StalePlanError` when the catalogue's revision is no
        longer ``expected``. Unless ``dry_run``, it also raises `UnsupportedError` for a view that a backend cannot
        keep, and `BackendError` when a backend is down: behind failover all of them must be up.

        >>> import e2i_fs as fs
        >>> from e2i_fs.testing import example_store
        >>> visits = fs.FeatureView("visits", entities=["hcp"], schema=[fs.Field("visits", fs.Int64)], source=fs.PushSource("crm_visits"))
        >>> with example_store() as store:
        ...     print(store.apply([visits], dry_run=True).created)
        ...     print(store.apply([visits]).created, store.apply([visits]).unchanged)
        ('view visits',)
        ('view visits',) ('view visits',)
        """
        from e2i_fs.reading import check_source

        definitions = list(definitions) if isinstance(definitions, Iterable) else definitions
        base = self._config.base
        before = self._router.catalog()
        before.require_revision(expected)
        after, plan = before.planned(definitions, base, allow_breaking=allow_breaking)
        named = {definition.name for definition in definitions if isinstance(definition, FeatureView)}
        for name in after.views:  # a view changes with its entities too
            if name in named or (name in before.views and before.fingerprint(name) != after.fingerprint(name)):
                check_source(after.view(name), after.join_keys(name), after.bases[name])
        plan = replace(plan, dry_run=dry_run)
        if dry_run:
            return plan

        def change(current: Catalog) -> Catalog:
            nonlocal plan
            current.require_revision(expected)
            changed, plan = current.planned(definitions, base, allow_breaking=allow_breaking)
            return changed

        self._ledger.forget(n for n in before.views if before.fingerprint(n) != after.fingerprint(n))
        self._router.change(change)
        self.emit(lambda at: Applied(at, plan))
        return plan

    def delete(self, name: str, *, kind: str | None = None) -> Plan:
        """Delete the entity, view, on-demand view or service called ``name``, and return the `Plan` (R-4).

        Deleting a view also deletes the rows written to it; your own source files stay. ``kind`` (``"entity"``,
        ``"view"``, ``"on-demand view"`` or ``"service"``) is needed only when definitions of two kinds have the same
        name. Raises `UnknownFeatureError` when nothing has the name, and `DefinitionError` while another definition
        still uses it or when ``kind`` is needed. Behind failover all backends must be up, or it raises `BackendError`.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     store.delete("hcp_model").removed
        ('service hcp_model',)
        """
        plan = Plan()

        def change(current: Catalog) -> Catalog:
            nonlocal plan
            changed, plan = current.without(name, kind)
            return changed

        removed = (self._router.catalog().kind_of(name, kind), name)
        self._ledger.forget([name] if removed[0] == "view" else [])
        self._router.change(change, removed=removed)
        if removed[0] == "view":
            self._copies.drop(name)
        self.emit(lambda at: Applied(at, plan))
        return plan

    def list_entities(self) -> list[Entity]:
        """Return the registered entities, sorted by name.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(entity.name, dict(entity.join_keys)) for entity in store.list_entities()]
        [('hcp', {'hcp_id': String})]
        """
        return [e for _, e in sorted(self._router.catalog().entities.items())]

    def list_feature_views(self) -> list[FeatureView]:
        """Return the registered feature views, sorted by name; for on-demand views see `list_on_demand_feature_views`.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(view.name, list(view.features)) for view in store.list_feature_views()]
        [('hcp_stats', ['trx_count', 'engagement', 'converted'])]
        """
        catalog = self._router.catalog()
        return [catalog.view(name) for name in sorted(catalog.views)]

    def list_on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Return the registered on-demand views, sorted by name.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     store.list_on_demand_feature_views()
        []
        """
        return [v for _, v in sorted(self._router.catalog().on_demand.items())]

    def list_feature_services(self) -> list[FeatureService]:
        """Return the registered feature services, sorted by name.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(service.name, list(service.features)) for service in store.list_feature_services()]
        [('hcp_model', ['hcp_stats:trx_count', 'hcp_stats:engagement'])]
        """
        return [s for _, s in sorted(self._router.catalog().services.items())]

    def get_feature_view(self, name: str) -> FeatureView:
        """Return the feature view called ``name``. Raises `UnknownFeatureError`, with the nearest names (P-9).

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     store.get_feature_view("hcp_stats").ttl
        datetime.timedelta(days=7)
        """
        return self._router.catalog().view(name)

    def catalog(self) -> Catalog:
        """Return everything that is registered, as one value; its ``revision`` changes when any definition does.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     list(store.catalog().views), list(store.catalog().services)
        (['hcp_stats'], ['hcp_model'])
        """
        return self._router.catalog()

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
        """Return the features that match the words of ``text``, best match first, at most ``limit`` of them.

        Each is a `FoundFeature`. Names, descriptions, tags, join keys, owners and services are searched; without
        ``text`` every feature matches. The other arguments keep only exact matches, ignoring case; ``use_case`` matches
        the ``use_case`` tag of the view or of a service that has the feature. Returns an empty list when nothing
        matches. Raises `RequestError` for an unknown ``dtype`` or ``role``, ``tags`` that are no mapping, or a
        ``limit`` below 1.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(found.ref, found.owner) for found in store.search("engaged", dtype="Float64")]
        [('hcp_stats:engagement', 'crm-team')]
        """
        from e2i_fs.discovery import search

        return search(
            self._router.catalog(), text, freshness=self._freshness_of, use_case=use_case, entity=entity, owner=owner,
            tags=tags, dtype=dtype, role=role, limit=limit,
        )  # fmt: skip

    # ---- reading ------------------------------------------------------------------------------------------

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
        """Return the features of each entity row as they were at that row's time (P-1 to P-12).

        ``entity_df`` is a frame (pandas, polars, Arrow, DuckDB, or a list of mappings) with the join keys, the times in
        ``timestamp_column`` and any other columns. The result has the same rows in the same order: the input columns
        unchanged, then the features (P-6). ``features`` is a list of ``view:feature`` or ``view:*`` references, a
        `FeatureService` or its name. ``full_feature_names=True`` names the outputs ``view__feature``. ``labels`` are
        references of labels wanted as targets (P-12).

        ``filter_by_created_timestamp=True`` uses a source row only if it was already known at the entity row's time;
        ``as_of`` uses it only if it was known by that moment, for all rows (P-3). ``strict=True`` refuses a degraded
        answer (X-7).

        Raises, before any backend is asked for rows, a `RequestError`: `UnknownFeatureError`,
        `FeatureNameCollisionError` (P-9), `LabelRequestedError` (P-12), `InvalidEntityFrameError` (P-11) or
        `InvalidTimestampError` (T-1 to T-3). Raises `BackendError` when a backend cannot answer and, behind failover,
        `NoEligibleBackendError` when none may (X-9) and `DegradedAnswerError` under ``strict``. An on-demand function
        that looks across rows is a `DefinitionError` (P-10).

        >>> from datetime import datetime
        >>> import pyarrow as pa
        >>> from e2i_fs.testing import example_store
        >>> asked = pa.table({"hcp_id": ["hcp_1", "hcp_9"], "event_timestamp": [datetime(2024, 3, 6)] * 2})
        >>> with example_store() as store:
        ...     result = store.get_historical_features(asked, ["hcp_stats:trx_count"])
        ...     known = store.get_historical_features(asked, ["hcp_stats:trx_count"], filter_by_created_timestamp=True)
        >>> result.to_arrow()["trx_count"].to_pylist(), known.to_arrow()["trx_count"].to_pylist()
        ([14, None], [10, None])
        >>> [str(status) for status in result.statuses["hcp_stats:trx_count"]]
        ['PRESENT', 'NOT_FOUND']
        """
        from e2i_fs.backend import Knowledge
        from e2i_fs.historical import EntityFrame, Evidence, asked_of, retrieve
        from e2i_fs.historical import Retrieved as Columns
        from e2i_fs.pit.times import moment_to_us
        from e2i_fs.request import Request, resolve, views_of

        begun = self._clock.monotonic()
        entities = EntityFrame.checked(entity_df, timestamp_column, reject_naive=self._config.reject_naive)
        as_of_us = None if as_of is None else moment_to_us(as_of, "as_of", reject_naive=self._config.reject_naive)
        knowledge = Knowledge(filter_by_created_timestamp, as_of_us)

        def prepare(catalog: Catalog) -> Request:
            request = resolve(catalog, features, labels=labels, full_feature_names=full_feature_names)
            entities.require(request)
            if knowledge.counts:
                request.check_created(catalog)
            return request

        def answer(backend: Backend, catalog: Catalog, request: Request) -> Columns:
            return retrieve(
                backend, catalog, request, entities, knowledge, limits=self._config.engine, copies=self._copies
            )

        answered = self._router.ask(PlainQuestion("historical", prepare, views_of, answer, strict=strict))
        result = answered.value
        provenance = self._with_age(answered, result.newest_event)
        asked = asked_of(answered, entities, knowledge, self._config, full_feature_names, at=self._clock.now())
        ask = partial(self._router.backend, answered.backend)
        evidence = Evidence(ask, answered.catalog, answered.query, entities, knowledge)
        columns, codes, events = result.columns, result.codes, result.events
        self._told("historical", answered, len(entities.times), begun, codes)
        return HistoricalResult(entities.frame, columns, codes, events, provenance, evidence, asked)

    def verify(self, receipt: TrainingReceipt) -> Verification:
        """Recreate the training set of a receipt and compare it, value for value; return a `Verification`.

        ``identical`` is True when nothing differs; otherwise ``differences`` lists what does. That another backend
        answered this time is a note, not a difference. Raises `RequestError` for anything but a `TrainingReceipt`, and
        `BackendError` or `FailoverError` when the store cannot answer.

        >>> from datetime import datetime
        >>> import pyarrow as pa
        >>> from e2i_fs.testing import example_store
        >>> asked = pa.table({"hcp_id": ["hcp_1"], "event_timestamp": [datetime(2024, 3, 6)]})
        >>> with example_store() as store:
        ...     receipt = store.get_historical_features(asked, "hcp_model").receipt
        ...     store.verify(receipt).identical
        True
        """
        from e2i_fs.receipts.verify import verified

        return verified(receipt, self._router.catalog(), self.get_historical_features, self._clock.now())

    def get_online_features(
        self,
        features: Sequence[str] | FeatureService | str,
        entity_rows: Any,
        *,
        full_feature_names: bool = False,
        strict: bool = False,
    ) -> OnlineResult:
        """Return the features of each entity row as they are now, one answer per row, in the rows' order (O-2, O-5).

        ``entity_rows`` is a list of mappings or a frame, with the join keys and the columns that on-demand views need.
        ``features`` is a list of ``view:feature`` or ``view:*`` references, a `FeatureService` or its name;
        ``full_feature_names=True`` names the outputs ``view__feature``. A missing value is None, with a status that
        says why (O-3).

        Raises a `RequestError`: `UnknownFeatureError`, `FeatureNameCollisionError` (P-9), `LabelRequestedError`, since
        labels are never served online (P-12), or `InvalidEntityFrameError` (P-11). Raises `BackendError` or
        `NoEligibleBackendError` when no backend can answer (X-9). With ``strict=True`` it raises `DegradedAnswerError`
        instead of an answer that may have missed a write (X-7).

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     _ = store.materialize_incremental()
        ...     answer = store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "hcp_1"}, {"hcp_id": "hcp_9"}])
        >>> answer.to_dict()
        {'hcp_id': ['hcp_1', 'hcp_9'], 'trx_count': [14, None]}
        >>> [str(status) for status in answer.statuses["hcp_stats:trx_count"]]
        ['PRESENT', 'NOT_FOUND']
        """
        observed = self._plugins.has_observers
        begun = self._clock.monotonic() if observed else 0.0
        answered, result = self._answering.answer(
            self._router, features, entity_rows, full_feature_names, strict=strict
        )
        if observed:
            self._told("online", answered, len(result), begun, result.statuses)
        return result

    @cached
    def _answering(self) -> Answering:
        from e2i_fs.answering import Answering

        return Answering(self._clock, self._config)

    def _with_age(self, answered: Answered[Any, Any], newest_us: int | None) -> Any:
        if newest_us is None:
            return answered.provenance
        return replace(answered.provenance, age=self._clock.now() - from_us(newest_us))

    def _told(self, kind: str, answered: Answered[Any, Any], rows: int, begun: float, statuses: Any) -> None:
        if self._plugins.has_observers:
            from e2i_fs.telemetry.counting import by_view

            p, took = answered.provenance, self._clock.monotonic() - begun
            self.emit(lambda at: Retrieved(at, kind, rows, p.served_by, p.degraded, took, by_view(statuses)))

    # ---- writing ------------------------------------------------------------------------------------------

    def write(
        self, view: str | FeatureView, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> WriteReceipt:
        """Write a batch of rows to one view, and return a `WriteReceipt`: the rows, and which backends took them (W-1).

        ``frame`` is a frame or a list of mappings with the view's join keys, time columns and every field. ``to`` is
        ``"online"``, ``"offline"`` (history) or ``"both"``; the default is ``"both"`` if the view is online, otherwise
        ``"offline"``. Writing twice with the same ``idempotency_key`` writes one batch (W-2); without a key, one is
        derived from the rows.

        Raises `InvalidBatchError` with every problem listed, and writes nothing, if any row does not fit the view or if
        the key was used before with other rows; `UnknownFeatureError` for an unknown view; `RequestError` for another
        ``to``; `UnsupportedError` when the view or the backend cannot take it. Behind failover it raises
        `NoEligibleBackendError` when no backend took the batch: write it again with the same key.

        >>> from datetime import datetime
        >>> from e2i_fs.testing import example_store
        >>> row = {"hcp_id": "hcp_3", "event_timestamp": datetime(2024, 3, 9), "created_at": datetime(2024, 3, 9),
        ...        "trx_count": 5, "engagement": 0.7, "converted": None}
        >>> with example_store() as store:
        ...     receipt = store.write("hcp_stats", [row], to="both")
        ...     store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "hcp_3"}]).to_dict()
        {'hcp_id': ['hcp_3'], 'trx_count': [5]}
        >>> receipt.rows, receipt.applied
        (1, ('memory',))
        """
        name = view.name if isinstance(view, FeatureView) else view
        catalog = self._router.catalog()
        target = target_of(catalog.view(name), to)
        return self._write(catalog, name, checked(catalog, name, frame, self._limits()), target, idempotency_key)

    def push(
        self, push_source: str | PushSource, frame: Any, to: Target | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, WriteReceipt]:
        """Write rows to every view fed by a push source, each its own columns; return a `WriteReceipt` by view.

        ``frame``, ``to`` and ``idempotency_key`` are those of `write`, and so are the errors. All views' rows are
        checked before any is written (W-1). Raises `UnknownFeatureError`, with the nearest names, for an unknown push
        source.

        >>> from datetime import datetime
        >>> from e2i_fs.testing import example_store
        >>> row = {"hcp_id": "hcp_3", "event_timestamp": datetime(2024, 3, 9), "created_at": datetime(2024, 3, 9),
        ...        "trx_count": 5, "engagement": 0.7, "converted": None}
        >>> with example_store() as store:
        ...     {view: receipt.rows for view, receipt in store.push("crm", [row]).items()}
        {'hcp_stats': 1}
        """
        catalog = self._router.catalog()
        name = push_source.name if isinstance(push_source, PushSource) else push_source
        tables = pushed(catalog, name, frame, self._limits())
        targets = {view: target_of(catalog.view(view), to) for view in tables}
        return {v: self._write(catalog, v, table, targets[v], idempotency_key) for v, table in tables.items()}

    def _write(self, catalog: Catalog, view: str, table: Any, to: Target, key: str | None) -> WriteReceipt:
        receipt = write_table(self._router, catalog, catalog.view(view), table, to, key, self._perform)
        self.emit(lambda at: Written(at, view, receipt.rows, to))
        return receipt

    def _limits(self) -> Limits:
        return Limits(to_us(self._clock.now()), self._skew_us, self._config.reject_naive)

    # ---- running ------------------------------------------------------------------------------------------

    @cached
    def _runs(self) -> Runner:
        from e2i_fs.ops.runs import Runner

        return Runner(lambda: self._router, self._config, self._ledger, self._perform, self._clock, self.emit)

    def materialize(
        self,
        start: datetime | None,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        progress: Progress | None = None,
        batch: timedelta | None = None,
        timeout: float | None = None,
        dry_run: bool = False,
    ) -> MaterializationReport:
        """Copy the newest row of each key with ``start <= event time <= end`` from history to online; return a report.

        ``start=None`` means from the beginning; ``end`` is at most now, and now by default. ``views`` are names; all
        online views by default. The report has one `MaterializationRun` per view and backend, each recorded (W-4).
        After a run from the beginning up to now, online and historical-at-now agree (O-6). ``batch`` reads the window
        in pieces of that length; a run that failed is resumed by the next. ``timeout`` limits the run of one view, in
        seconds. ``progress(view, done, total)`` is called with numbers of rows. ``dry_run=True`` only counts the rows
        to read and to write.

        Raises `RequestError` for an empty window or a ``batch`` that is not positive, `UnknownFeatureError` for an
        unknown view, `UnsupportedError` for one that is not online, `RunOverlapError` when another run of the view has
        been going on for a minute, and `RunTimeoutError` after ``timeout`` (W-4). Raises `BackendError` or
        `FailoverError` only when no backend could do it; a backend that failed while another succeeded is in the
        report's ``failed``.

        >>> from datetime import datetime
        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     report = store.materialize(None, datetime(2024, 3, 6))
        ...     [(run.view, run.outcome, run.rows_written) for run in report.runs]
        [('hcp_stats', 'succeeded', 1)]
        """
        from e2i_fs.ops.runs import Wanted

        wanted = Wanted("full", self._named(self._router.catalog(), views), start, end, batch, timeout, progress)
        return self._runs.preview(wanted) if dry_run else self._runs.run(wanted)

    def materialize_incremental(
        self,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        progress: Progress | None = None,
        timeout: float | None = None,
        dry_run: bool = False,
    ) -> MaterializationReport:
        """Copy to online whatever arrived since the last run, late rows included (W-3); return a report of the runs.

        The other arguments and the errors are those of `materialize`.

        >>> from datetime import datetime
        >>> from e2i_fs.testing import example_store
        >>> late = {"hcp_id": "hcp_2", "event_timestamp": datetime(2024, 3, 9), "created_at": datetime(2024, 3, 10),
        ...         "trx_count": 8, "engagement": 0.1, "converted": None}
        >>> with example_store() as store:
        ...     _ = store.materialize_incremental()
        ...     _ = store.push("crm", [late], to="offline")
        ...     _ = store.materialize_incremental()
        ...     store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "hcp_2"}]).to_dict()
        {'hcp_id': ['hcp_2'], 'trx_count': [8]}
        """
        from e2i_fs.ops.runs import Wanted

        chosen = self._named(self._router.catalog(), views)
        wanted = Wanted("incremental", chosen, None, end, timeout=timeout, progress=progress)
        return self._runs.preview(wanted) if dry_run else self._runs.run(wanted)

    def jobs(
        self,
        settings: MaterializationConfig | str | Mapping[str, Any] | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        again: Callable[[Job, float], None] | None = None,
    ) -> Jobs:
        """Return `Jobs`, to materialise with time limits, retries, batches and records, by ``settings``.

        ``settings`` is the path of a materialisation.yaml, a mapping or a `MaterializationConfig`; None uses the
        configuration's ``materialisation``. ``sleep(seconds)`` waits between two tries. Before each retry
        ``again(job, seconds)`` is called, if given, with the `Job` as its last try left it and the seconds to wait.
        Raises `ConfigError` for an unknown key or view.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     report = store.jobs({"full": {"lookback_days": 3}}).incremental()
        >>> [(job.view, job.outcome) for job in report.jobs]
        [('hcp_stats', 'succeeded')]
        """
        from e2i_fs.ops.jobs import Jobs
        from e2i_fs.ops.settings import load_settings

        chosen = load_settings(self._config.materialisation if settings is None else settings, self._config.base)
        chosen.check_views(self._router.catalog().views, "materialisation")

        def views(names: Sequence[str] | None) -> list[str]:
            return self._named(self._router.catalog(), names)

        checks = self._checks(lambda view: self._freshness_of(view, chosen), chosen)
        return Jobs(self._runs, views, chosen, self._job_records, self._clock, sleep, checks=checks, again=again)

    @cached
    def _job_records(self) -> JobRecords:
        from e2i_fs.ops.job_records import JobRecords

        return JobRecords(self._ledger.records)

    def materialization_runs(self, view: str | None = None, limit: int = 100) -> list[MaterializationRun]:
        """Return the records of past runs, the newest first, at most ``limit``: of one view, or of all (W-4).

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     _ = store.materialize_incremental()
        ...     [(run.view, run.mode, run.outcome) for run in store.materialization_runs()]
        [('hcp_stats', 'incremental', 'succeeded')]
        """
        return self._runs.records(view, limit)

    def freshness(self, views: Sequence[str] | None = None, *, tell: bool = True) -> dict[str, FreshnessReport]:
        """Return a `FreshnessReport` by view name, for each online view or for those named (F-1 to F-3).

        Each check is reported to observers as an event; pass ``tell=False`` to skip that, for example in a polling
        loop. A view that is deleted meanwhile is left out. Raises `UnknownFeatureError` for an unknown view that was
        named, and `BackendError` or `FailoverError` when no backend can answer.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     _ = store.materialize_incremental()
        ...     report = store.freshness()["hcp_stats"]
        >>> print(report.status, report.age, report.max_staleness)
        STALE 2 days, 12:00:00 2 days, 0:00:00
        """
        from e2i_fs.ops.freshness import told

        reports = {}
        for name in self._named(self._router.catalog(), views):
            try:
                reports[name] = self._freshness_of(name, tell=tell)
            except UnknownFeatureError:
                if views is not None:
                    raise  # else it was deleted since, and nobody has named it
        if tell:
            told(reports.values(), self.emit)
        return reports

    def _freshness_of(
        self, view: str, settings: MaterializationConfig | None = None, *, tell: bool = True
    ) -> FreshnessReport:
        from e2i_fs.ops.freshness import report_of

        def position(backend: Backend, _: Catalog, views: list[str]) -> Position:
            return backend.position(views[0])

        question = PlainQuestion(
            "online", lambda catalog: [catalog.view(view).name], lambda views: views, position, told=tell
        )
        answered = self._router.ask(question)
        limit, settings = answered.catalog.views[view].max_staleness, settings or self._config.materialisation
        warning = None
        if settings is not None:
            limit, warning = settings.max_staleness(view, limit), settings.warning(view, limit)
        return report_of(view, answered.value, limit, self._clock.now(), answered.provenance, warning=warning)

    def health(self, deadline: float = 1.0) -> list[BackendHealth]:
        """Ask each backend whether it is up, within ``deadline`` seconds each; return their `BackendHealth`.

        A backend that is down is reported, not raised.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(backend.name, backend.up) for backend in store.health()]
        [('memory', True)]
        """
        return self._router.health(deadline)
