"""Telemetry as the configuration asks for it: what is missing is said before anything is opened, what was begun ends with the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from e2i_fs.config import TelemetryConfig
from e2i_fs.errors import ConfigError

if TYPE_CHECKING:
    from e2i_fs.telemetry.spans import Spans

__all__ = ["Telemetry"]


@dataclass(frozen=True)
class Telemetry:
    """What watches one store: ``observers`` are plugins that are told of events, ``spans`` opens spans, None where none are wanted."""

    observers: Sequence[object] = ()
    spans: Spans | None = None
    starts: Sequence[Callable[[], Callable[[], None]]] = field(default=())

    @classmethod
    def of(cls, config: TelemetryConfig) -> Telemetry:
        """Return what the configuration asks for, not yet begun. Raises `ConfigError` with what to install."""
        observers: list[object] = []
        starts: list[Callable[[], Callable[[], None]]] = []
        spans: Spans | None = None
        if config.opentelemetry:
            try:
                from e2i_fs.telemetry.otel import OtelMetrics, OtelSpans
            except ImportError as error:
                raise _missing("opentelemetry: true", "opentelemetry-api", "otel") from error
            spans = OtelSpans()
            observers.append(OtelMetrics(config.deadline))
        if config.prometheus is not None:
            try:
                from e2i_fs.telemetry.prometheus import Endpoint, PrometheusMetrics
            except ImportError as error:
                raise _missing("prometheus", "prometheus-client", "prometheus") from error
            metrics = PrometheusMetrics(deadline=config.deadline)
            observers.append(metrics)
            starts.append(Endpoint(metrics, config.prometheus.host, config.prometheus.port).start)
        if config.logs is not None:
            from e2i_fs.telemetry.logs import EventLog, attach

            observers.append(EventLog())
            starts.append(attach)
        return cls(observers, spans, starts)

    def begin(self) -> Callable[[], None]:
        """Begin, and return what ends it. Raises `ConfigError` where an address cannot be listened on."""
        with ExitStack() as begun:
            for start in self.starts:
                begun.callback(start())
            return begun.pop_all().close


def _missing(key: str, distribution: str, extra: str) -> ConfigError:
    return ConfigError(
        f"The configuration asks for telemetry ({key}), and {distribution} is not installed: pip install 'e2i-fs[{extra}]'. "
        "Or leave the key out."
    )
