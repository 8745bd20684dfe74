"""Celery for real: workers and beats that are processes, on a real Redis."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import e2i_fs as fs
from tests.integration.celery_words import blocked, end, online, project, running, under_way, until

if importlib.util.find_spec("celery") is None:
    pytest.skip('needs Celery: pip install "e2i-fs[celery]"', allow_module_level=True)

from e2i_fs.ops.celery import make_app  # noqa: E402

WORKER = ("worker", "-c", "2", "-l", "INFO", "--without-gossip", "--without-mingle")
# Looks every second for tasks that nobody has acknowledged within three. Unless told otherwise, a worker looks as it starts and
# then every 100 s, and one killed while it looks keeps others from it for 300 s.
IMPATIENT = """
app.conf.broker_transport_options = {
    "visibility_timeout": 3, "unacked_restore_interval": 1, "unacked_restore_throttle": 1, "unacked_mutex_expire": 1
}
"""


@pytest.fixture(scope="module")
def work(redis_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A project, and a worker of two processes at work on it."""
    folder = tmp_path_factory.mktemp("celery")
    config = project(folder, redis_address, 1)
    with running(folder, *WORKER) as worker:
        yield SimpleNamespace(folder=folder, config=config, app=make_app(config), worker=worker)


def done(work: SimpleNamespace, name: str, **more: object) -> dict:
    return work.app.send_task(f"e2i_fs.{name}", kwargs=more).get(timeout=40)


def all_of(work: SimpleNamespace, parent: dict) -> dict[str, dict]:
    return {view: work.app.AsyncResult(task).get(timeout=40) for view, task in parent["sent"].items()}


@pytest.mark.rule("W-3")
def test_the_four_tasks_do_their_work(work: SimpleNamespace) -> None:
    sent = done(work, "incremental")
    assert sent["views"] == ["calls", "visits"]
    results = all_of(work, sent)
    assert [(r["views"], r["rows_written"]) for r in results.values()] == [(["calls"], 4), (["visits"], 4)]
    assert online(work.config) == [1, 2, 3, 4]

    late = datetime.now(UTC) - timedelta(hours=2, minutes=59)  # before what was materialised just now
    rows = pa.table({"k": ["d"], "event_timestamp": pa.array([late], pa.timestamp("us", "UTC")), "x": [40]})
    whole = pa.concat_tables([pq.read_table(work.folder / "visits.parquet"), rows])
    pq.write_table(whole, work.folder / "visits.parquet")
    assert done(work, "single_view", view="visits")["views"] == ["visits"]
    assert online(work.config) == [1, 2, 3, 40]

    results = all_of(work, done(work, "full", views=["calls"], days_back=1))
    assert [job["mode"] for job in results["calls"]["jobs"]] == ["full"]
    assert done(work, "freshness_check")["views"]["visits"]["status"] == "FRESH"


@pytest.mark.rule("W-4", "F-2")
def test_a_task_that_did_not_do_its_work_has_failed_and_says_why(work: SimpleNamespace) -> None:
    with pytest.raises(fs.UnknownFeatureError, match=r"'vsits'. Did you mean 'visits'\?"):
        done(work, "single_view", view="vsits")
    with pytest.raises(fs.UnknownFeatureError, match="vsits"):
        done(work, "incremental", views=["vsits"])
    with pytest.raises(fs.RequestError, match="mode is 'fll'; give 'incremental' or 'full'"):
        done(work, "single_view", view="visits", mode="fll")
    path = work.folder / "calls.parquet"
    path.rename(work.folder / "away")
    try:
        with pytest.raises(fs.JobsFailedError, match=r"1 of 1 jobs did not do their work: calls: .*calls\.parquet"):
            done(work, "single_view", view="calls")
    finally:
        (work.folder / "away").rename(path)
    failed = work.app.send_task("e2i_fs.single_view", kwargs={"view": "vsits"})
    with pytest.raises(fs.UnknownFeatureError):
        failed.get(timeout=40)
    assert failed.state == "FAILURE"


@pytest.mark.rule("W-4")
def test_the_task_of_a_killed_process_is_taken_up_by_another(work: SimpleNamespace) -> None:
    with blocked(work.folder):
        task = work.app.send_task("e2i_fs.single_view", kwargs={"view": "calls", "mode": "full", "days_back": 2})
        until(lambda: under_way(work.folder, "calls"), "the job begins")
        os.kill(task.info["pid"], signal.SIGKILL)
        first = task.info["pid"]
        until(lambda: (task.info or {}).get("pid", first) != first, "another process takes it")
    result = task.get(timeout=40)
    assert result["jobs"][-1]["outcome"] == "succeeded"
    with fs.connect(work.config) as store:
        newest, killed, *_ = store.jobs().history("calls")
    assert (newest.outcome, killed.outcome) == ("succeeded", "failed") and "The process ended" in killed.error


@pytest.mark.rule("W-4")
def test_beat_sends_what_the_configuration_says_and_a_worker_does_it(work: SimpleNamespace) -> None:
    settings = yaml.safe_load(work.config.read_text(encoding="utf-8"))
    settings["materialisation"]["schedule"] = {
        "incremental_every_hours": 5 / 3600, "freshness_check_every_hours": 5 / 3600, "full_every_days": 5 / 86400,
    }  # fmt: skip
    settings["materialisation"]["freshness"] = {"views": {"visits": {"incremental_every_hours": 5 / 3600}}}
    (work.folder / "often.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (work.folder / "often.py").write_text(
        'from e2i_fs.ops.celery import make_app\n\napp = make_app("often.yaml")\n', encoding="utf-8"
    )
    log = work.folder / "worker.log"
    begin = len(log.read_text(encoding="utf-8"))
    before = datetime.now(UTC)

    def ran(task: str) -> bool:
        lines = log.read_text(encoding="utf-8")[begin:].splitlines()
        return any(f"Task e2i_fs.{task}[" in line and "succeeded" in line for line in lines)

    with running(work.folder, "beat", "-s", str(work.folder / "beat"), "-l", "INFO", app="often"):
        until(lambda: all(map(ran, ("incremental", "full", "freshness_check"))), "beat sends all three")
        until(lambda: _modes(work.config, before) >= {("visits", "incremental"), ("calls", "incremental"), ("visits", "full")}, "views")  # fmt: skip


def _modes(config: Path, since: datetime) -> set[tuple[str, str]]:
    with fs.connect(config) as store:
        return {(job.view, job.mode) for job in store.jobs().history() if job.started_at >= since}


@pytest.mark.rule("W-4")
def test_the_task_of_a_worker_that_is_gone_with_its_machine_is_taken_up_by_another(
    redis_address: str, tmp_path: Path
) -> None:
    config = project(tmp_path / "gone", redis_address, 2)
    folder = config.parent
    with (folder / "work.py").open("a", encoding="utf-8") as module:
        module.write(IMPATIENT)
    app = make_app(config)
    with blocked(folder), running(folder, *WORKER) as worker:
        task = app.send_task("e2i_fs.single_view", kwargs={"view": "visits"})
        until(lambda: under_way(folder, "visits"), "the job begins")
        end(worker)
    assert online(config) == [None] * 4
    with running(folder, *WORKER):
        assert task.get(timeout=60)["jobs"][-1]["outcome"] == "succeeded"
    assert online(config) == [1, 2, 3, 4]
