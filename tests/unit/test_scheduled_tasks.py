"""The tasks that schedulers call, and the process that runs them one after another."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import e2i_fs as fs
from e2i_fs.cli.app import run
from e2i_fs.ops import tasks
from e2i_fs.ops.schedule import Entry, entries
from e2i_fs.ops.scheduling import Scheduler, last_runs
from e2i_fs.ops.triggers import Every
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.directed import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def config(tmp_path: Path, clock: FakeClock) -> Path:
    """A store of the views v and w, whose rows are of the last hours, and w has a schedule of its own."""
    times = pa.array([NOW - HOUR * n for n in range(3)], pa.timestamp("us", "UTC"))
    for name in "vw":
        rows = pa.table({"k": list("abc"), "event_timestamp": times, "x": [1, 2, 3]})
        pq.write_table(rows, tmp_path / f"{name}.parquet")
    path = tmp_path / "e2i_fs.yaml"
    settings = {
        "jobs": {"retries": 0},
        "freshness": {"max_staleness_hours": 10, "views": {"w": {"incremental_every_hours": 2}}},
    }
    path.write_text(
        yaml.safe_dump({"backend": "duckdb", "path": "store", "materialisation": settings}), encoding="utf-8"
    )
    with fs.connect(path, clock=clock) as store:
        views = [
            fs.FeatureView(
                n, entities=["k"], schema=[fs.Field("x", fs.Int64)], source=fs.ParquetSource(tmp_path / f"{n}.parquet")
            )
            for n in "vw"
        ]
        store.apply([fs.Entity("k"), *views])
    return path


def online(config: Path, clock: FakeClock, view: str) -> list[int | None]:
    with fs.connect(config, clock=clock) as store:
        return store.get_online_features([f"{view}:x"], [{"k": k} for k in "abc"]).to_dict()["x"]


# ---- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("W-3")
def test_each_entry_does_its_own_views_and_says_what_it_did_in_json(config, clock) -> None:
    found = {e.name: e for e in entries(tasks.settings_of(config))}
    told = tasks.run(config, found["incremental"], clock=clock)
    assert json.loads(json.dumps(told)) == told
    assert (told["views"], told["rows_written"]) == (["v"], 3)
    assert (online(config, clock, "v"), online(config, clock, "w")) == ([1, 2, 3], [None] * 3)
    told = tasks.run(config, found["incremental:w"], clock=clock)
    assert (told["views"], told["jobs"][0]["outcome"]) == (["w"], "succeeded")
    told = tasks.run(config, found["full"], clock=clock)
    assert [(j["view"], j["mode"]) for j in told["jobs"]] == [("v", "full"), ("w", "full")]
    assert tasks.run(config, found["freshness_check"], clock=clock)["stale"] == {}


@pytest.mark.rule("W-4")
def test_a_task_raises_when_a_view_is_given_up_after_it_has_done_the_others(config, clock, tmp_path) -> None:
    (tmp_path / "v.parquet").unlink()
    with pytest.raises(
        fs.JobsFailedError, match=r"^1 of 2 jobs did not do their work: v: BackendDataError: .*v\.parquet"
    ) as caught:
        tasks.incremental(config, clock=clock)
    assert list(caught.value.failed) == ["v"]
    assert [job["outcome"] for job in caught.value.result["jobs"]] == ["failed", "succeeded"]
    assert online(config, clock, "w") == [1, 2, 3]


@pytest.mark.rule("F-2")
def test_a_freshness_check_that_finds_a_view_stale_has_failed_unless_told_otherwise(config, clock) -> None:
    with pytest.raises(fs.StaleViewsError, match="2 of 2 views are not fresh: v is UNKNOWN .nothing is online"):
        tasks.freshness_check(config, clock=clock)
    tasks.incremental(config, clock=clock)
    clock.advance(HOUR * 7)
    told = tasks.freshness_check(config, clock=clock)  # a warning is no failure
    assert (told["views"]["v"]["status"], told["stale"]) == ("WARNING", {})
    clock.advance(HOUR * 5)
    with pytest.raises(fs.StaleViewsError, match=r"v is STALE .12\.0 h old of at most 10") as caught:
        tasks.freshness_check(config, ["v"], clock=clock)
    assert caught.value.stale == {"v": "STALE"} and caught.value.result["views"]["v"]["age"] == 12 * 3600
    assert tasks.freshness_check(config, ["v"], fail_when_stale=False, clock=clock)["stale"] == {"v": "STALE"}
    config.write_text(
        config.read_text().replace("materialisation:", "materialisation:\n  schedule: {fail_when_stale: false}")
    )
    assert tasks.freshness_check(config, ["v"], clock=clock)["stale"] == {"v": "STALE"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: tasks.single_view(c, "vv"), "'vv'. Did you mean 'v'"),
        (lambda c: tasks.single_view(c, "v", mode="fll"), "mode is 'fll'; give 'incremental' or 'full'"),
        (lambda c: tasks.single_view(c, "v", days_back=3), "days_back are for mode='full'"),
        (lambda c: tasks.incremental(c, "v"), "views is 'v'; give a list"),
        (lambda c: tasks.full(c, start="yesterday"), "start is 'yesterday'; give an ISO time"),
        (lambda c: tasks.freshness_check(c, ["vv"]), "'vv'. Did you mean 'v'"),
    ],
)
def test_a_mistake_is_refused_and_nothing_is_done(config, clock, call, said) -> None:
    with pytest.raises(fs.RequestError, match=said):
        call(config)
    with fs.connect(config, clock=clock) as store:
        assert store.jobs().history() == []


KILLED = """
import os, sys
for _ in range(3):
    child = os.fork()
    if not child:
        from e2i_fs.ops import runs, tasks
        runs.Runner.run = lambda *_, **__: os._exit(9)
        tasks.single_view(sys.argv[1], "v")
    os.waitpid(child, 0)
"""


@pytest.mark.rule("W-4")
def test_what_kills_its_process_every_time_is_not_taken_up_for_ever(config, clock) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(config)], check=True, cwd=ROOT, env=_environment())
    with pytest.raises(fs.JobsFailedError, match="'v' is not taken up again: .* 3 times in a row"):
        tasks.single_view(config, "v", taken_up_again=True)
    assert tasks.single_view(config, "v")["jobs"][0]["outcome"] == "succeeded"  # the next by schedule
    assert tasks.single_view(config, "v", taken_up_again=True)["jobs"][0]["outcome"] == "succeeded"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


# ---- the process that runs them ---------------------------------------------------------------------------------------


class Played:
    """A scheduler whose waits move its clock; what ran is told with the hour, counted from the beginning."""

    def __init__(self, clock: FakeClock, found: list[Entry], last: dict[str, datetime] | None = None) -> None:
        self.clock, self.ran, self.begun = clock, [], clock.now()
        self.takes, self.fails = timedelta(0), {}
        known = last or {entry.name: clock.now() for entry in found}
        self.scheduler = Scheduler(found, self.run, last=known, clock=clock, wait=self.wait)

    def run(self, entry: Entry) -> dict:
        self.ran.append((entry.name, (self.clock.now() - self.begun) / HOUR))
        self.clock.advance(self.takes)
        self.stop_in_time()
        if entry.name in self.fails:
            raise self.fails[entry.name]
        return {"task": "incremental", "views": [], "rows_read": 0, "rows_written": 0, "overlapped": []}

    def wait(self, seconds: float) -> None:
        assert 0 < seconds <= 30  # so that a clock that was set is seen
        self.clock.advance(timedelta(seconds=seconds))
        self.stop_in_time()

    def stop_in_time(self) -> None:
        if self.clock.monotonic() >= self.until.total_seconds():
            self.scheduler.stop()

    def play(self, until: timedelta) -> list[tuple[str, float]]:
        self.until = until + timedelta(seconds=self.clock.monotonic())
        self.scheduler.serve()
        return self.ran


def every(hours: float, name: str = "incremental") -> Entry:
    return Entry(name, "incremental", Every(HOUR * hours))


@pytest.fixture
def midnight() -> FakeClock:
    return FakeClock(datetime(2024, 3, 10, tzinfo=UTC))


def test_each_entry_runs_at_its_times(midnight) -> None:
    assert Played(midnight, [every(6), every(4, "check")]).play(HOUR * 12.5) == [
        ("check", 4), ("incremental", 6), ("check", 8), ("incremental", 12), ("check", 12),
    ]  # fmt: skip


def test_what_was_missed_while_it_was_down_runs_once_in_the_order_of_the_schedule(midnight) -> None:
    midnight.advance(HOUR)
    found = [every(6), every(4, "check")]
    last = {"incremental": midnight.now() - 3 * DAY, "check": midnight.now() - 9 * DAY}
    assert Played(midnight, found, last).play(HOUR * 3.5) == [("incremental", 0), ("check", 0), ("check", 3)]


def test_a_run_that_takes_longer_than_its_period_is_not_followed_by_those_that_it_missed(midnight) -> None:
    played = Played(midnight, [every(1), every(2, "other")])
    played.takes = HOUR * 2.5
    ran = played.play(HOUR * 12)
    assert ran[:4] == [("incremental", 1), ("incremental", 3.5), ("other", 6), ("incremental", 8.5)]


def test_a_task_that_fails_is_told_and_the_others_go_on(midnight, caplog) -> None:
    played = Played(midnight, [every(6), every(3, "check"), Entry("odd", "full", Every(6 * HOUR, -HOUR))])
    played.fails = {"check": fs.StaleViewsError("v is STALE."), "odd": ZeroDivisionError("a defect")}
    with caplog.at_level(logging.INFO, "e2i_fs.schedule"):
        assert [name for name, _ in played.play(HOUR * 6.5)] == ["check", "odd", "incremental", "check"]
    assert "check: failed after 0.0 s: StaleViewsError: v is STALE." in caplog.text
    assert "odd: failed after 0.0 s by a defect" in caplog.text and "ZeroDivisionError: a defect" in caplog.text
    assert "incremental: done in 0.0 s" in caplog.text


def test_after_the_clock_was_set_back_the_schedule_goes_on_by_the_new_time(midnight) -> None:
    played = Played(midnight, [every(6)])
    assert played.play(HOUR * 6.5) == [("incremental", 6)]
    midnight.set(midnight.now() - 30 * DAY)  # to 6:30 of another day
    played.scheduler._stopped = False
    hours = [hour + 30 * 24 for _, hour in played.play(HOUR * 12)[1:]]
    assert hours == [12, 18]


@pytest.mark.rule("W-4")
def test_when_each_entry_last_ran_is_read_from_the_stores_records(config, clock) -> None:
    long_ago = last_runs(config, clock=clock)
    assert set(long_ago) == {"incremental", "incremental:w", "full", "freshness_check"}
    assert {moment.year for moment in long_ago.values()} == {1970}
    clock.advance(HOUR)
    tasks.incremental(config, ["v"], clock=clock)
    tasks.full(config, ["w"], clock=clock)
    found = last_runs(config, clock=clock)
    assert found["incremental"] == NOW + HOUR
    assert found["incremental:w"].year == 1970 and found["full"].year == 1970  # v had none
    tasks.full(config, ["v"], clock=clock)
    assert last_runs(config, clock=clock)["full"] == NOW + HOUR


@pytest.mark.parametrize("grace", ["60", "0"])
def test_the_command_makes_up_for_what_was_missed_and_ends_when_told(config, tmp_path, grace) -> None:
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-c",
        "from e2i_fs.cli import main; main()",
        "-c",
        str(config),
        "schedule",
        "--grace",
        grace,
    ]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stderr=stream)
    try:
        deadline = time.monotonic() + 40
        while "freshness_check: failed" not in log.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline and process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
    said = log.read_text(encoding="utf-8")
    order = [said.index(f"{name}: begins") for name in ("incremental", "incremental:w", "full", "freshness_check")]
    assert order == sorted(order)
    assert "incremental: done in" in said and "3 rows read, 3 written" in said
    assert "StaleViewsError: 2 of 2 views are not fresh: v is EXPIRED" in said  # the rows are of 2024
    assert said.rstrip().endswith("Stopped.")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--list", "--run", "full"], 2, "give one of them"),
        (["--out", "units"], 2, "--out is for --print"),
        (["--print", "crn"], 2, "--print crn: use one of cron, systemd, timers, all. Did you mean 'cron'"),
        (["--run", "ful"], 2, "'ful'. Did you mean 'full'"),
        (["--json"], 2, "schedule has --json with --list, --run and --print only"),
        (["--run", "freshness_check"], 1, "2 of 2 views are not fresh"),
        (["--run", "incremental"], 3, "1 of 1 jobs did not do their work: v: "),
        (["--list", "--json"], 0, "incremental:w"),
        (["--print", "all", "--json"], 0, "e2i-fs-incremental-w.timer"),
    ],
)
def test_the_command_refuses_and_ends_as_a_script_can_rely_on(config, tmp_path, capfd, words, code, said) -> None:
    (tmp_path / "v.parquet").unlink()
    assert run(["--config", str(config), "schedule", *words]) == code
    out, err = capfd.readouterr()
    assert said in " ".join((out + err).split())
