"""Spans: they lie under the caller's, in whatever thread the work is done; errors are on them by class; off, there are none."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed: pip install 'e2i-fs[otel]'")

from opentelemetry import trace

import e2i_fs as fs
from e2i_fs.pool import carried
from e2i_fs.store import Store
from e2i_fs.telemetry.otel import under_caller
from e2i_fs.testing.clock import FakeClock
from tests.breakable import OPENED
from tests.kit import at, batch, config, view
from tests.otel_words import Telemetry, telemetry
from tests.telemetry_world import REF, opened

KEYS = [{"hcp_id": "a"}]
ON = {"opentelemetry": True}


@pytest.fixture
def otel() -> Iterator[Telemetry]:
    with telemetry() as told:
        yield told


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    with opened(tmp_path, clock, telemetry=ON) as found:
        found.apply([view(tmp_path, [("a", at(1), 1)])])
        found.materialize(None)
        yield found


def by_name(spans: list[Any], name: str) -> Any:
    (span,) = [span for span in spans if span.name == name]
    return span


def under(spans: list[Any], child: str) -> str | None:
    """Return the name of the span right above ``child``."""
    parent = by_name(spans, child).parent
    return None if parent is None else next(s.name for s in spans if s.context.span_id == parent.span_id)


def test_an_operation_lies_under_the_callers_span_and_says_what_it_was(store, otel) -> None:
    with trace.get_tracer("test").start_as_current_span("the caller's"):
        store.get_online_features([REF], KEYS)
    spans = otel.spans()
    assert under(spans, "e2i_fs.get_online_features") == "the caller's"
    assert under(spans, "e2i_fs.attempt") == "e2i_fs.get_online_features"
    assert dict(by_name(spans, "e2i_fs.get_online_features").attributes) == {
        "e2i_fs.operation": "online", "e2i_fs.project": "busy", "e2i_fs.outcome": "ok", "e2i_fs.views": ("hcp_stats",),
        "e2i_fs.rows": 1, "e2i_fs.backend": "primary", "e2i_fs.degraded": False,
    }  # fmt: skip


def test_what_a_backend_does_in_its_own_thread_lies_under_the_attempt(tmp_path, clock, otel) -> None:
    """As the spans of a driver do: a backend behind a network is called in a thread of a pool."""
    with opened(tmp_path, clock, telemetry=ON) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        primary = OPENED["primary"]
        kind, read = type(primary.inner), primary.inner.online_read

        class Remote(kind):
            capabilities = replace(primary.inner.capabilities, local=False)

        def traced(*args, **more):
            with trace.get_tracer("driver").start_as_current_span("the driver's"):
                return read(*args, **more)

        primary.inner.__class__ = Remote
        primary.inner.online_read = traced
        otel.spans()
        store.get_online_features([REF], KEYS)
    assert under(otel.spans(), "the driver's") == "e2i_fs.attempt"


def test_each_backend_that_is_asked_has_a_span_with_how_it_ended(store, otel) -> None:
    OPENED["primary"].break_()
    store.get_online_features([REF], KEYS)
    asked = [s for s in otel.spans() if s.name == "e2i_fs.attempt" and s.parent]
    asked = [s for s in asked if s.attributes["e2i_fs.outcome"] != "open"]
    told = [(s.attributes["e2i_fs.backend"], s.attributes["e2i_fs.outcome"], s.status.status_code.name) for s in asked]
    assert told == [("primary", "failed", "ERROR"), ("standby", "answered", "UNSET")]
    assert asked[0].attributes["error.type"] == "BackendUnavailableError"


def test_an_error_is_on_its_span_by_class_and_place_and_without_its_message(store, otel) -> None:
    with pytest.raises(fs.UnknownFeatureError):
        store.get_online_features(["hcp_stats:no_such_thing"], KEYS)
    span = by_name(otel.spans(), "e2i_fs.get_online_features")
    assert (span.status.status_code.name, span.status.description) == ("ERROR", "UnknownFeatureError")
    assert span.attributes["e2i_fs.outcome"] == "refused"
    (told,) = span.events
    assert told.name == "exception"
    assert told.attributes["exception.type"] == "UnknownFeatureError"
    assert "in resolve" in told.attributes["exception.stacktrace"]
    assert "no_such_thing" not in span.to_json()


def test_a_write_has_a_span_for_each_backend_that_takes_it(store, otel) -> None:
    store.write("hcp_stats", batch(("a", at(5), 2)))
    spans = [s for s in otel.spans() if s.name == "e2i_fs.backend_write"]
    told = [(s.attributes["e2i_fs.backend"], s.attributes["e2i_fs.outcome"]) for s in spans[-2:]]
    assert told == [("primary", "ok"), ("standby", "ok")]


def test_a_run_of_a_job_lies_under_the_callers_span_though_it_has_a_thread_of_its_own(store, otel) -> None:
    with trace.get_tracer("test").start_as_current_span("the task"):
        store.jobs().incremental()
    runs = [s for s in otel.spans() if s.name == "e2i_fs.run"]
    task = by_name(otel.spans(), "the task")
    assert runs[-1].parent.span_id == task.context.span_id
    assert runs[-1].attributes["e2i_fs.mode"] == "incremental"


def test_an_awaited_operation_lies_under_the_span_that_awaits_it(tmp_path, clock, otel) -> None:
    async def ask() -> None:
        given = {**config("memory", tmp_path), "telemetry": ON}
        async with fs.connect_async(given, clock=clock) as store:
            await store.apply([view(tmp_path, [("a", at(1), 1)])])
            with trace.get_tracer("test").start_as_current_span("awaiting"):
                await store.get_online_features([REF], KEYS)

    asyncio.run(ask())
    assert under(otel.spans(), "e2i_fs.get_online_features") == "awaiting"


def test_work_is_under_the_span_that_http_headers_tell_of(store, otel) -> None:
    with under_caller({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}):
        store.get_online_features([REF], KEYS)
    store.freshness()
    span = by_name(otel.spans(), "e2i_fs.get_online_features")
    assert format(span.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert by_name(otel.spans(), "e2i_fs.freshness").parent is None


def test_context_is_that_of_where_the_work_was_given(otel) -> None:
    tracer = trace.get_tracer("test")
    with tracer.start_as_current_span("here") as span:
        work = carried(trace.get_current_span)
    assert work() is span


def test_reading_the_state_for_a_collection_is_no_operation_and_no_failover(tmp_path, clock, otel) -> None:
    with opened(tmp_path, clock, telemetry=ON) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None)
        OPENED["primary"].break_()
        store.get_online_features([REF], KEYS)
        before = {m.name: m.data.data_points for m in otel.metrics()}
        after = {m.name: m.data.data_points for m in otel.metrics()}
        assert [p.attributes["view"] for p in after["e2i_fs.view.age"]] == ["hcp_stats"]
        assert [p.value for p in after["e2i_fs.failovers"]] == [p.value for p in before["e2i_fs.failovers"]] == [1]
        assert not [s for s in otel.spans() if s.name == "e2i_fs.freshness"]


def test_a_store_that_was_opened_again_is_read_and_one_that_was_closed_is_not(tmp_path, clock, otel) -> None:
    """The meter of a process outlives its stores, and takes a callback once."""
    for _ in range(2):
        with opened(tmp_path / "again", clock, telemetry=ON):
            assert "e2i_fs.backend.up" in {m.name for m in otel.metrics()}
        assert "e2i_fs.backend.up" not in {m.name for m in otel.metrics()}


def test_nothing_is_imported_and_the_store_is_the_plain_one_when_nobody_watches(tmp_path) -> None:
    code = (
        "import sys, e2i_fs as fs; from e2i_fs.store import Store\n"
        "store = fs.connect({'backend': 'memory'}); assert type(store) is Store\n"
        "store.apply([fs.FeatureView('v', entities=[fs.Entity('k')], schema=[fs.Field('x', fs.Int64)])])\n"
        "store.get_online_features(['v:x'], [{'k': 'a'}])\n"
        "print(sorted(m for m in sys.modules if m.startswith(('opentelemetry', 'prometheus_client', 'e2i_fs.telemetry.'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout.strip() == "['e2i_fs.telemetry.events', 'e2i_fs.telemetry.kept']"
    )  # what the store keeps of itself


def test_without_an_sdk_everything_works_and_nobody_is_told(tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from e2i_fs.testing.clock import FakeClock; from tests.kit import NOW\n"
        "from tests.telemetry_world import busy, opened\n"
        f"folder, clock = Path({str(tmp_path)!r}), FakeClock(NOW)\n"
        "with opened(folder, clock, telemetry={'opentelemetry': True}) as store: busy(store, folder, clock)\n"
        "print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("asked", "module", "hint"),
    [
        ({"opentelemetry": True}, "opentelemetry", r"pip install 'e2i-fs\[otel\]'"),
        ({"prometheus": {"port": 9464}}, "prometheus_client", r"pip install 'e2i-fs\[prometheus\]'"),
    ],
)
def test_what_is_asked_for_and_not_installed_is_said_before_anything_is_opened(
    asked, module, hint, tmp_path, monkeypatch
) -> None:
    for name in [m for m in sys.modules if m.split(".")[0] == module or m.startswith("e2i_fs.telemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # as Python has a module that cannot be imported
    with pytest.raises(fs.ConfigError, match=hint):
        fs.connect({**config("duckdb", tmp_path / "store"), "telemetry": asked})
    assert not (tmp_path / "store").exists()
