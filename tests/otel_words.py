"""OpenTelemetry in memory: the SDK that this process has, once, and what it was told since a test began."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

__all__ = ["Telemetry", "telemetry"]


@cache
def _exporter() -> InMemorySpanExporter:
    """Have the process's tracer keep spans; it can be set once in a process."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@cache
def _provider() -> MeterProvider:
    provider = MeterProvider()
    metrics.set_meter_provider(provider)
    return provider


class Telemetry:
    """What was told."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self._reader = reader

    def spans(self) -> list[Any]:
        """Return the spans that ended, in that order."""
        return list(_exporter().get_finished_spans())

    def metrics(self) -> list[Any]:
        """Collect, and return the metrics."""
        data = self._reader.get_metrics_data()
        scopes = [] if data is None else [s for r in data.resource_metrics for s in r.scope_metrics]
        return [metric for scope in scopes if scope.scope.name == "e2i_fs" for metric in scope.metrics]


@contextmanager
def telemetry() -> Iterator[Telemetry]:
    """Begin with nothing told, and end with nothing kept."""
    _exporter().clear()
    reader = InMemoryMetricReader()
    _provider().add_metric_reader(reader)
    try:
        yield Telemetry(reader)
    finally:
        _provider().remove_metric_reader(reader)
        _exporter().clear()
