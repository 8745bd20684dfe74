"""Metrics for Prometheus: an endpoint that ends with the store, a scrape that no hung backend holds up, a registry of one's own."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed: pip install 'e2i-fs[prometheus]'")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import e2i_fs as fs
from e2i_fs.store import Store
from e2i_fs.telemetry.prometheus import PrometheusMetrics
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, at, config, view
from tests.telemetry_world import REF, free_port, opened

KEYS = [{"hcp_id": "a"}]


def scraped(port: int) -> dict[str, float]:
    """Return the samples of an endpoint, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {f"{s.name} {json.dumps(s.labels, sort_keys=True)}": s.value for f in families for s in f.samples}


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(deadline=0.3)


@pytest.fixture
def store(tmp_path: Path, clock, metrics) -> Iterator[Store]:
    """One backend, which can be made to fail, with rows ten minutes old."""
    given = {"backend": "breakable", "inner": "duckdb", "path": str(tmp_path / "store")}
    with fs.connect(given, clock=clock, plugins=[BreakablePlugin(), metrics]) as found:
        found.apply([view(tmp_path, [("a", at(710), 1)], max_staleness=timedelta(hours=1))])
        found.materialize(None)
        yield found


def value(metrics: PrometheusMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"e2i_fs_{name}", labels)


def test_the_endpoint_tells_the_store_and_ends_with_it(tmp_path, clock) -> None:
    port = free_port()
    with opened(tmp_path, clock, telemetry={"prometheus": {"port": port}}) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None)
        store.get_online_features([REF], KEYS)
        told = scraped(port)
        assert told['e2i_fs_values_total {"operation": "online", "status": "PRESENT", "view": "hcp_stats"}'] == 1
        assert told['e2i_fs_backend_up {"backend": "standby", "role": "standby"}'] == 1
        assert told['e2i_fs_view_age_seconds {"view": "hcp_stats"}'] == (NOW - at(1)).total_seconds()
        with socket.socket() as elsewhere, pytest.raises(OSError, match="refused"):
            elsewhere.connect((_other_address(), port))  # this machine's own address only
    with pytest.raises(urllib.error.URLError):
        scraped(port)


def _other_address() -> str:
    return "127.0.0.2"  # of this machine as well, and not the one listened on


class Openings:
    """Is told of the opening and the closing of stores."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @fs.hookimpl
    def e2i_fs_on_open(self, store: Store) -> None:
        self.told.append(f"opened {[view.name for view in store.list_feature_views()]}")

    @fs.hookimpl
    def e2i_fs_on_close(self, store: Store) -> None:
        self.told.append(f"closing {[view.name for view in store.list_feature_views()]}")


def test_an_address_that_is_taken_is_said_and_leaves_nothing_open(tmp_path, clock) -> None:
    port, asked, openings = free_port(), config("duckdb", tmp_path / "one"), Openings()
    telemetry = {"prometheus": {"port": port}, "logs": "json"}
    with fs.connect({**asked, "telemetry": {"prometheus": {"port": port}}}, clock=clock):
        with pytest.raises(
            fs.ConfigError, match=rf"prometheus: 127\.0\.0\.1:{port} cannot be listened on.*port of its"
        ):
            fs.connect({**config("duckdb", tmp_path / "two"), "telemetry": telemetry}, clock=clock, plugins=[openings])
        assert openings.told == ["opened []", "closing []"]
        assert logging.getLogger("e2i_fs").handlers == []
    with fs.connect({**asked, "telemetry": {"prometheus": {"port": port}}}, clock=clock):  # the port is free again
        assert scraped(port)


@pytest.mark.rule("G-5")
def test_a_plugin_that_fails_when_a_store_is_opened_or_closed_reaches_nobody(tmp_path, clock, caplog) -> None:
    class Failing:
        @fs.hookimpl
        def e2i_fs_on_open(self, store: Store) -> None:
            raise RuntimeError("not ready to be told")

        @fs.hookimpl
        def e2i_fs_on_close(self) -> None:
            raise RuntimeError("not ready to let go")

    openings = Openings()
    with fs.connect(config("memory", tmp_path), clock=clock, plugins=[Failing(), openings]) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
    assert openings.told == ["opened []", "closing ['hcp_stats']"]
    assert "not ready to be told" in caplog.text
    assert "not ready to let go" in caplog.text


def test_no_thread_of_telemetry_outlives_its_store(tmp_path, clock) -> None:
    def left() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if "telemetry" in t.name]

    before = left()
    with opened(tmp_path, clock, telemetry={"prometheus": {"port": (port := free_port())}}):
        scraped(port)
        assert len(left()) > len(before)
    for thread in set(left()) - set(before):
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_a_forked_child_can_close_the_store_and_the_parent_goes_on_serving(tmp_path) -> None:
    code = f"""
import os, signal, threading, urllib.request
from tests.telemetry_world import opened
from e2i_fs.testing.clock import FakeClock
from pathlib import Path
port = {free_port()}
scrape = lambda: urllib.request.urlopen(f"http://127.0.0.1:{{port}}/metrics", timeout=20).read()
with opened(Path({str(tmp_path)!r}), FakeClock(), telemetry={{"prometheus": {{"port": port}}, "opentelemetry": True}}) as store:
    scrape()
    child = os.fork()
    if not child:
        signal.alarm(20)
        store.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child did not end well"
    assert b"e2i_fs_backend_up" in scrape()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_backend_that_hangs_does_not_hold_up_a_scrape_and_is_not_up(store, metrics) -> None:
    let_go = threading.Event()
    real = OPENED["breakable"].inner.ping

    def hangs(deadline: float) -> float:
        let_go.wait(30)
        return real(deadline)

    store.get_online_features([REF], KEYS)
    OPENED["breakable"].inner.ping = hangs
    try:
        for _ in range(2):  # the second does not spend another thread on it
            told = generate_latest(metrics.registry).decode()
            assert 'e2i_fs_backend_up{backend="breakable",role="primary"} 0.0' in told
            assert 'e2i_fs_state_read{part="health"} 0.0' in told
            assert 'e2i_fs_view_age_seconds{view="hcp_stats"} 600.0' in told
            assert 'e2i_fs_rows_total{operation="online"} 1.0' in told
        assert len([t for t in threading.enumerate() if "telemetry health" in t.name]) == 1
    finally:
        let_go.set()


def test_a_view_whose_freshness_cannot_be_told_is_not_fresh(store, metrics) -> None:
    assert value(metrics, "view_freshness", view="hcp_stats", status="FRESH") == 1
    OPENED["breakable"].break_("position")
    assert value(metrics, "view_freshness", view="hcp_stats", status="FRESH") == 0
    assert value(metrics, "view_freshness", view="hcp_stats", status="UNKNOWN") == 1
    assert value(metrics, "view_age_seconds", view="hcp_stats") is None


def test_a_backend_that_is_down_is_told_as_down(store, metrics) -> None:
    OPENED["breakable"].break_("ping")
    assert value(metrics, "backend_up", backend="breakable", role="primary") == 0
    assert value(metrics, "state_read", part="health") == 1


def test_age_and_limit_are_those_of_the_moment_of_the_scrape(store, metrics, clock) -> None:
    clock.advance(timedelta(minutes=80))
    assert value(metrics, "view_age_seconds", view="hcp_stats") == 90 * 60
    assert value(metrics, "view_max_staleness_seconds", view="hcp_stats") == 3600
    assert value(metrics, "view_freshness", view="hcp_stats", status="STALE") == 1


def test_scrapes_at_the_same_time_are_all_whole(store, metrics) -> None:
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda: told.append(generate_latest(metrics.registry).decode())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 8
    assert all('e2i_fs_state_read{part="freshness"} 1.0' in text for text in told)


def test_metrics_go_into_the_registry_given_and_those_pulled_end_with_the_store(tmp_path, clock) -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    with fs.connect(config("memory", tmp_path), clock=clock, plugins=[metrics]) as store:
        store.apply([fs.Entity("hcp")])
        assert "e2i_fs_backend_up{" in generate_latest(registry).decode()
    told = generate_latest(registry).decode()
    assert "e2i_fs_backend_up{" not in told
    assert 'e2i_fs_definitions_changed_total{change="created"} 1.0' in told  # what was counted stays


def test_a_refusal_and_a_failure_are_told_apart(store, metrics) -> None:
    with pytest.raises(fs.UnknownFeatureError):
        store.get_online_features(["hcp_stats:none"], KEYS)
    OPENED["breakable"].break_("online_read")
    with pytest.raises(fs.BackendUnavailableError):
        store.get_online_features([REF], KEYS)
    counted = {
        (s.labels["outcome"], s.labels["error_type"]): s.value
        for f in metrics.registry.collect()
        for s in f.samples
        if s.name == "e2i_fs_operation_duration_seconds_count" and s.labels["operation"] == "online"
    }
    assert counted == {("refused", "UnknownFeatureError"): 1, ("failed", "BackendUnavailableError"): 1}


@pytest.mark.parametrize(
    ("telemetry", "said"),
    [
        ({"promethius": {}}, "unknown key 'promethius'. Did you mean 'prometheus'"),
        ({"prometheus": {"prot": 1}}, "unknown key 'prot'. Did you mean 'port'"),
        ({"prometheus": {"port": 0}}, "port is 0; give at least 1"),
        ({"prometheus": {"port": 70000}}, "port is 70000; give at most 65535"),
        ({"prometheus": True}, "prometheus is True; give a mapping"),
        ({"prometheus": {"host": ""}}, "host is ''"),
        ({"logs": "yaml"}, "logs is 'yaml'; give 'json'"),
        ({"opentelemetry": "maybe"}, "opentelemetry is 'maybe'; give true or false"),
        ({"deadline": 0}, "deadline is 0; give more than 0"),
        ("all", "telemetry is 'all'; give a mapping"),
    ],
)
def test_a_key_or_value_that_telemetry_has_not_is_refused(telemetry, said) -> None:
    with pytest.raises(fs.ConfigError) as refused:
        fs.connect({"backend": "memory", "telemetry": telemetry})
    assert said in str(refused.value)


def test_an_unknown_host_is_refused(tmp_path) -> None:
    with pytest.raises(fs.ConfigError, match=r"no\.such\.host\.invalid:9464 cannot be listened on"):
        fs.connect({"backend": "memory", "telemetry": {"prometheus": {"host": "no.such.host.invalid"}}})
