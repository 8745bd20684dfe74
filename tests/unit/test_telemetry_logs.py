"""Logs: one line of JSON for each event, on the logger of e2i_fs and on no other, and only when asked for."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

import e2i_fs as fs
from e2i_fs.telemetry.events import BreakerMoved, Event, FailedOver, JobEnded, Materialized, ParityMoved
from e2i_fs.telemetry.logs import EventLog, JsonFormatter, attach, told
from tests.kit import NOW, at, config, view
from tests.telemetry_world import REF

LOGGER = logging.getLogger("e2i_fs")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was written to stderr since this was last asked."""
    yield lambda: capsys.readouterr().err
    assert LOGGER.handlers == []


def documents(lines: Callable[[], str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines().splitlines()]


def test_each_event_is_a_line_with_its_time_and_fields(tmp_path, clock, lines) -> None:
    with fs.connect({**config("memory", tmp_path), "telemetry": {"logs": "json"}}, clock=clock) as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None)
        store.get_online_features([REF], [{"hcp_id": "a"}])
    told = documents(lines)
    assert {line["time"] for line in told} == {NOW.isoformat()}
    assert [line["event"] for line in told] == [
        "Applied", "OperationEnded", "Materialized", "OperationEnded", "OperationEnded",
    ]  # fmt: skip
    assert told[2] == {
        "time": NOW.isoformat(), "level": "INFO", "logger": "e2i_fs.events", "event": "Materialized", "view": "hcp_stats",
        "backend": "memory", "rows_written": 1, "outcome": "succeeded",
    }  # fmt: skip
    assert (told[4]["operation"], told[4]["rows"], told[4]["views"]) == ("online", 1, ["hcp_stats"])


def test_nothing_is_attached_unless_asked_and_nothing_else_is_touched(tmp_path, clock, lines) -> None:
    root = logging.getLogger()
    before = list(root.handlers), root.level, LOGGER.level, LOGGER.propagate
    with fs.connect(config("memory", tmp_path), clock=clock):
        assert LOGGER.handlers == []
    with fs.connect({**config("memory", tmp_path), "telemetry": {"logs": "json"}}, clock=clock):
        assert len(LOGGER.handlers) == 1
        assert (list(root.handlers), root.level) == before[:2]
    assert (list(root.handlers), root.level, LOGGER.level, LOGGER.propagate) == before


def test_two_stores_that_log_write_one_line_for_each_record(lines) -> None:
    first, second = attach(), attach()
    LOGGER.warning("once")
    first()
    LOGGER.warning("twice")
    second()
    LOGGER.warning("not any more")
    assert [line["message"] for line in documents(lines)] == ["once", "twice"]


def test_a_record_is_not_written_a_second_time_by_the_handlers_of_the_process(lines, caplog) -> None:
    detach = attach()
    LOGGER.warning("once")
    detach()
    LOGGER.warning("by the process's own")
    assert [line["message"] for line in documents(lines)] == ["once"]
    assert [record.message for record in caplog.records] == ["by the process's own"]


def test_a_level_that_the_process_has_set_is_kept(lines) -> None:
    LOGGER.setLevel(logging.DEBUG)
    try:
        detach = attach()
        assert LOGGER.level == logging.DEBUG
        detach()
        assert LOGGER.level == logging.DEBUG
    finally:
        LOGGER.setLevel(logging.NOTSET)


def test_an_error_in_a_record_is_told_by_its_class_and_place_only(lines) -> None:
    detach, key = attach(), "hcp-of-the-test"
    try:
        raise ValueError(f"{key} has no place here")
    except ValueError:
        LOGGER.exception("reading failed: %s", LookupError(key))
    detach()
    (line,) = documents(lines)
    assert (line["message"], line["exception"]) == ("reading failed: LookupError", "ValueError")
    assert "test_an_error_in_a_record" in str(line["stack"])
    assert "hcp-of-the-test" not in json.dumps(line)


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (BreakerMoved(NOW, "b", "closed", "open"), "WARNING"),
        (BreakerMoved(NOW, "b", "half-open", "closed"), "INFO"),
        (ParityMoved(NOW, "b", "v", "verified", "diverged"), "WARNING"),
        (Materialized(NOW, "v", "b", 1, "failed"), "WARNING"),
        (JobEnded(NOW, "v", "full", "succeeded", 1, 1, 1, 1.0), "INFO"),
        (JobEnded(NOW, "v", "full", "timed out", 1, 1, 1, 1.0), "WARNING"),
        (FailedOver(NOW, "b", "away"), "WARNING"),
    ],
)
def test_what_somebody_may_have_to_look_at_is_a_warning(event, level, lines) -> None:
    detach = attach()
    EventLog().e2i_fs_on_event(event)
    detach()
    assert [line["level"] for line in documents(lines)] == [level]


def test_of_an_event_of_another_making_only_numbers_are_told() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True, slots=True)
    class Own(Event):
        number: int
        text: str

    assert told(Own(datetime.now(UTC), 7, "hcp-of-the-test")) == {"number": 7}


def test_a_line_inside_a_span_names_the_trace() -> None:
    trace = pytest.importorskip("opentelemetry.trace", reason="not installed: pip install 'e2i-fs[otel]'")
    context = trace.SpanContext(trace_id=1, span_id=2, is_remote=False)
    record = logging.LogRecord("e2i_fs", logging.INFO, "", 0, "said", (), None)
    with trace.use_span(trace.NonRecordingSpan(context)):
        line = json.loads(JsonFormatter().format(record))
    assert (line["trace_id"], line["span_id"]) == ("0" * 31 + "1", "0" * 15 + "2")
    assert "trace_id" not in json.loads(JsonFormatter().format(record))


def test_a_process_that_set_up_no_logging_gets_the_lines_on_stderr() -> None:
    code = (
        "import e2i_fs as fs\n"
        "with fs.connect({'backend': 'memory', 'telemetry': {'logs': 'json'}}) as store: store.apply([fs.Entity('hcp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["Applied", "OperationEnded"]
    assert done.stdout == ""
