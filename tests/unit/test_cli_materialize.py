"""The commands materialize, materialize-incremental and jobs: which rows, how often tried, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.clock import SystemClock
from tests.unit.test_cli import Command
from tests.unit.test_cli import cli as cli  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.rule("W-4")
DAY = timedelta(days=1)
NOW = SystemClock().now().replace(microsecond=0)


def history(folder: Path, ages: list[int], name: str = "1") -> None:
    """Write a row for each age in days: the keys k0, k1 and so on."""
    (folder / "in").mkdir(exist_ok=True)
    times = pa.array([NOW - DAY * age for age in ages], pa.timestamp("us", "UTC"))
    table = pa.table({"k": [f"k{i}" for i in range(len(ages))], "event_timestamp": times, "x": ages})
    pq.write_table(table, folder / "in" / f"{name}.parquet")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three views over rows of today, of three and of forty days ago; `quiet` is not online."""
    history(tmp_path, [0, 3, 40])
    settings = "materialisation: {jobs: {retries: 1, retry_delay_seconds: 0}}"
    (tmp_path / "e2i_fs.yaml").write_text(f"backend: duckdb\npath: store\n{settings}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("E2I_FS_CONFIG", raising=False)
    with fs.connect("e2i_fs.yaml") as store:
        made: list[Any] = [fs.Entity("k")]
        for name in ("a", "b", "quiet"):
            schema = [fs.Field("x", fs.Int64)]
            source = fs.ParquetSource(tmp_path / "in")
            made.append(fs.FeatureView(name, entities=["k"], schema=schema, source=source, online=name != "quiet"))
        store.apply(made)
    return tmp_path


def windows(document: Any) -> list[tuple[str, str, int]]:
    return [(job["view"], job["start"], job["rows_written"]) for job in document["jobs"]]


def test_without_a_start_a_full_job_goes_back_as_far_as_the_settings_say(project: Path, cli: Command) -> None:
    done = cli("materialize", "--json")
    assert done.code == 0 and done.json["mode"] == "full"
    assert [(j["view"], j["rows_written"]) for j in done.json["jobs"]] == [("a", 2), ("b", 2)]
    assert [(r["view"], r["backend"], r["outcome"]) for r in done.json["runs"]] == [
        ("a", "duckdb", "succeeded"), ("b", "duckdb", "succeeded"),
    ]  # fmt: skip


def test_a_window_in_two_ways_is_one_window_and_a_long_one_is_several_jobs(project: Path, cli: Command) -> None:
    start, end = (NOW - 41 * DAY).isoformat(), (NOW - 2 * DAY).isoformat()
    one = cli("materialize", start, end, "--view", "a", "--dry-run", "--json").json
    two = cli(
        "materialize", "--start", start, "--end", end, "--views", "a", "--mode", "full", "--dry-run", "--json"
    ).json
    assert windows(one) == windows(two)
    assert [w[2] for w in windows(one)] == [1, 1] and one["rows_read"] == 2
    assert windows(one)[0][1] == start


def test_a_dry_run_shows_counts_and_changes_nothing(project: Path, cli: Command) -> None:
    planned = cli("materialize", "--days-back", "50", "--dry-run", "--views", "a")
    assert planned.code == 0 and "to write" in planned.out and "planned" in planned.out
    before = cli("materialize-incremental", "--dry-run", "--json").json
    assert (before["dry_run"], before["rows_read"], before["rows_written"]) == (True, 6, 6)
    assert cli("jobs", "--json").json["jobs"] == []
    assert cli("materialize", "--mode", "incremental", "--json").json["rows_written"] == 6
    assert cli("materialize", "--mode", "incremental", "--dry-run", "--json").json["rows_read"] == 0


def test_what_arrived_late_comes_online_with_the_next_incremental_job(project: Path, cli: Command) -> None:
    cli("materialize", "--mode", "incremental")
    history(project, [100] * 5, "late")
    done = cli("materialize-incremental", "--views", "a", "--json").json
    assert [(j["view"], j["rows_read"]) for j in done["jobs"]] == [("a", 5)]
    with fs.connect("e2i_fs.yaml") as store:
        rows = [{"k": "k4"}]
        assert store.get_online_features(["a:x", "b:x"], rows, full_feature_names=True).to_dict()["a__x"] == [100]
        assert store.get_online_features(["b:x"], rows).to_dict()["x"] == [None]


def test_views_named_in_both_ways_are_taken_together_each_once(project: Path, cli: Command) -> None:
    done = cli("materialize", "--view", "b", "--views", "a, b", "--json").json
    assert [j["view"] for j in done["jobs"]] == ["b", "a"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["2024-01-01", "--start", "2024-02-01"], "START and --start are both given"),
        (["2024-01-01", "2024-01-02", "--end", "2024-02-01"], "END and --end are both given"),
        (["2024-01-01", "--days-back", "3"], "A start and --days-back are both given"),
        (["--mode", "incremental", "2024-01-01"], "--mode incremental with a start"),
        (["--mode", "incremental", "--days-back", "3"], "--mode incremental with --days-back"),
        (["--mode", "increment"], "--mode increment: use one of full, incremental"),
        (["--views", "a,,b"], "A name of a view is empty"),
        (["--views", "aa"], "Did you mean 'a'"),
        (["--days-back", "nan"], "days_back is nan"),
        (["--days-back", "-1"], "days_back is -1"),
        (["--days-back", "1e12"], "is before the year 1"),
        (["2024-02-01", "2024-01-01"], "The window is empty"),
        (["yesterday"], "START 'yesterday' is not a time"),
    ],
)  # fmt: skip
def test_contradictions_and_slips_are_refused_and_nothing_begins(
    project: Path, cli: Command, words: list[str], says: str
) -> None:
    refused = cli("materialize", *words)
    assert refused.code == 2 and says in refused.err
    assert cli("jobs", "--json").json["jobs"] == []


@pytest.mark.parametrize(("words", "says"), [
    (["retry"], "jobs retry: use one of list, recover"), (["--days", "0"], "--days 0: give a number"),
    (["--days", "nan"], "--days nan: give a number"), (["--view", "aa"], "Did you mean 'a'"),
])  # fmt: skip
def test_a_list_of_jobs_that_makes_no_sense_is_refused(
    project: Path, cli: Command, words: list[str], says: str
) -> None:
    refused = cli("jobs", *words)
    assert refused.code == 2 and says in refused.err


def test_a_job_that_fails_is_tried_again_said_listed_and_recovered(project: Path, cli: Command) -> None:
    os.rename(project / "in" / "1.parquet", project / "away.parquet")
    failed = cli("materialize", "--views", "a")
    assert failed.code == 3 and "BackendDataError" in failed.out
    assert "View 'a': BackendDataError: " in failed.err and "Tried again in 0 s." in failed.err
    listed = cli("jobs", "--view", "a", "--json")
    assert listed.code == 1 and listed.json["failed"] == 1
    assert [(j["outcome"], j["attempts"]) for j in listed.json["jobs"]] == [("failed", 2)]
    assert cli("jobs", "--view", "b").code == 0
    os.rename(project / "away.parquet", project / "in" / "1.parquet")
    recovered = cli("jobs", "recover", "--json")
    assert recovered.code == 0
    assert [(j["outcome"], j["recoveries"], j["rows_written"]) for j in recovered.json["jobs"]] == [("succeeded", 1, 2)]
    assert [r["outcome"] for r in recovered.json["runs"]] == ["succeeded", "failed", "failed"]
    assert cli("jobs").code == 0
    assert "nothing to do" in cli("jobs", "recover").out


def test_a_mistake_ends_with_2_and_is_not_tried_again(project: Path, cli: Command) -> None:
    refused = cli("materialize", "--views", "quiet,a", "--json")
    assert refused.code == 2
    assert [(j["view"], j["outcome"], j["attempts"]) for j in refused.json["jobs"]] == [
        ("quiet", "failed", 1), ("a", "succeeded", 1),
    ]  # fmt: skip


def test_a_backend_that_did_not_take_it_ends_with_3_and_is_named(project: Path, cli: Command) -> None:
    (project / "two.yaml").write_text(
        "failover: {background: false}\nstate: state\nbackends:\n"
        "  - {name: one, backend: duckdb, path: one}\n  - {name: two, backend: duckdb, path: two}\n"
    )
    with fs.connect("two.yaml") as store, fs.connect("e2i_fs.yaml") as other:
        store.apply([fs.Entity("k"), other.get_feature_view("a")])
    (project / "two").rename(project / "elsewhere")
    (project / "two").write_text("in the way")
    done = cli("--config", "two.yaml", "materialize", "--json")
    assert done.code == 3
    (job,) = done.json["jobs"]
    assert job["outcome"] == "succeeded" and job["error"].startswith("two: ")
    assert [r["backend"] for r in done.json["runs"]] == ["one"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("document", [False, True])
def test_a_bar_is_shown_on_a_terminal_and_none_beside_a_document(project: Path, document: bool) -> None:
    terminal, end = os.openpty()
    words = ["materialize", "--views", "a", *(["--json"] if document else [])]
    command = f"import sys; from e2i_fs.cli.app import run; sys.exit(run({words!r}))"
    done = subprocess.run([sys.executable, "-c", command], stdout=subprocess.PIPE, stderr=end, check=True)
    os.close(end)
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert done.stdout
    assert ("━" in shown.decode()) is not document
    assert ("2/2" in shown.decode()) is not document
