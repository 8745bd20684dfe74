"""The Grafana dashboard: what its builder makes, and every expression of it asks for what is told, by labels that it has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed: pip install 'e2i-fs[prometheus]'")

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from e2i_fs.server.counts import Prometheus
from e2i_fs.telemetry.dashboard import built, shipped
from e2i_fs.telemetry.names import HTTP, METRICS, PULLED
from e2i_fs.telemetry.prometheus import PrometheusMetrics
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW
from tests.telemetry_world import busy, opened

_FUNCTIONS = {"sum", "max", "min", "rate", "increase", "histogram_quantile", "by"}
_SELECTOR = re.compile(r"\b(e2i_fs_\w+)\{([^}]*)\}")
_MATCH = re.compile(r'^(\w+)(=~|!=|!~|=)"([^"]*)"$')


class Asked(NamedTuple):
    """One selector of an expression, with what the expression groups by."""

    metric: str
    matches: dict[str, tuple[str, str]]
    by: set[str]


def parsed(expression: str) -> list[Asked]:
    """Return the selectors of an expression; fail on anything that is not understood."""
    assert expression.count("(") == expression.count(")"), expression
    assert set(re.findall(r"\b([a-z_]+)(?=\s*\()", expression)) <= _FUNCTIONS, expression
    rest = _SELECTOR.sub("", expression)
    assert "e2i_fs" not in rest, f"a metric without a selector: {expression}"
    by = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    found = []
    for metric, inside in _SELECTOR.findall(expression):
        matches = [_MATCH.fullmatch(each.strip()) for each in inside.split(",")]
        assert all(matches), expression
        found.append(Asked(metric, {m[1]: (m[2], m[3]) for m in matches if m}, by))
    assert found, expression
    return found


def expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield every expression of a dashboard with the title of its panel and what its lines are called."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], annotation["textFormat"]


ALL = list(expressions(shipped()))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """What a scrape of a busy store, and of a server of it, tells: the labels of each sample by its name."""
    clock, folder, metrics = FakeClock(NOW), tmp_path_factory.mktemp("busy"), PrometheusMetrics()
    counts = Prometheus(metrics.registry)
    with opened(folder, clock, plugins=[metrics]) as store:
        busy(store, folder, clock)
        counts.begun()
        counts.ended("GET", "/metrics", 200, 0.01)
        text = generate_latest(metrics.registry).decode()
    told: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            told.setdefault(sample.name, []).append(dict(sample.labels))
    return told


def test_the_file_is_what_the_builder_makes() -> None:
    assert shipped() == built(), "python -m e2i_fs.telemetry.dashboard > e2i_fs/telemetry/grafana.json"


@pytest.mark.parametrize(("title", "expression", "legend"), ALL, ids=[f"{t}-{i}" for i, (t, _, _) in enumerate(ALL)])
def test_every_expression_asks_for_what_is_told(title, expression, legend, samples) -> None:
    by_name = {m.prometheus: m for m in (*METRICS, *HTTP)}
    for asked in parsed(expression):
        metric = by_name[re.sub(r"_(bucket|count|sum)$", "", asked.metric)]
        labels = {label.prometheus: label for label in metric.labels}
        assert {*asked.matches, *asked.by} <= {*labels, "instance", "le"}, (title, asked)
        told = [sample for sample in samples[asked.metric] if _fits(sample, asked.matches)]
        assert told, f"{title}: nothing that a busy store tells is of {asked}"
        assert all(asked.by <= sample.keys() for sample in told), (title, asked)
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= asked.by, (title, legend)
        for name, (how, value) in asked.matches.items():
            if how in ("=", "!=") and labels[name].values:
                assert value in labels[name].values, (title, name, value)


def _fits(sample: dict[str, str], matches: dict[str, tuple[str, str]]) -> bool:
    for name, (how, value) in matches.items():
        if value.startswith("$"):  # what is chosen on the dashboard, and all of it to begin with
            continue
        if (sample.get(name) == value) is not (how == "="):
            return False
    return True


def test_every_metric_has_a_place_on_the_dashboard() -> None:
    asked = {re.sub(r"_(bucket|count|sum)$", "", a.metric) for _, expression, _ in ALL for a in parsed(expression)}
    assert asked == {m.prometheus for m in METRICS} | {m.prometheus for m in HTTP}


def test_growth_is_asked_of_what_grows_and_only_of_that() -> None:
    gauges = {m.prometheus for m in PULLED if m.kind == "gauge"} | {HTTP[2].prometheus}
    for title, expression, _ in ALL:
        for metric, _ in _SELECTOR.findall(expression):
            grows = re.search(rf"(rate|increase)\({metric}\{{[^}}]*\}}\[", expression) is not None
            assert grows is (metric not in gauges), (title, expression)


def test_panels_do_not_lie_on_each_other_and_are_told_apart() -> None:
    panels = shipped()["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    assert len({p["title"] for p in panels}) == len(panels)
    cells = [
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(0 <= x < 24 for x, _ in cells)


def test_the_command_prints_it_whole_into_a_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from e2i_fs.cli.app import run; raise SystemExit(run(['dashboard']))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == shipped()
