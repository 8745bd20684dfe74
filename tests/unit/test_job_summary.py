"""Jobs over days: counted by outcome, view and mode, with durations and what went wrong last (W-4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

import e2i_fs as fs
from e2i_fs.ops.job_records import JobRecords
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW, view

pytestmark = pytest.mark.rule("W-4")
HOUR = timedelta(hours=1)


def record(store, number: int, outcome: str, **more) -> None:
    """Leave a record as a job that began ``number`` hours ago would."""
    started = round((NOW - number * HOUR).timestamp() * 1e6)
    kept = {"id": f"job-{number}", "view": "v", "mode": "full", "start_us": None, "end_us": started, "outcome": outcome,
            "attempts": 1, "recoveries": 0, "rows_read": 10, "rows_written": 5, "started_us": started,
            "duration": float(number), "error": None}  # fmt: skip
    JobRecords(store._ledger.records).save({**kept, **more})


def test_jobs_are_summed_by_view_and_mode(store) -> None:
    for number in range(1, 21):
        record(store, number, "succeeded")
    record(store, 21, "failed", error="BackendUnavailableError: earlier.")
    record(store, 22, "timed out", error="RunTimeoutError: earliest.", recoveries=2)
    record(store, 23, "overlapped", duration=999.0, error="Another one.")
    record(store, 24, "running", duration=0.0, rows_read=0, rows_written=0)
    record(store, 25, "succeeded", mode="incremental")
    record(store, 26, "failed", view="a", error="It is gone.")
    a, full, incremental = store.jobs().summary()
    assert [(s.view, s.mode, s.jobs) for s in (a, full, incremental)] == [
        ("a", "full", 1), ("v", "full", 24), ("v", "incremental", 1),
    ]  # fmt: skip
    assert (full.succeeded, full.failed, full.timed_out, full.overlapped, full.running) == (20, 1, 1, 1, 1)
    assert (full.recoveries, full.rows_read, full.rows_written) == (2, 230, 115)
    seconds = [round(d.total_seconds()) for d in (full.duration_p50, full.duration_p95, full.duration_max)]
    assert seconds == [11, 21, 22]
    assert full.last_success == NOW - HOUR + timedelta(seconds=1)
    assert full.last_error == "BackendUnavailableError: earlier."
    assert (a.last_success, a.last_error, a.newest_event_timestamp) == (None, "It is gone.", None)
    assert [s.jobs for s in store.jobs().summary(days=0.5)] == [12]


def test_the_newest_event_is_of_what_the_jobs_brought_online(store, tmp_path, clock: FakeClock) -> None:
    store.apply([view(tmp_path, [("a", NOW - 3 * HOUR, 1), ("b", NOW - 2 * HOUR, 1)])])
    store.jobs().incremental()
    clock.advance(HOUR)
    store.jobs().full(days_back=1)
    found = {s.mode: s for s in store.jobs().summary()}
    assert found["incremental"].newest_event_timestamp == NOW - 2 * HOUR
    assert found["full"].newest_event_timestamp == NOW - 2 * HOUR
    assert (found["full"].jobs, found["full"].rows_read, found["full"].last_success) == (1, 2, NOW + HOUR)


def test_no_jobs_are_no_summary_and_senseless_days_are_refused(store) -> None:
    assert store.jobs().summary() == []
    for call in (store.jobs().summary, store.jobs().history):
        with pytest.raises(fs.RequestError, match="days is -1"):
            call(days=-1)


def test_an_awaited_store_has_the_summary(clock) -> None:
    async def awaited() -> list[fs.JobSummary]:
        async with fs.connect_async({"backend": "memory"}, clock=clock) as store:
            await store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
            jobs = await store.jobs()
            await jobs.incremental()
            return await jobs.summary()

    (found,) = asyncio.run(awaited())
    assert (found.view, found.mode, found.succeeded) == ("v", "incremental", 1)
