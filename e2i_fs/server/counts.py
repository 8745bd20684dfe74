"""What the server counts of itself, and the one seam through which ``/metrics`` tells it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from e2i_fs.errors import UnsupportedError
from e2i_fs.telemetry import names

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["Counts", "Exposed", "Prometheus", "Uncounted", "counts"]


@dataclass(frozen=True, slots=True)
class Exposed:
    """The text of ``/metrics``, and its media type."""

    content: bytes
    media_type: str


class Counts(Protocol):
    """Counts requests, and tells what it counted."""

    def begun(self) -> None:
        """Count a request that has come."""
        ...

    def ended(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answer: ``path`` is the path as the server has it (``/v1/catalogue/{name}``), never as it was asked."""
        ...

    def exposed(self) -> Exposed:
        """Return what was counted. Raises `UnsupportedError` when nothing is."""
        ...


class Uncounted:
    """Counts nothing, where ``prometheus_client`` is not installed."""

    def begun(self) -> None:
        """Count nothing."""

    def ended(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count nothing."""

    def exposed(self) -> Exposed:
        """Raise `UnsupportedError` with what to install."""
        raise UnsupportedError("prometheus-client is not installed: pip install prometheus-client.")


class Prometheus:
    """Counts in a registry of its own, which is no other's, or in the one given: what is in it already is told as well."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry() if registry is None else registry
        asked, took, now = names.HTTP
        self._requests: Any = Counter(asked.family, asked.help, _labels(asked), registry=self._registry)
        self._seconds: Any = Histogram(
            took.family, took.help, _labels(took), registry=self._registry, buckets=took.buckets
        )
        self._under_way: Any = Gauge(now.family, now.help, registry=self._registry)

    def begun(self) -> None:
        """Count a request that has come."""
        self._under_way.inc()

    def ended(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._under_way.dec()
        self._requests.labels(method, path, status).inc()
        self._seconds.labels(method, path).observe(seconds)

    def exposed(self) -> Exposed:
        """Return all that was counted in Prometheus's text format."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Exposed(generate_latest(self._registry), CONTENT_TYPE_LATEST)


def _labels(metric: names.Metric) -> list[str]:
    return [label.prometheus for label in metric.labels]


def counts(registry: CollectorRegistry | None = None) -> Counts:
    """Return what counts requests: `Prometheus` where its library is installed, in ``registry`` if there is one.

    >>> counts().begun()
    """
    return Uncounted() if importlib.util.find_spec("prometheus_client") is None else Prometheus(registry)
