"""What a server needs to tell its store's telemetry along with its own: one registry, and the callers' traces."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from e2i_fs.server.counts import Counts, counts
from e2i_fs.store import Store
from e2i_fs.telemetry.watched import WatchedStore

__all__ = ["Watching"]


class Watching:
    """``plugins`` to open the store with, and the server's ``counts``, which tell what those counted too."""

    def __init__(self) -> None:
        self.plugins: Sequence[object] = ()
        if importlib.util.find_spec("prometheus_client") is None:
            self.counts: Counts = counts()
            return
        from e2i_fs.telemetry.prometheus import PrometheusMetrics

        metrics = PrometheusMetrics()
        self.plugins = (metrics,)
        self.counts = counts(metrics.registry)

    def caller(self, store: Store) -> Callable[[Mapping[str, str]], AbstractContextManager[None]]:
        """Return what puts a request's work under the trace of who sent it; nothing, unless the store has OpenTelemetry."""
        if not isinstance(store, WatchedStore) or not store.traced:
            return lambda _: nullcontext()
        from e2i_fs.telemetry.otel import under_caller

        return under_caller
