"""What observers are told of checks, jobs, answers and failures: one event for each, and none that nobody asked for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import e2i_fs as fs
from e2i_fs.telemetry.events import Event, FreshnessChecked, JobEnded, Stale
from e2i_fs.testing.clock import FakeClock
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, at, view

HOUR = timedelta(hours=1)


class Observer:
    """Keeps every event that it is told of."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @fs.hookimpl
    def e2i_fs_on_event(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
def store(tmp_path: Path, observer: Observer):
    """A store of two views, of rows an hour and ten hours old, on a backend that can be made to fail."""
    config = {"backend": "breakable", "inner": "duckdb", "path": str(tmp_path / "store")}
    with fs.connect(config, clock=FakeClock(NOW), plugins=[BreakablePlugin(), observer]) as opened:
        young = view(tmp_path, [("a", NOW - HOUR, 1)], name="young", max_staleness=4 * HOUR)
        old = view(tmp_path, [("a", NOW - 10 * HOUR, 1)], name="old", max_staleness=4 * HOUR)
        opened.apply([young, old])
        opened.materialize(None)
        observer.events.clear()
        yield opened


@pytest.mark.rule("F-2")
def test_each_check_tells_every_view_with_its_age_and_limit_in_seconds(store, observer) -> None:
    store.freshness()
    assert observer.of(FreshnessChecked) == [
        FreshnessChecked(NOW, "old", "EXPIRED", 36_000.0, 14_400.0, "breakable"),
        FreshnessChecked(NOW, "young", "FRESH", 3_600.0, 14_400.0, "breakable"),
    ]
    assert observer.of(Stale) == [Stale(NOW, "old", "EXPIRED", 36_000.0)]


@pytest.mark.rule("W-4")
def test_each_job_tells_once_how_it_ended(store, observer) -> None:
    (done, _) = store.jobs().incremental().jobs
    told = observer.of(JobEnded)
    assert [(e.view, e.mode, e.outcome, e.attempts, e.error) for e in told] == [
        ("old", "incremental", "succeeded", 1, None),
        ("young", "incremental", "succeeded", 1, None),
    ]
    assert told[0].job_id == done.job_id
    store.jobs().incremental(dry_run=True)
    assert len(observer.of(JobEnded)) == 2


@pytest.mark.rule("W-4")
def test_a_job_that_is_given_up_tells_its_tries_and_its_error(store, observer) -> None:
    store.write("young", [{"hcp_id": "a", "event_timestamp": at(719), "trx_count": 2}], to="offline")
    OPENED["breakable"].break_("online_write")
    settings = {"jobs": {"retries": 2, "retry_delay_seconds": 1}}
    store.jobs(settings, sleep=lambda _: None).incremental(["young"])
    (told,) = observer.of(JobEnded)
    assert (told.outcome, told.attempts) == ("failed", 3)
    assert told.error is not None
    assert told.error.startswith("BackendUnavailableError: ")
