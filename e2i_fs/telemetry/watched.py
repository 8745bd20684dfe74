"""The store when somebody observes it: each operation timed and told. One that nobody observes is a plain `Store`, and pays nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar

from e2i_fs.cached import cached
from e2i_fs.errors import BackendError, E2IError, FailoverError, NoEligibleBackendError, RunTimeoutError
from e2i_fs.ops.runs import Runner, Wanted
from e2i_fs.results import Attempt, Provenance
from e2i_fs.store import Store
from e2i_fs.telemetry import names
from e2i_fs.telemetry.events import OperationEnded
from e2i_fs.telemetry.names import Operation
from e2i_fs.telemetry.spans import UNTRACED, Span, Spans

if TYPE_CHECKING:
    from e2i_fs.clock import Clock
    from e2i_fs.config import Config
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.ledger import Ledger
    from e2i_fs.ops.materialize import MaterializationReport
    from e2i_fs.plugins import Plugins
    from e2i_fs.results import HistoricalResult, OnlineResult
    from e2i_fs.routing import Router
    from e2i_fs.telemetry.setup import Telemetry
    from e2i_fs.writing import WriteReceipt

__all__ = ["WatchedStore"]

P = ParamSpec("P")
T = TypeVar("T")
_Method = Callable[Concatenate["WatchedStore", P], T]

_FAULTS = (BackendError, FailoverError, RunTimeoutError)
"""The errors of e2i_fs that are no fault of what was asked."""


class _Said(NamedTuple):
    """What the result of an operation, or its error, says of it."""

    outcome: str = "ok"
    views: tuple[str, ...] = ()
    rows: int = 0
    served_by: str = ""
    attempts: tuple[Attempt, ...] = ()
    error: str | None = None


def _of_history(answer: HistoricalResult) -> _Said:
    return _of_answer(answer.provenance, len(answer))


def _of_lookup(answer: OnlineResult) -> _Said:
    return _of_answer(answer.provenance, len(next(iter(answer.statuses.values()), ())))


def _of_answer(provenance: Provenance, rows: int) -> _Said:
    outcome = "degraded" if provenance.degraded else "ok"
    return _Said(outcome, tuple(provenance.fingerprints), rows, provenance.served_by, provenance.attempts)


def _of_write(receipt: WriteReceipt) -> _Said:
    return _Said(views=(receipt.view,), rows=receipt.rows)


def _of_push(receipts: Mapping[str, WriteReceipt]) -> _Said:
    return _Said(views=tuple(receipts), rows=sum(receipt.rows for receipt in receipts.values()))


def _of_runs(report: MaterializationReport) -> _Said:
    return _Said(views=_distinct(run.view for run in report.runs))


def _of_plan(_: object) -> _Said:
    return _Said()


def _of_freshness(reports: Mapping[str, FreshnessReport]) -> _Said:
    return _Said("degraded" if any(r.degraded for r in reports.values()) else "ok", tuple(reports))


def _of_error(error: BaseException) -> _Said:
    attempts = error.attempts if isinstance(error, NoEligibleBackendError) else ()
    refused = isinstance(error, E2IError) and not isinstance(error, _FAULTS)
    return _Said("refused" if refused else "failed", attempts=attempts, error=type(error).__name__)


def _distinct(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))


def _watched(operation: Operation, said: Callable[[Any], _Said]) -> Callable[[_Method[P, T]], _Method[P, T]]:
    """Return what makes a method of the store one that is told of, with what ``said`` finds in its result."""

    def around(method: _Method[P, T]) -> _Method[P, T]:
        @functools.wraps(method)
        def call(self: WatchedStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
            begun = self._clock.monotonic()
            with self._spans.span(operation.span) as span:
                try:
                    result = method(self, *args, **kwargs)
                except BaseException as error:
                    self._ended(operation, _of_error(error), begun, span)
                    span.failed(error)
                    raise
                self._ended(operation, said(result), begun, span)
                return result

        return call

    return around


class WatchedStore(Store):
    """A `Store` that tells observers of every operation (`OperationEnded`), and opens a span around it where there is tracing."""

    def __init__(
        self, router: Router, config: Config, plugins: Plugins, ledger: Ledger, clock: Clock, spans: Spans = UNTRACED
    ) -> None:
        super().__init__(router, config, plugins, ledger, clock)
        self._spans = spans
        self._ends: Callable[[], None] = lambda: None

    @classmethod
    def opened(
        cls, router: Router, config: Config, plugins: Plugins, ledger: Ledger, clock: Clock, telemetry: Telemetry | None
    ) -> Self:
        """Return the store, with its telemetry begun and those who watch told of it.

        Raises `ConfigError`, with nothing left open, when telemetry cannot begin.
        """
        store = cls(
            router, config, plugins, ledger, clock, UNTRACED if telemetry is None else telemetry.spans or UNTRACED
        )
        plugins.opened(store)
        if telemetry is not None:
            try:
                store._ends = telemetry.begin()
            except BaseException:
                store.close()
                raise
        return store

    @property
    def backend_names(self) -> tuple[str, ...]:
        """The names of the backends, the primary first."""
        return self._through.names

    @property
    def traced(self) -> bool:
        """Whether its operations open spans."""
        return self._spans is not UNTRACED

    def close(self) -> None:
        """Let go of every backend and file, and tell those who watch. Calling it twice is harmless."""
        if not self._closed:
            self._ends()
            self._plugins.closing(self)
        super().close()

    get_historical_features = _watched(names.HISTORICAL, _of_history)(Store.get_historical_features)
    get_online_features = _watched(names.ONLINE, _of_lookup)(Store.get_online_features)
    write = _watched(names.WRITE, _of_write)(Store.write)
    push = _watched(names.PUSH, _of_push)(Store.push)
    apply = _watched(names.APPLY, _of_plan)(Store.apply)
    delete = _watched(names.DELETE, _of_plan)(Store.delete)
    materialize = _watched(names.MATERIALIZE, _of_runs)(Store.materialize)
    materialize_incremental = _watched(names.MATERIALIZE_INCREMENTAL, _of_runs)(Store.materialize_incremental)
    _checked = _watched(names.FRESHNESS_CHECK, _of_freshness)(Store.freshness)

    def freshness(self, views: Sequence[str] | None = None, *, tell: bool = True) -> dict[str, FreshnessReport]:
        """See `Store.freshness`; a look that nobody is told of is no operation either."""
        return self._checked(views) if tell else super().freshness(views, tell=False)

    @cached
    def _runs(self) -> Runner:
        return _TracedRunner(
            lambda: self._router, self._config, self._ledger, self._perform, self._clock, self.emit, self._spans
        )

    def _ended(self, operation: Operation, said: _Said, begun: float, span: Span) -> None:
        if span.recording:
            span.add({
                names.AT_OPERATION: operation.name, names.AT_PROJECT: self._config.project, names.AT_OUTCOME: said.outcome,
                names.AT_VIEWS: said.views, names.AT_ROWS: said.rows,
            })  # fmt: skip
            if said.served_by:
                span.add({names.AT_BACKEND: said.served_by, names.AT_DEGRADED: said.outcome == "degraded"})
        took = self._clock.monotonic() - begun
        self.emit(
            lambda at: OperationEnded(
                at, operation.name, said.outcome, took, said.error, said.served_by, said.rows, said.views, said.attempts
            )
        )


class _TracedRunner(Runner):
    """Opens a span around each run of materialisation, whether it was asked for by itself or by a job."""

    def __init__(self, *args: Any) -> None:
        *rest, self._spans = args
        super().__init__(*rest)

    def run(self, wanted: Wanted) -> MaterializationReport:
        """See `Runner.run`."""
        with self._spans.span(names.SPAN_RUN) as span:
            if span.recording:
                span.add({names.AT_MODE: wanted.mode, names.AT_VIEWS: tuple(wanted.views)})
                span.add({names.AT_JOB: wanted.job} if wanted.job else {})
            try:
                return super().run(wanted)
            except BaseException as error:
                span.failed(error)
                raise
