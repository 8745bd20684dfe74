"""Jobs: tried again, given up, taken up again, cut into windows, and recorded whatever happens (W-4)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.ops.job_records import JobRecords
from e2i_fs.ops.jobs import Jobs
from e2i_fs.ops.settings import load_settings
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.directed import NOW, at
from tests.breakable import OPENED, BreakablePlugin

pytestmark = pytest.mark.rule("W-4")
DAY = timedelta(days=1)
FAST = {"jobs": {"retries": 2, "retry_delay_seconds": 30, "retry_backoff": 2, "timeout_seconds": 60}}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def opened(clock, tmp_path, monkeypatch):
    """A store of two views, in pieces of two rows, whose backend can be made to fail."""
    monkeypatch.setattr("e2i_fs.ops.materialize.CHUNK", 2)
    times = pa.array([at(1) - DAY * n for n in range(5)], pa.timestamp("us", "UTC"))
    pq.write_table(
        pa.table({"k": list("abcde"), "event_timestamp": times, "x": list(range(5))}), tmp_path / "h.parquet"
    )
    source = fs.ParquetSource(tmp_path / "h.parquet")
    views = [
        fs.FeatureView(n, entities=["k"], schema=[fs.Field("x", fs.Int64)], source=source, max_staleness=DAY)
        for n in "vw"
    ]
    config = {"backend": "breakable", "inner": "duckdb", "path": str(tmp_path / "store")}
    with fs.connect(config, clock=clock, plugins=[BreakablePlugin()]) as store:
        store.apply([fs.Entity("k"), *views])
        yield store


def failing(*calls: int, view: str = "v", then=lambda: None) -> None:
    """Make these online writes to a view, counted from 1, fail before they are done."""
    backend = OPENED["breakable"]
    real, seen = backend.inner.online_write, []

    def online_write(name, *args, **more):
        if name == view:
            seen.append(1)
            if len(seen) in calls:
                then()
                raise fs.BackendUnavailableError("Taken away by the test.")
        return real(name, *args, **more)

    backend.inner.online_write = online_write


def online(store, view: str = "v") -> list[int | None]:
    return store.get_online_features([f"{view}:x"], [{"k": k} for k in "abcde"]).to_dict()["x"]


def test_a_job_is_tried_again_after_growing_delays_and_counts_each_row_once(opened, slept) -> None:
    failing(2, 3)
    report = opened.jobs(FAST, sleep=slept.append).incremental()
    v, w = report.jobs
    assert (v.outcome, v.attempts, v.rows_read, v.rows_written) == ("succeeded", 3, 5, 5)
    assert (w.outcome, w.attempts, w.rows_read, w.rows_written) == ("succeeded", 1, 5, 5)
    assert slept == [30, 60] and not report.failed
    assert online(opened) == [0, 1, 2, 3, 4]


def test_who_asks_is_told_which_job_is_tried_again_why_and_when(opened, slept) -> None:
    failing(2, 3)
    told = []
    jobs = opened.jobs(FAST, sleep=slept.append, again=lambda job, seconds: told.append((job, seconds, len(slept))))
    jobs.incremental()
    assert [(job.view, job.attempts, seconds, before) for job, seconds, before in told] == [
        ("v", 1, 30, 0),
        ("v", 2, 60, 1),
    ]
    assert all("Taken away" in job.error for job, _, _ in told)


def test_a_job_that_is_given_up_keeps_no_other_from_its_work(opened, slept) -> None:
    failing(*range(1, 9))
    report = opened.jobs(FAST, sleep=slept.append).incremental()
    (v,) = report.failed
    assert (v.view, v.outcome, v.attempts) == ("v", "failed", 3) and "Taken away" in v.error
    assert online(opened, "w") == [0, 1, 2, 3, 4]
    assert [(j.view, j.outcome) for j in opened.jobs().history()] == [("w", "succeeded"), ("v", "failed")]


def test_a_mistake_of_the_caller_is_not_tried_again(opened, slept) -> None:
    opened.apply([fs.FeatureView("quiet", entities=["k"], schema=[fs.Field("x", fs.Int64)], online=False)])
    (job,) = opened.jobs(FAST, sleep=slept.append).incremental(["quiet"]).jobs
    assert (job.outcome, job.attempts) == ("failed", 1) and "online=False" in job.error
    assert slept == []
    with pytest.raises(fs.UnknownFeatureError, match="Did you mean 'quiet'"):
        opened.jobs(FAST).incremental(["quite"])


def test_a_job_begins_when_its_own_view_is_begun_with(opened, clock) -> None:
    failing(1, view="v", then=lambda: clock.advance(timedelta(minutes=5)))
    first, second = opened.jobs(FAST, sleep=lambda _: None).incremental(["v", "w"]).jobs
    assert (first.started_at, second.started_at) == (NOW, NOW + timedelta(minutes=5))


def test_while_a_job_waits_to_be_tried_again_it_is_running(opened) -> None:
    failing(1)
    said = []
    jobs = opened.jobs(FAST, sleep=lambda _: said.append(None))
    real = OPENED["breakable"].inner.online_write

    def write(*args, **more):
        said.append(jobs.history("v")[0].outcome)
        return real(*args, **more)

    OPENED["breakable"].inner.online_write = write
    jobs.incremental(["v"])
    assert said[:3] == ["running", None, "running"]


def test_a_full_run_looks_back_from_the_beginning_of_a_batch_and_is_cut_into_jobs(opened) -> None:
    settings = {"full": {"lookback_days": 3, "max_days_per_job": 2, "batch_days": 1}}
    jobs = opened.jobs(settings).full(["v"]).jobs
    first = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - 3 * DAY
    assert [j.start for j in jobs] == [first + 2 * DAY * n for n in range(len(jobs))]
    assert [j.end for j in jobs[:-1]] == [j.start - timedelta(microseconds=1) for j in jobs[1:]]
    assert jobs[-1].end == NOW and all(j.end - j.start <= 2 * DAY for j in jobs)
    kept = [n for n, t in enumerate(at(1) - DAY * n for n in range(5)) if t >= first]
    assert online(opened) == [n if n in kept else None for n in range(5)]


def test_a_naive_time_is_read_as_the_store_reads_it(opened) -> None:
    (job,) = opened.jobs().full(["v"], start=at(0).replace(tzinfo=None)).jobs
    assert job.start == at(0) and online(opened) == [0, None, None, None, None]
    (job,) = opened.jobs().incremental(["v"], end=at(0).replace(tzinfo=None)).jobs
    assert job.end == at(0)


def test_a_full_job_that_failed_is_taken_up_by_the_next_but_not_for_ever(opened, slept) -> None:
    failing(1, 2, 3)
    settings = {**FAST, "jobs": {**FAST["jobs"], "retries": 0}, "recovery": {"max_attempts": 2}}
    jobs = opened.jobs(settings, sleep=slept.append)
    (left,) = jobs.full(["v"], days_back=10).failed
    for recoveries in (1, 2):
        (again,) = jobs.recover().jobs
        assert (again.job_id, again.outcome, again.recoveries) == (left.job_id, "failed", recoveries)
    assert jobs.recover().jobs == ()
    (done,) = jobs.full(["v"], days_back=10).jobs
    assert done.outcome == "succeeded" and online(opened) == [0, 1, 2, 3, 4]


def test_what_a_later_full_job_covered_is_not_taken_up_again(opened) -> None:
    failing(1)
    once = opened.jobs({"jobs": {"retries": 0}})
    once.full(["v"], days_back=2)
    once.full(["v"], days_back=5)
    assert once.recover().jobs == ()
    failing(1)
    once.full(["v"], days_back=5)
    assert [j.outcome for j in once.incremental(["v"]).jobs] == ["succeeded", "succeeded"]


def test_a_job_whose_process_ended_is_a_failed_one(opened) -> None:
    records = JobRecords(opened._ledger.records)
    us = round(NOW.timestamp() * 1e6)
    left = {"id": "lost", "view": "v", "mode": "full", "start_us": us - 10**12, "end_us": us, "outcome": "running", "attempts": 1,
            "recoveries": 0, "rows_read": 0, "rows_written": 0, "started_us": us, "duration": 0.0, "error": None}  # fmt: skip
    records.save(left)
    assert opened.jobs().history()[0].outcome == "running"
    opened._ledger.records.disown()
    (job,) = opened.jobs().history()
    assert job.outcome == "failed" and "process ended" in job.error
    (again,) = opened.jobs().recover().jobs
    assert (again.job_id, again.outcome, again.recoveries) == ("lost", "succeeded", 1)


def test_a_try_out_of_time_goes_on_where_it_was(opened, clock, slept) -> None:
    ticks = iter([40, 40, 0, 0, 0, 0])
    progress = lambda *_: clock.advance(timedelta(seconds=next(ticks)))  # noqa: E731
    (job,) = opened.jobs(FAST, sleep=slept.append).incremental(["v"], progress=progress).jobs
    assert (job.outcome, job.attempts, job.rows_written) == ("succeeded", 2, 5)


def test_a_try_that_hangs_is_left_to_itself_and_said(opened, clock) -> None:
    stuck = threading.Event()
    failing(1, then=stuck.wait)
    settings = load_settings({"jobs": {"timeout_seconds": 0.05}})
    jobs = Jobs(
        opened._runs, lambda views: list(views), settings, JobRecords(opened._ledger.records), clock, leeway=0.05,
        checks=opened._checks(opened._freshness_of, settings),
    )  # fmt: skip
    (job,) = jobs.incremental(["v"]).jobs
    assert (job.outcome, job.attempts) == ("timed out", 1)
    assert "hangs" in job.error and job.error.startswith("RunTimeoutError:")
    stuck.set()


def test_a_dry_run_plans_and_records_nothing(opened) -> None:
    planned = opened.jobs().full(["v"], days_back=10, dry_run=True).jobs
    assert [(j.outcome, j.rows_read, j.rows_written) for j in planned] == [("planned", 5, 5)]
    assert opened.jobs().history() == [] and online(opened) == [None] * 5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"jobs": {"retry": 1}}, "materialisation, jobs: unknown key 'retry'. Did you mean 'retries'"),
        ({"freshness": {"views": {"v": {"max_stalenes_hours": 1}}}}, "unknown key 'max_stalenes_hours'. Did you mean"),
        ({"freshness": {"views": {"vv": {"max_staleness_hours": 1}}}}, "no view is called 'vv'. Did you mean 'v'"),
        ({"full": {"batch_days": 40}}, "batch_days is 40, and max_days_per_job 30"),
        ({"jobs": {"timeout_seconds": 0}}, "timeout_seconds is 0; give more than 0"),
        ("nowhere.yaml", "no materialisation settings at"),
        (5, "materialisation is 5; give the path"),
    ],
)
def test_settings_that_are_wrong_say_which_key_and_what_to_give(opened, settings, says) -> None:
    with pytest.raises(fs.ConfigError) as raised:
        opened.jobs(settings)
    assert says in str(raised.value)


def test_the_configuration_s_settings_say_what_is_stale_and_are_checked_as_it_is_read(tmp_path: Path, clock) -> None:
    (tmp_path / "m.yaml").write_text("freshness: {max_staleness_hours: 1, views: {w: {max_staleness_hours: 90}}}\n")
    (tmp_path / "s.yaml").write_text("backend: memory\nmaterialisation: m.yaml\n")
    made = [fs.FeatureView(n, entities=["k"], schema=[fs.Field("x", fs.Int64)]) for n in "vwu"]
    made[1] = fs.FeatureView("w", entities=["k"], schema=[fs.Field("x", fs.Int64)], max_staleness=30 * DAY)
    made[2] = fs.FeatureView("u", entities=["k"], schema=[fs.Field("x", fs.Int64)], max_staleness=30 * DAY)
    frame = pa.table({"k": ["a"], "event_timestamp": pa.array([NOW - 2 * DAY], pa.timestamp("us", "UTC")), "x": [1]})
    with fs.connect(tmp_path / "s.yaml", clock=clock) as store:
        store.apply([fs.Entity("k"), *made])
        for name in "vwu":
            store.write(name, frame)
        told = {name: (r.status.name, r.max_staleness) for name, r in store.freshness().items()}
    assert told == {
        "v": ("EXPIRED", timedelta(hours=1)), "w": ("WARNING", timedelta(hours=90)), "u": ("FRESH", 30 * DAY),
    }  # fmt: skip
    (tmp_path / "m.yaml").write_text("freshnes: {}\n")
    with pytest.raises(fs.ConfigError, match=r"m.yaml: unknown key 'freshnes'. Did you mean 'freshness'"):
        fs.connect(tmp_path / "s.yaml")


def test_records_of_before_there_were_jobs_can_be_read_and_written(tmp_path, clock) -> None:
    config = {"backend": "duckdb", "path": str(tmp_path / "store")}
    times = pa.array([at(1)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"k": ["a"], "event_timestamp": times, "x": [1]}), tmp_path / "h.parquet")
    view = fs.FeatureView(
        "v", entities=["k"], schema=[fs.Field("x", fs.Int64)], source=fs.ParquetSource(tmp_path / "h.parquet")
    )
    with fs.connect(config, clock=clock) as store:
        store.apply([fs.Entity("k"), view])
        store.materialize(None)
    (file,) = (tmp_path / "store").rglob("ledger.sqlite")
    with sqlite3.connect(file) as db:
        db.execute("ALTER TABLE runs DROP COLUMN job")
    with fs.connect(config, clock=clock) as store:
        assert store.jobs().incremental().jobs[0].outcome == "succeeded"
        assert len(store.materialization_runs()) == 2


def test_jobs_of_an_awaited_store_are_awaited(clock) -> None:
    asyncio.run(_awaited(clock))


async def _awaited(clock: FakeClock) -> None:
    async with fs.connect_async({"backend": "memory"}, clock=clock) as store:
        await store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
        jobs = await store.jobs(FAST)
        assert [j.outcome for j in (await jobs.full(days_back=1)).jobs] == ["succeeded"]
        assert [j.mode for j in (await jobs.incremental()).jobs] == ["incremental"]
        assert (await jobs.recover()).jobs == () and len(await jobs.history("v")) == 2
