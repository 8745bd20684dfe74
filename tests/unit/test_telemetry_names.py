"""The table of names is what is told: each name of it by a store that lives through everything, and no other."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed: pip install 'e2i-fs[otel]'")
pytest.importorskip("prometheus_client", reason="prometheus-client is not installed: pip install 'e2i-fs[prometheus]'")

from e2i_fs.telemetry import events, logs, names
from e2i_fs.telemetry.names import METRICS, Kind
from e2i_fs.telemetry.prometheus import PrometheusMetrics
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW
from tests.otel_words import Telemetry, telemetry
from tests.telemetry_world import SECRETS, Observer, busy, opened


class Day:
    """What was told of one busy store, to everybody who can be told."""

    def __init__(self, folder: Path, otel: Telemetry) -> None:
        clock, metrics, self.observer = FakeClock(NOW), PrometheusMetrics(), Observer()
        handler = _Kept()
        logger = logging.getLogger("e2i_fs.events")
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        plugins = [metrics, self.observer, logs.EventLog()]
        try:
            with opened(folder, clock, plugins=plugins, telemetry={"opentelemetry": True}) as store:
                busy(store, folder, clock)
                self.families = {f.name: f for f in metrics.registry.collect()}
                self.metrics = otel.metrics()
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        self.spans = otel.spans()
        self.lines = handler.lines


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    with telemetry() as otel:
        yield Day(tmp_path_factory.mktemp("day"), otel)


def test_prometheus_is_told_every_metric_with_its_labels_and_no_other(day) -> None:
    wanted = {m.family: [label.prometheus for label in m.labels] for m in METRICS}
    assert {name for name, family in day.families.items() if family.samples} == set(wanted)
    for name, family in day.families.items():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert sorted({*sample.labels} - {"le"}) == sorted(wanted[name]), name


def test_opentelemetry_is_told_every_metric_with_its_unit_and_no_other(day) -> None:
    assert {m.name for m in day.metrics} == {m.name for m in METRICS}
    by_name = {m.name: m for m in METRICS}
    for told in day.metrics:
        assert (told.unit, told.description) == (by_name[told.name].unit, by_name[told.name].help)
        for point in told.data.data_points:
            assert set(point.attributes) <= {label.name for label in by_name[told.name].labels}, told.name


def test_both_are_told_the_same_numbers(day) -> None:
    for told in day.metrics:
        metric = next(m for m in METRICS if m.name == told.name)
        here = {s.name: 0.0 for f in [day.families[metric.family]] for s in f.samples}
        for sample in day.families[metric.family].samples:
            here[sample.name] += sample.value
        points = told.data.data_points
        if metric.kind is Kind.HISTOGRAM:
            assert sum(p.count for p in points) == here[f"{metric.family}_count"]
            assert {p.explicit_bounds for p in points} == {metric.buckets}
        elif not metric.unit.startswith(("s", "By")):  # two readings are two moments
            assert sum(p.value for p in points) == here[metric.prometheus], metric.name


def test_every_value_of_a_label_is_one_of_those_it_may_have(day) -> None:
    for metric in METRICS:
        for sample in day.families[metric.family].samples:
            for label in metric.labels:
                told = sample.labels.get(label.prometheus)
                assert told is None or not label.values or told in label.values, (metric.name, label.name, told)


def test_every_span_is_opened_with_known_attributes_and_no_other(day) -> None:
    assert {span.name for span in day.spans} == set(names.SPANS)
    used = {key for span in day.spans for key in span.attributes}
    assert used == set(names.ATTRIBUTES)


def test_every_event_is_told_to_observers_and_logged(day) -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    assert {type(event) for event in day.observer.events} == kinds - {events.Event}
    assert {json.loads(line)["event"] for line in day.lines} == {kind.__name__ for kind in kinds - {events.Event}}
    assert len(day.lines) == len(day.observer.events)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_key_no_value_and_no_word_of_an_error_is_told(day, secret) -> None:
    if secret == SECRETS[2]:  # observers in the process may see it, in an error's own words
        assert any(secret in repr(event) for event in day.observer.events)
    assert not [line for line in day.lines if secret in line]
    assert not [f for f in day.families.values() if secret in repr(f.samples)]
    assert not [span.name for span in day.spans if secret in span.to_json()]
    assert not [m.name for m in day.metrics if secret in m.to_json()]


def test_prometheus_names_follow_from_opentelemetrys_by_its_rule() -> None:
    """As its exporter has it: dots are underscores, units are written out, counters end in _total."""
    assert len({m.family for m in METRICS}) == len(METRICS)
    assert names.OPERATION_DURATION.prometheus == "e2i_fs_operation_duration_seconds"
    assert names.ROWS.prometheus == "e2i_fs_rows_total"
    assert names.JOURNAL_SIZE.prometheus == "e2i_fs_journal_size_bytes"
    assert names.HEDGED.prometheus == "e2i_fs_hedged_reads_ratio"
    assert names.BACKEND_UP.prometheus == "e2i_fs_backend_up"
