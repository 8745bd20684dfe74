"""An online read of one entity without telemetry, and with each kind of it: ``python -m benchmarks.telemetry [--quick]``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

import e2i_fs as fs
from benchmarks.harness import Row, interleaved
from e2i_fs.store import Store
from e2i_fs.telemetry.logs import EventLog, JsonFormatter
from e2i_fs.telemetry.otel import OtelMetrics
from e2i_fs.telemetry.prometheus import PrometheusMetrics

NOW = datetime(2024, 6, 1, tzinfo=UTC)
TIMES = 20  # reads in one measurement: one alone is shorter than the noise


class _Nothing:
    """An observer that does nothing with what it is told."""

    @fs.hookimpl
    def e2i_fs_on_event(self, event: fs.Event) -> None:
        """Do nothing."""


class _Nowhere(logging.Handler):
    """Makes the line, and keeps it nowhere."""

    def emit(self, record: logging.LogRecord) -> None:
        """Make the line."""
        self.format(record)


def _sdk() -> None:
    """Configure an SDK whose spans and metrics are made, and go nowhere."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))


def run(*, quick: bool) -> tuple[str, list[Row]]:
    """Return a title and the measurements."""
    handler = _Nowhere()
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("e2i_fs.events")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    folder = tempfile.mkdtemp()
    fields = [fs.Field(f"f{j}", fs.Float64) for j in range(10)]
    view = fs.FeatureView("v", entities=[fs.Entity("hcp_id")], schema=fields, ttl=timedelta(days=9))
    rows = pa.table({
        "hcp_id": [f"hcp_{i}" for i in range(1000)],
        "event_timestamp": pa.array([NOW - timedelta(days=1)] * 1000, pa.timestamp("us", "UTC")),
        **{f.name: [float(i) for i in range(1000)] for f in fields},
    })  # fmt: skip

    with contextlib.ExitStack() as open_:

        def read(name: str, plugins: list[object], telemetry: Any = None) -> Callable[[], object]:
            config: dict[str, Any] = {"backend": "duckdb", "path": f"{folder}/{name}"}
            config |= {} if telemetry is None else {"telemetry": telemetry}
            store: Store = open_.enter_context(fs.connect(config, clock=lambda: NOW, plugins=plugins))
            store.apply([view])
            store.write("v", rows, to="online")
            asked = [{"hcp_id": "hcp_37"}]

            def many() -> None:
                for _ in range(TIMES):
                    store.get_online_features(["v:*"], asked)

            return many

        contenders = {
            "off": read("off", []),
            "off, again": read("again", []),
            "an observer that does nothing": read("events", [_Nothing()]),
            "opentelemetry, no SDK in the process": read("api", [], {"opentelemetry": True}),
        }
        first = interleaved(contenders, 50 if quick else 400)
        _sdk()
        contenders = {
            "off": contenders["off"],
            "prometheus": read("prometheus", [PrometheusMetrics()]),
            "opentelemetry, metrics": read("metrics", [OtelMetrics()]),
            "opentelemetry, spans and metrics": read("sdk", [], {"opentelemetry": True}),
            "logs": read("logs", [EventLog()]),
        }
        second = interleaved(contenders, 50 if quick else 400)
    measured = [(name, median / TIMES, least / TIMES, ratio) for name, median, least, ratio in [*first, *second[1:]]]
    return "Online read of one entity, 10 features, with telemetry", measured


def main() -> None:
    """Print the measurements as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some seconds")
    title, rows = run(quick=parser.parse_args().quick)
    print(f"## {title}\n\n| telemetry | median ms | fastest ms | against off |\n|---|---|---|---|")
    for name, median, fastest, ratio in rows:
        print(f"| {name} | {median:.4f} | {fastest:.4f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
