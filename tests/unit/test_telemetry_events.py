"""What observers are told of checks, jobs, answers and failures: one event for each, and none that nobody asked for."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

import e2i_fs as fs
from e2i_fs.telemetry.events import FailedOver, FreshnessChecked, JobEnded, OperationEnded, Retrieved, Stale
from e2i_fs.testing.clock import FakeClock
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import NOW, ask, at, view
from tests.telemetry_world import Observer, opened

HOUR = timedelta(hours=1)


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


def test_a_call_tells_once_how_it_ended_who_answered_and_who_was_asked(store, observer) -> None:
    store.get_online_features(["young:trx_count"], [{"hcp_id": "a"}, {"hcp_id": "b"}])
    with pytest.raises(fs.UnknownFeatureError):
        store.get_online_features(["young:none"], [{"hcp_id": "a"}])
    OPENED["breakable"].break_("online_read")
    with pytest.raises(fs.BackendUnavailableError):
        store.get_online_features(["young:trx_count"], [{"hcp_id": "a"}])
    told = [(e.operation, e.outcome, e.error, e.served_by, e.rows, e.views) for e in observer.of(OperationEnded)]
    assert told == [
        ("online", "ok", None, "breakable", 2, ("young",)),
        ("online", "refused", "UnknownFeatureError", "", 0, ()),
        ("online", "failed", "BackendUnavailableError", "", 0, ()),
    ]
    assert [a.outcome for a in observer.of(OperationEnded)[0].attempts] == ["answered"]


@pytest.mark.rule("O-3")
def test_a_retrieval_counts_its_values_by_view_and_status(store, observer) -> None:
    refs = ["young:trx_count", "old:trx_count"]
    answers = [
        store.get_online_features(refs, [{"hcp_id": "a"}, {"hcp_id": "b"}], full_feature_names=True),
        ask(store, [("a", NOW - 2 * HOUR), ("b", NOW), ("a", NOW)], refs, full_feature_names=True),
    ]
    for answer, event in zip(answers, observer.of(Retrieved), strict=True):
        wanted = {ref.split(":")[0]: Counter(s.value for s in found) for ref, found in answer.statuses.items()}
        assert dict(event.statuses) == wanted
    assert dict(observer.of(Retrieved)[1].statuses["young"]) == {"PRESENT": 1, "NOT_FOUND": 2}


def test_a_failover_tells_who_should_have_answered_and_why_it_did_not_as_a_class(tmp_path, observer) -> None:
    with opened(tmp_path, FakeClock(NOW), plugins=[observer]) as pair:
        pair.apply([view(tmp_path, [("a", NOW, 1)])])
        OPENED["primary"].break_()
        for _ in range(2):
            pair.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "a"}])
    assert [(e.primary, e.served_by, e.cause) for e in observer.of(FailedOver)] == [
        ("primary", "standby", "BackendUnavailableError"),
        ("primary", "standby", "open"),
    ]


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
