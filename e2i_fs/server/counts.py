"""What the server counts of itself, and the one seam through which ``/metrics`` tells it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

from e2i_fs.errors import UnsupportedError

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
    """Counts in a registry of its own, which is no other's."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        at = ("method", "path")
        self._requests: Any = Counter(
            "e2i_fs_http_requests", "Requests answered.", (*at, "status"), registry=self._registry
        )
        self._seconds: Any = Histogram(
            "e2i_fs_http_request_duration_seconds", "Seconds from a request's head to the end of its answer.", at,
            registry=self._registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip
        self._under_way: Any = Gauge("e2i_fs_http_requests_in_progress", "Requests under way.", registry=self._registry)

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


def counts() -> Counts:
    """Return what counts requests: `Prometheus` where its library is installed.

    >>> counts().begun()
    """
    return Uncounted() if importlib.util.find_spec("prometheus_client") is None else Prometheus()
