"""Alerts: to the log and to a webhook that fails, hangs and recovers, and never in the way of whoever caused them."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.alerts import delivery
from e2i_fs.alerts.alert import KINDS, Alert, alert_of
from e2i_fs.alerts.delivery import Alerts
from e2i_fs.alerts.repeats import Repeats
from e2i_fs.alerts.settings import AlertsConfig, WebhookConfig
from e2i_fs.config import load_config
from e2i_fs.ops.records import Records
from e2i_fs.telemetry.events import (
    BreakerMoved,
    Event,
    FailedOver,
    FreshnessChecked,
    JobEnded,
    LeakageFound,
    Materialized,
    ParityMoved,
    Stale,
)
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW, config, view

HOUR = timedelta(hours=1)
MINUTE_US = 60_000_000
SECRET = "s3cr3t-path"


class Hook:
    """A real HTTP server. ``answer`` is the status it answers with, or what to call instead of answering."""

    def __init__(self) -> None:
        self.answer: int | Callable[[Any], None] = 200
        self.taken: list[dict[str, Any]] = []
        self.tries = 0
        self.headers: dict[str, str] = {}
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.headers = {name.title(): value for name, value in self.headers.items()}
                hook.tries += 1
                if callable(hook.answer):
                    hook.answer(self)
                    return
                if hook.answer == 200:
                    hook.taken.append(body)
                self.send_response(hook.answer)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/{SECRET}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def texts(self) -> list[str]:
        return [one["text"] for one in self.taken]


def until(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for another thread, at most so long."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    made = Records(str(tmp_path / "records"), "")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_PACE", 0.0)


def alerts(hook: Hook, records: Records, clock: FakeClock, last: float = 5.0, **more: Any) -> Alerts:
    whole = {k: more.pop(k) for k in ("log", "repeat_minutes") if k in more}
    settings = AlertsConfig(webhook={"url": hook.url, **more}, **whole)
    return Alerts(settings, "e2i", records, clock, first=0.01, last=last)


def stale(view_: str = "v", status: str = "STALE", moment: datetime = NOW) -> Stale:
    return Stale(moment, view_, status, 1.0)


# ---- a store's own events ---------------------------------------------------------------------------------------


@pytest.mark.rule("F-2")
def test_a_stale_view_is_told_once_by_whatever_process_and_again_when_it_is_fresh(
    hook, tmp_path, clock, monkeypatch
) -> None:
    monkeypatch.setenv("HOOK", hook.url)
    alerts_ = {"log": False, "webhook": {"url": "${HOOK}", "headers": {"Authorization": "Bearer ${HOOK}"}}}
    settings = {**config("duckdb", tmp_path / "s"), "project": "e2i", "alerts": alerts_}
    with fs.connect(settings, clock=clock) as store:
        store.apply([view(tmp_path, [("a", NOW - HOUR, 1)], max_staleness=HOUR / 2)])
        store.materialize(None, NOW)
        clock.advance(timedelta(seconds=1))
        store.freshness()
    with fs.connect(settings, clock=clock) as store:  # as a command that is run every hour
        store.jobs().check_freshness()
    assert [(one["text"], one["status"], one["severity"]) for one in hook.taken] == [
        ("View hcp_stats is EXPIRED.", "EXPIRED", "critical")
    ]
    with fs.connect(settings, clock=clock) as store:
        store.write("hcp_stats", {"hcp_id": ["a"], "event_timestamp": [clock.now()], "trx_count": [2]})
        store.freshness()
        store.freshness()
    first, over = hook.taken
    assert (over["text"], over["resolved"], over["severity"]) == ("View hcp_stats is fresh again.", True, "info")
    assert first == {
        "project": "e2i", "kind": "Stale", "status": "EXPIRED", "resolved": False, "severity": "critical", "repeats": 0,
        "text": "View hcp_stats is EXPIRED.", "about": {"view": "hcp_stats", "status": "EXPIRED"},
        "at": (NOW + timedelta(seconds=1)).isoformat(),
    }  # fmt: skip
    assert hook.headers["Authorization"] == f"Bearer {hook.url}" and hook.headers["Content-Type"] == "application/json"


@pytest.mark.rule("G-5")
def test_a_webhook_that_hangs_or_is_not_there_costs_the_caller_nothing_but_a_moment_at_the_end(
    hook, tmp_path, clock, caplog, monkeypatch
) -> None:
    released = threading.Event()
    hook.answer = lambda _: released.wait(30)
    monkeypatch.setattr(delivery.Alerts.__init__, "__kwdefaults__", {"first": 0.01, "last": 0.1})
    for url in (hook.url, "http://127.0.0.1:9/x"):
        settings = {"backend": "memory", "alerts": {"webhook": {"url": url}}}
        with fs.connect(settings, clock=clock) as store:
            store.apply([view(tmp_path, [("a", NOW - HOUR, 1)], max_staleness=HOUR / 2)])
            begun = time.monotonic()
            assert store.freshness()["hcp_stats"].status.name == "UNKNOWN"
            assert time.monotonic() - begun < 1
            if url == hook.url:
                until(lambda: hook.tries == 1)
        assert time.monotonic() - begun < 3
        assert "closed with 1 alerts not delivered" in caplog.text
        caplog.clear()
    released.set()


# ---- delivery ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("G-5")
def test_a_webhook_that_fails_and_recovers_gets_every_alert_in_order(hook, records, clock, caplog) -> None:
    hook.answer = 503
    told = alerts(hook, records, clock)
    for name in "abc":
        told.notice(stale(name))
    until(lambda: hook.tries >= 3)
    hook.answer = 200
    until(lambda: len(hook.taken) == 3)
    told.close()
    assert hook.texts == [f"View {name} is STALE." for name in "abc"]
    said = [r.getMessage() for r in caplog.records if "webhook" in r.getMessage()]
    assert len(said) == 2 and "it answers 503. They wait" in said[0] and said[1].endswith("takes alerts again.")
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda handler: handler.connection.close(), "the connection broke"),
        (lambda handler: threading.Event().wait(0.5), "no answer within 0.05 s"),
        (500, "it answers 500"),
        (429, "it answers 429"),
    ],
)
def test_what_may_be_otherwise_later_is_tried_again(hook, records, clock, caplog, answer, says) -> None:
    hook.answer = answer
    told = alerts(hook, records, clock, timeout=0.05)
    told.notice(stale())
    until(lambda: hook.tries >= 2)
    hook.answer = 200
    until(lambda: bool(hook.taken))
    told.close()
    assert says in caplog.text and SECRET not in caplog.text


@pytest.mark.parametrize(("answer", "says"), [(404, "it answers 404"), (302, "a redirect, which is not followed")])
def test_what_is_refused_for_good_is_told_and_holds_up_no_other(hook, records, clock, caplog, answer, says) -> None:
    hook.answer = answer
    told = alerts(hook, records, clock)
    told.notice(stale("a"))
    until(lambda: "refused an alert for good" in caplog.text)
    hook.answer = 200
    told.notice(stale("b"))
    until(lambda: bool(hook.taken))
    told.close()
    assert hook.texts == ["View b is STALE."] and hook.tries == 2 and says in caplog.text


def test_of_too_many_alerts_the_oldest_are_dropped_and_counted(hook, records, clock, caplog, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "_MOST", 3)
    hook.answer = 503
    told = alerts(hook, records, clock)
    for name in "abcde":
        told.notice(stale(name))
        until(lambda: not told._inbox)
    until(lambda: caplog.text.count("alerts were dropped") == 2)
    hook.answer = 200
    until(lambda: len(hook.taken) == 3)
    told.close()
    assert hook.texts == [f"View {name} is STALE." for name in "cde"]


def test_what_was_not_delivered_at_the_end_is_told_by_the_next_process(hook, records, clock) -> None:
    hook.answer = 503
    told = alerts(hook, records, clock, last=0.2)
    told.notice(stale())
    until(lambda: hook.tries >= 1)
    told.close()
    hook.answer = 200
    later = alerts(hook, records, clock)
    later.notice(stale())
    later.close()
    assert hook.texts == ["View v is STALE."]


def test_only_the_kinds_asked_for_are_sent_and_all_are_in_the_log(hook, records, clock, caplog) -> None:
    with caplog.at_level(logging.INFO, "e2i_fs.alerts"):
        told = alerts(hook, records, clock, on=["BreakerMoved"])
        told.notice(stale())
        told.notice(BreakerMoved(NOW, "redis", "closed", "open"))
        told.close()
    assert hook.texts == ["Backend redis: its breaker went from closed to open."]
    logged = {r.getMessage(): r for r in caplog.records}
    assert set(logged) == {"View v is STALE.", *hook.texts}
    assert logged["View v is STALE."].levelno == logging.ERROR
    assert logged["View v is STALE."].alert["about"] == {"view": "v", "status": "STALE"}


def test_slack_gets_one_escaped_line(hook, records, clock) -> None:
    told = alerts(hook, records, clock, format="slack")
    told.notice(FailedOver(NOW, "standby", "<primary> & co"))
    told.close()
    assert hook.taken == [
        {"text": "*WARNING* e2i: Backend standby answered in place of the primary: &lt;primary&gt; &amp; co"}
    ]


def test_alerts_are_told_when_the_records_cannot_be_written(hook, records, clock) -> None:
    records._db.execute("PRAGMA query_only = ON")
    told = alerts(hook, records, clock)
    for _ in range(3):
        told.notice(stale())
        until(lambda: not told._inbox)
    told.close()
    assert hook.texts == ["View v is STALE."]


# ---- how often --------------------------------------------------------------------------------------------------


@pytest.fixture
def repeats(records: Records) -> Repeats:
    return Repeats(records, 60 * MINUTE_US)


def said(repeats: Repeats, event: Event, minute: float) -> tuple[str, int] | None:
    alert = alert_of(event)
    assert isinstance(alert, Alert)
    found = repeats.judged(alert, round(minute * MINUTE_US))
    return None if found is None else (found.status, found.repeats)


def test_the_same_alert_is_told_again_only_after_a_while_with_how_often_it_was_not(repeats) -> None:
    assert [said(repeats, stale(), minute) for minute in (0, 1, 59.9, 60, 61)] == [
        ("STALE", 0), None, None, ("STALE", 2), None,
    ]  # fmt: skip
    assert said(repeats, stale("w"), 61) == ("STALE", 0)
    assert said(repeats, stale(status="EXPIRED"), 61) == ("EXPIRED", 1)


def test_that_it_is_over_is_told_once_and_only_of_what_was_told(repeats) -> None:
    fresh = FreshnessChecked(NOW, "v", "FRESH", 1.0, 2.0)
    assert said(repeats, fresh, 0) is None
    assert said(repeats, stale(), 1) == ("STALE", 0)
    assert [said(repeats, fresh, minute) for minute in (2, 3)] == [("resolved", 0), None]
    assert said(repeats, stale(), 100) == ("STALE", 0)


def test_what_flaps_is_told_once_each_way_and_what_it_came_to_in_the_end(repeats) -> None:
    up, down = BreakerMoved(NOW, "b", "half-open", "closed"), BreakerMoved(NOW, "b", "closed", "open")
    found = [said(repeats, event, minute) for minute, event in enumerate([down, up, down, up, down])]
    assert found == [("open", 0), ("resolved", 0), None, None, None]
    assert repeats.due(30 * MINUTE_US) == [] and repeats.next_due == 60 * MINUTE_US
    (late,) = repeats.due(60 * MINUTE_US)
    assert late.status == "open" and repeats.next_due is None
    assert repeats.due(200 * MINUTE_US) == []


def test_a_held_alert_that_came_to_nothing_is_not_told(repeats) -> None:
    up, down = BreakerMoved(NOW, "b", "half-open", "closed"), BreakerMoved(NOW, "b", "closed", "open")
    for minute, event in enumerate([down, up, down, up]):
        said(repeats, event, minute)
    assert repeats.due(500 * MINUTE_US) == []


def test_processes_share_what_was_told(repeats, records) -> None:
    other = Repeats(records, 60 * MINUTE_US)
    assert said(repeats, stale(), 0) == ("STALE", 0)
    assert said(other, stale(), 1) is None
    assert said(other, FreshnessChecked(NOW, "v", "FRESH", 1.0, 2.0), 2) == ("resolved", 1)
    assert said(repeats, FreshnessChecked(NOW, "v", "FRESH", 1.0, 2.0), 3) is None


def test_a_clock_that_went_back_silences_no_alert(repeats) -> None:
    assert said(repeats, stale(), 1000) == ("STALE", 0)
    assert said(repeats, stale(), 10) == ("STALE", 0)


def test_a_held_alert_is_told_by_the_thread_when_it_is_due(hook, records, clock, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "_LOOK", 0.01)
    told = alerts(hook, records, clock)
    for after in ("open", "closed", "open"):
        told.notice(BreakerMoved(NOW, "b", "", after))
        until(lambda: not told._inbox)
    until(lambda: told._repeats.next_due is not None)
    assert [one["status"] for one in hook.taken] == ["open", "resolved"]
    clock.advance(HOUR)
    until(lambda: len(hook.taken) == 3)
    assert hook.taken[2]["status"] == "open"
    told.close()


def test_which_events_alert_and_which_say_that_it_is_over() -> None:
    job = (1, 0, 0, 0.0, "Error: gone.")
    told = {
        "open": BreakerMoved(NOW, "b", "closed", "open"), "failed over": FailedOver(NOW, "b", "why"),
        "failed": JobEnded(NOW, "v", "full", "failed", *job), "timed out": JobEnded(NOW, "v", "full", "timed out", *job),
        "found": LeakageFound(NOW, "v", 3), "diverged": ParityMoved(NOW, "b", "v", "verified", "diverged"),
        "UNKNOWN": stale(status="UNKNOWN"),
    }  # fmt: skip
    assert {status: alert_of(event).status for status, event in told.items()} == {status: status for status in told}
    over = [
        BreakerMoved(NOW, "b", "half-open", "closed"), FreshnessChecked(NOW, "v", "FRESH", 1.0, None),
        JobEnded(NOW, "v", "full", "succeeded", *job), ParityMoved(NOW, "b", "v", "lagging", "verified"),
        Materialized(NOW, "v", "b", 1, "succeeded"),
    ]  # fmt: skip
    assert all(alert_of(event).resolved for event in over)
    quiet = [
        BreakerMoved(NOW, "b", "open", "half-open"), BreakerMoved(NOW, "b", "closed", "isolated"),
        JobEnded(NOW, "v", "full", "overlapped", *job), ParityMoved(NOW, "b", "v", "verified", "lagging"),
        FreshnessChecked(NOW, "v", "STALE", 1.0, None),
    ]  # fmt: skip
    assert [alert_of(event) for event in quiet] == [None] * len(quiet)


# ---- the configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"logs": True}, "alerts: unknown key 'logs'. Did you mean 'log'"),
        ({"log": False}, "log is false and there is no webhook"),
        ({"webhook": {}}, "alerts, webhook: 'url' is missing; give an http:// or https:// address"),
        ({"webhook": {"url": f"file:///etc/{SECRET}"}}, "webhook, url: it is neither http:// nor https://"),
        ({"webhook": {"url": f"ftp://{SECRET}.com"}}, "it is neither http:// nor https://"),
        ({"webhook": {"url": f"https:///{SECRET}"}}, "it has no host"),
        ({"webhook": {"url": f"https://u:{SECRET}@h/"}}, "give an Authorization header instead"),
        ({"webhook": {"url": f"https://h/{SECRET} x"}}, "characters that no address has"),
        ({"webhook": {"url": f"https://h:port/{SECRET}"}}, "it is no address"),
        ({"webhook": {"url": "http://h", "on": ["Stael"]}}, "called 'Stael'. Did you mean 'Stale'"),
        ({"webhook": {"url": "http://h", "on": "Stale"}}, "give a list of one or more of"),
        ({"webhook": {"url": "http://h", "on": []}}, "give a list of one or more of"),
        ({"webhook": {"url": "http://h", "headers": {"A": f"{SECRET}\n"}}}, "the header 'A' cannot be sent"),
        ({"webhook": {"url": "http://h", "headers": {"A b": SECRET}}}, "the header 'A b' cannot be sent"),
        ({"webhook": {"url": "http://h", "headers": {"Host": SECRET}}}, "the header 'Host' is set by"),
        ({"webhook": {"url": "http://h", "headers": {"A": 5}}}, "A is 5; give text"),
        ({"webhook": {"url": "http://h", "timeout": 0}}, "timeout is 0; give more than 0"),
        ({"webhook": {"url": "http://h", "format": "xml"}}, "format is 'xml'; give 'json' or 'slack'"),
        ({"repeat_minutes": -1}, "repeat_minutes is -1; give at least 0"),
        (5, "alerts is 5; give a mapping"),
    ],
)
def test_alerts_that_make_no_sense_are_refused_by_their_key_and_no_secret_is_printed(given, says) -> None:
    with pytest.raises(fs.ConfigError) as raised:
        fs.connect({"backend": "memory", "alerts": given})
    assert says in str(raised.value) and SECRET not in str(raised.value)


def test_a_bare_on_in_yaml_is_the_key(tmp_path) -> None:
    file = tmp_path / "e2i_fs.yaml"
    file.write_text("{backend: memory, alerts: {webhook: {url: 'http://h', on: [Stale]}}}")
    assert load_config(file).alerts.webhook.on == ("Stale",)


def test_the_settings_print_no_secret() -> None:
    made = WebhookConfig(url=f"https://h/{SECRET}", headers={"Authorization": SECRET})
    assert SECRET not in repr(made) and SECRET not in str(made)


def test_the_kinds_that_can_be_asked_for_are_those_that_alert() -> None:
    assert set(WebhookConfig(url="http://h").on) == set(KINDS) - {"Materialized"}
