"""The commands that look back: freshness over days, what happened, jobs over days."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.cli.app import run
from e2i_fs.cli.sparkline import sparkline
from tests.kit import NOW, at, view

DAY = timedelta(days=1)
Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Say:
    """Run the command on a store of two views, one of which has rows of 2024 only, the other none."""
    (tmp_path / "e2i_fs.yaml").write_text("{backend: duckdb, path: store}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("E2I_FS_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    old = view(tmp_path, [("a", at(1), 1)], name="old", max_staleness=DAY)
    none = view(tmp_path, [], name="none", max_staleness=DAY)
    with fs.connect(tmp_path / "e2i_fs.yaml") as store:
        store.apply([old, none])
        store.materialize(None)

    def call(*words: str) -> tuple[int, str]:
        capfd.readouterr()
        code = run(words)
        told = capfd.readouterr()
        return code, told.out + told.err

    return call


def test_what_is_recorded_is_in_the_history_and_nothing_else_is(say) -> None:
    assert say("freshness", "--history") == (
        0, "No check was recorded in the last 7 days: `e2i-fs freshness --record` makes one, or a schedule.\n",
    )  # fmt: skip
    assert say("freshness")[0] == 1
    code, told = say("freshness", "--record", "--json")
    assert code == 1 and {v["status"] for v in json.loads(told)["views"]} == {"EXPIRED", "UNKNOWN"}
    assert say("freshness", "--record", "--view", "old")[0] == 1
    code, told = say("freshness", "--history", "--json")
    assert code == 0 and [c["view"] for c in json.loads(told)["checks"]] == ["none", "old", "old"]
    code, told = say("freshness", "--history", "--days", "2", "-v", "old")
    (line,) = [row for row in told.splitlines() if row.strip().startswith("old")]
    assert "█" in line and "EXPIRED" in line and line.split()[1] == "2" and "none" not in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["freshness", "--days", "3"], "--days is for --history"),
        (["freshness", "--history", "--record"], "--history and --record are both given"),
        (["freshness", "--history", "--days", "-1"], "days is -1"),
        (["freshness", "--history", "-v", "odl"], "Did you mean 'old'"),
        (["events", "--kind", "FailedOvr"], "Did you mean 'FailedOver'"),
        (["events", "--limit", "0"], "limit is 0"),
        (["job-summary", "--days", "nan"], "days is nan"),
    ],
)
def test_a_mistake_ends_with_two_and_says_what_to_do(say, words, says) -> None:
    code, told = say(*words)
    assert code == 2 and says in " ".join(told.split())


def test_events_are_listed_the_newest_first(say) -> None:
    say("freshness")
    code, told = say("events", "--json")
    found: list[dict[str, Any]] = json.loads(told)["events"]
    assert code == 0 and [e["kind"] for e in found] == ["Stale", "Stale", "Applied"]
    assert found[2]["about"] == {"created": "entity old_entity, entity none_entity, view old, view none"}
    code, told = say("events", "--kind", "Stale", "--days", "1")
    assert code == 0 and "View old is EXPIRED." in told and "Definitions" not in told
    assert say("events", "--kind", "FailedOver") == (0, "Nothing happened in the last 7 days.\n")


def test_jobs_are_summed(say, tmp_path) -> None:
    assert say("job-summary") == (0, "No job began in the last 7 days.\n")
    with fs.connect(tmp_path / "e2i_fs.yaml") as store:
        store.jobs().incremental(["old"])
        (tmp_path / "old.parquet").unlink()
        store.jobs({"jobs": {"retries": 0}}).full(["old"], days_back=1)
    code, told = say("job-summary", "--json")
    found = {j["mode"]: j for j in json.loads(told)["jobs"]}
    assert code == 0 and (found["incremental"]["succeeded"], found["full"]["failed"]) == (1, 1)
    assert found["full"]["last_error"]
    told = say("job-summary")[1]
    assert "Last errors" in told and "newest event" in told


def test_a_line_of_freshness_is_high_where_the_view_was_old() -> None:
    def report(hours: float, age: float | None, status: str, limit: timedelta | None = DAY) -> fs.FreshnessReport:
        when = datetime(2024, 3, 10, tzinfo=UTC) + timedelta(hours=hours)
        old = None if age is None else timedelta(hours=age)
        return fs.FreshnessReport("v", fs.FreshnessStatus(status), old, None, limit, 1, when, "b")

    checks = [
        report(0, 0, "FRESH"), report(3, 23, "WARNING"), report(7, 47, "STALE"), report(7.5, 1, "FRESH"),
        report(9, 99, "EXPIRED"), report(11, None, "UNKNOWN"), report(12, 3, "FRESH"),
    ]  # fmt: skip
    line = sparkline(checks, until=NOW, days=0.5, width=6)
    assert line.plain == "▁▄·██?"
    unlimited = [report(hours, hours, "FRESH", None) for hours in range(0, 12, 2)]
    assert sparkline(unlimited, until=NOW, days=0.5, width=6).plain == "▁▂▄▅▇█"
