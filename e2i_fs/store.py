"""The one feature store: everything that has a meaning is done here once, over one backend or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from e2i_fs.backend import Backend
from e2i_fs.cached import cached
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.config import Config
from e2i_fs.definitions import FeatureService, FeatureView
from e2i_fs.entries import performer
from e2i_fs.errors import BackendUnavailableError
from e2i_fs.operating import Operating
from e2i_fs.ops.ledger import Ledger
from e2i_fs.plugins import Plugins
from e2i_fs.profiled import Profiled
from e2i_fs.question import Answered, PlainQuestion
from e2i_fs.registering import Registering
from e2i_fs.results import HistoricalResult, OnlineResult
from e2i_fs.routing import BackendHealth, Router
from e2i_fs.running import Running
from e2i_fs.sources import PushSource
from e2i_fs.telemetry.events import Event, Retrieved, Written
from e2i_fs.watching import Watching
from e2i_fs.writing import Limits, Target, WriteReceipt, checked, pushed, target_of, write_table

if TYPE_CHECKING:
    from e2i_fs.answering import Answering
    from e2i_fs.receipts import TrainingReceipt, Verification

__all__ = ["Store"]


class Store(Operating, Watching, Running, Registering, Profiled):
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

    def health(self, deadline: float = 1.0) -> list[BackendHealth]:
        """Ask each backend whether it is up, within ``deadline`` seconds each; return their `BackendHealth`.

        A backend that is down is reported, not raised.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(backend.name, backend.up) for backend in store.health()]
        [('memory', True)]
        """
        return self._router.health(deadline)
