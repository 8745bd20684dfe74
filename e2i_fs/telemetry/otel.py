"""Spans and metrics through OpenTelemetry's API: whatever SDK the process has configured gets them, and none gets nothing."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import SpanKind, StatusCode

from e2i_fs import __version__
from e2i_fs.forks import renew_after_fork
from e2i_fs.plugins import hookimpl
from e2i_fs.telemetry import names
from e2i_fs.telemetry.events import Event
from e2i_fs.telemetry.measuring import Measurement, measured
from e2i_fs.telemetry.names import METRICS, PULLED, Kind, Metric
from e2i_fs.telemetry.spans import Span, Value
from e2i_fs.telemetry.state import StateReader

if TYPE_CHECKING:
    from e2i_fs.telemetry.watched import WatchedStore

__all__ = ["OtelMetrics", "OtelSpans", "under_caller"]

SCOPE = "e2i_fs"


class _Open:
    """One span of OpenTelemetry's."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.recording = span.is_recording()

    def add(self, attributes: Mapping[str, Value]) -> None:
        """See `Span.add`."""
        self._span.set_attributes(attributes)

    def failed(self, error: BaseException) -> None:
        """See `Span.failed`: an ``exception`` event by OpenTelemetry's conventions, without the message."""
        if not self.recording:
            return
        kind = type(error).__name__
        frames = "".join(traceback.format_tb(error.__traceback__))
        self._span.add_event("exception", {"exception.type": kind, "exception.stacktrace": frames})
        self._span.set_attribute(names.AT_ERROR, kind)
        self._span.set_status(StatusCode.ERROR, kind)


class OtelSpans:
    """Opens spans with the process's tracer, each under the current one."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer(SCOPE, __version__)

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        """See `Spans.span`."""
        with self._tracer.start_as_current_span(
            name, kind=SpanKind.INTERNAL, record_exception=False, set_status_on_exception=False
        ) as span:
            yield _Open(span)


@contextmanager
def under_caller(headers: Mapping[str, str]) -> Iterator[None]:
    """Put the block under the span that HTTP headers tell of (``traceparent``), by the process's propagators."""
    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


class OtelMetrics:
    """A plugin that counts events into the process's meter, and lets it read the state of its stores."""

    def __init__(self, deadline: float = 2.0) -> None:
        self._deadline = deadline
        meter = metrics.get_meter(SCOPE, __version__)
        self._tell: dict[str, Callable[..., None]] = {
            metric.name: _instrument(meter, metric) for metric in METRICS if not metric.pulled
        }
        self._attributes: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}  # made once: they are few
        for metric in PULLED:
            _observable(meter, metric)
        self._readers: dict[WatchedStore, StateReader] = {}

    @hookimpl
    def e2i_fs_on_event(self, event: Event) -> None:
        """Count it."""
        for metric, value, labels in measured(event):
            attributes = self._attributes.get((metric.name, labels))
            if attributes is None:
                attributes = self._attributes[metric.name, labels] = _attributes(metric, labels)
            self._tell[metric.name](value, attributes)

    @hookimpl
    def e2i_fs_on_open(self, store: WatchedStore) -> None:
        """Let the state of the store be read from now on."""
        reader = self._readers[store] = StateReader(store, self._deadline)
        _PULLED.add(reader)

    @hookimpl
    def e2i_fs_on_close(self, store: WatchedStore) -> None:
        """Read its state no more."""
        reader = self._readers.pop(store)
        _PULLED.discard(reader)
        reader.close()


class _Pulled:
    """The stores of this process whose state is read. OpenTelemetry's meter is one for the process, and forgets no callback.

    One collection calls back for each metric: the state is read at the first of them, and once.
    """

    def __init__(self) -> None:
        self._readers: WeakSet[StateReader] = WeakSet()
        self.renew()
        renew_after_fork(self)
        self._read: dict[Metric, list[Measurement]] = {}
        self._told: set[Metric] = set()

    def renew(self) -> None:
        """Begin anew in a forked child: whoever held the lock is in the parent."""
        self._lock = threading.Lock()

    def add(self, reader: StateReader) -> None:
        with self._lock:
            self._readers.add(reader)

    def discard(self, reader: StateReader) -> None:
        with self._lock:
            self._readers.discard(reader)

    def observed(self, metric: Metric) -> list[Measurement]:
        with self._lock:
            if not self._told or metric in self._told:  # a new collection has begun
                self._told, self._read = set(), {}
                for reader in list(self._readers):
                    state = reader.read()
                    for measurement in () if state is None else state.measured():
                        self._read.setdefault(measurement.metric, []).append(measurement)
            self._told.add(metric)
            return self._read.get(metric, [])


_PULLED = _Pulled()


def _instrument(meter: metrics.Meter, metric: Metric) -> Callable[..., None]:
    if metric.kind is Kind.HISTOGRAM:
        made = meter.create_histogram(
            metric.name, metric.unit, metric.help, explicit_bucket_boundaries_advisory=metric.buckets
        )
        return made.record
    return meter.create_counter(metric.name, metric.unit, metric.help).add


def _observable(meter: metrics.Meter, metric: Metric) -> None:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(m.value, _attributes(metric, m.labels)) for m in _PULLED.observed(metric)]

    create: Any = meter.create_observable_counter if metric.kind is Kind.COUNTER else meter.create_observable_gauge
    create(metric.name, [observe], metric.unit, metric.help)


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    """Return labels as attributes; one that says nothing is left out."""
    return {label.name: value for label, value in zip(metric.labels, labels, strict=True) if value}
