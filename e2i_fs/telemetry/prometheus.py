"""Metrics for Prometheus: kept in a registry of their own (or the one given), read over HTTP or by the feature server's ``/metrics``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from e2i_fs.errors import ConfigError, unstopped
from e2i_fs.plugins import hookimpl
from e2i_fs.telemetry.events import Event
from e2i_fs.telemetry.measuring import measured
from e2i_fs.telemetry.names import METRICS, PULLED, Kind, Metric
from e2i_fs.telemetry.state import StateReader

if TYPE_CHECKING:
    from e2i_fs.telemetry.watched import WatchedStore

__all__ = ["Endpoint", "PrometheusMetrics"]


class PrometheusMetrics(Collector):
    """A plugin that counts events, and reads the state of the store at each scrape.

    Give it to `connect` to have the metrics in a registry that the process tells already:
    ``fs.connect("e2i_fs.yaml", plugins=[PrometheusMetrics(prometheus_client.REGISTRY)])``. ``deadline`` is how many seconds
    reading the state may take. The configuration's ``telemetry: {prometheus: ...}`` needs no code.

    >>> import e2i_fs as fs
    >>> told = PrometheusMetrics()
    >>> with fs.connect({"backend": "memory"}, plugins=[told]) as store:
    ...     _ = store.apply([fs.Entity("hcp")])
    ...     told.registry.get_sample_value("e2i_fs_definitions_changed_total", {"change": "created"})
    1.0
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, deadline: float = 2.0) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._deadline = deadline
        self._families: dict[Metric, Any] = {
            metric: _family(metric, self.registry) for metric in METRICS if not metric.pulled
        }
        self._children: dict[tuple[str, tuple[str, ...]], Callable[[float], None]] = {}
        self._readers: dict[WatchedStore, StateReader] = {}
        self.registry.register(self)

    @hookimpl
    def e2i_fs_on_event(self, event: Event) -> None:
        """Count it."""
        for metric, value, labels in measured(event):
            tell = self._children.get((metric.name, labels))
            if tell is None:
                family = self._families[metric]
                child = family.labels(*labels) if labels else family
                tell = self._children[metric.name, labels] = (
                    child.observe if metric.kind is Kind.HISTOGRAM else child.inc
                )
            tell(value)

    @hookimpl
    def e2i_fs_on_open(self, store: WatchedStore) -> None:
        """Let the state of the store be read from now on."""
        self._readers[store] = StateReader(store, self._deadline)

    @hookimpl
    def e2i_fs_on_close(self, store: WatchedStore) -> None:
        """Read its state no more; what was counted stays."""
        self._readers.pop(store).close()

    def describe(self) -> Iterable[Any]:
        """Yield the pulled metrics without reading anything: what registering needs to know."""
        return [_pulled(metric) for metric in PULLED]

    def collect(self) -> Iterable[Any]:
        """Read the state of the store now, and yield it."""
        found: dict[tuple[Metric, tuple[str, ...]], float] = {}  # of two stores of the same names, the later one's
        for reader in list(self._readers.values()):
            state = reader.read()
            if state is not None:
                found |= {(metric, labels): value for metric, value, labels in state.measured()}
        families = {metric: _pulled(metric) for metric in PULLED}
        for (metric, labels), value in found.items():
            families[metric].add_metric(labels, value)
        return families.values()


class Endpoint:
    """Where Prometheus scrapes one store's metrics."""

    def __init__(self, metrics: PrometheusMetrics, host: str, port: int) -> None:
        self._metrics = metrics
        self._host = host
        self._port = port

    def start(self) -> Callable[[], None]:
        """Listen, and return what ends it. Raises `ConfigError` when the address cannot be had."""
        where = f"{self._host}:{self._port}"
        try:
            server, thread = start_http_server(self._port, self._host, self._metrics.registry)
        except OSError as error:
            raise ConfigError(
                f"telemetry, prometheus: {where} cannot be listened on: {unstopped(error)}. Another process or store of this "
                "one may have the port; give each a port of its own, or leave the key out here."
            ) from error

        begun_by = os.getpid()

        def end() -> None:
            if os.getpid() == begun_by:  # in a forked child nobody serves, who could be told to stop
                server.shutdown()
                thread.join()
            server.server_close()

        return end


def _family(metric: Metric, registry: CollectorRegistry) -> Counter | Histogram:
    labels = [label.prometheus for label in metric.labels]
    if metric.kind is Kind.HISTOGRAM:
        return Histogram(metric.family, metric.help, labels, registry=registry, buckets=metric.buckets)
    return Counter(metric.family, metric.help, labels, registry=registry)


def _pulled(metric: Metric) -> Any:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return kind(metric.family, metric.help, labels=[label.prometheus for label in metric.labels])
