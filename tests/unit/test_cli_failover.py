"""The commands about failover: journal, rebuild, diff and health, over two folders of which one can be taken away."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.cli.app import app
from e2i_fs.cli.session import Session
from e2i_fs.cli.watch import health
from e2i_fs.clock import to_us
from e2i_fs.plugins import Plugins
from tests.kit import at, batch, view
from tests.unit.test_cli import Command, cli  # noqa: F401 - a fixture
from tests.unit.test_rules_failover import connect

VIEW = "hcp_stats"
PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two DuckDB folders with the same rows, and the working directory beside them."""
    (tmp_path / "e2i_fs.yaml").write_text(
        "state: state\n"
        "failover: {background: false, shadow_rate: 0, journal: {max_bytes: 1000000}}\n"
        "backends:\n"
        "  - {name: primary, backend: duckdb, path: stores/primary}\n"
        "  - {name: standby, backend: duckdb, path: stores/standby}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("E2I_FS_CONFIG", raising=False)
    with fs.connect("e2i_fs.yaml") as store:
        store.apply([view(tmp_path, [("a", at(1), 1), ("b", at(2), 2)])])
        store.materialize(None)
    return tmp_path


def behind(project: Path, minutes: int = 3) -> None:
    """Let the standby miss a write."""
    with fs.connect("e2i_fs.yaml") as store:
        store.isolate("standby")
        store.write(VIEW, batch(("a", at(minutes), minutes)))


def slip(project: Path, value: int) -> None:
    """Write to the standby past the store."""
    from e2i_fs.clock import SystemClock

    options = {"path": str(project / "stores" / "standby"), "project": "e2i_fs"}
    backend = Plugins().open("duckdb", name="standby", options=options, clock=SystemClock(), base=str(project))
    row = OnlineRow(to_us(at(9)), None, {"trx_count": value})
    backend.online_write(VIEW, [("b",)], [row], at_us=to_us(datetime.now(UTC)))
    backend.close()


def quarantine(why: str) -> None:
    with fs.connect("e2i_fs.yaml") as store:
        store._router.journal.quarantine("standby", VIEW, "differs", why)


# ---- journal ------------------------------------------------------------------------------------------------


@pytest.mark.rule("X-5")
def test_the_journal_says_what_it_holds_and_that_nobody_is_behind(project: Path, cli: Command) -> None:  # noqa: F811
    told = cli("journal")
    assert told.code == 0
    assert "of at most 1,000,000 bytes" in " ".join(told.out.split())
    assert "Every backend has every write." in told.out
    held = cli("journal", "--json").json["journal"]
    assert (held["entries"], held["max_bytes"], held["missed"], held["diverged"]) == (1, 1_000_000, {}, {})


@pytest.mark.rule("X-4", "X-5")
def test_the_journal_says_who_is_behind_and_drains(project: Path, cli: Command) -> None:  # noqa: F811
    behind(project)
    told = cli("journal", "--json")
    assert told.code == 0
    assert told.json["journal"]["missed"] == {"standby": {VIEW: 1}}
    assert told.json["journal"]["kept"] == 1
    assert "drained" not in told.json
    shown = cli("journal").out
    assert "Behind" in shown and "writes not taken" in shown
    drained = cli("journal", "--drain", "--json")
    assert drained.code == 0
    assert drained.json["drained"]["standby"]["replayed"] == 1
    assert drained.json["drained"]["primary"]["replayed"] == 0
    assert drained.json["journal"]["missed"] == {}
    assert cli("diff", "primary", "standby").code == 0


@pytest.mark.rule("X-4")
def test_draining_one_backend_tells_of_that_one(project: Path, cli: Command) -> None:  # noqa: F811
    behind(project)
    told = cli("journal", "--drain", "--backend", "primary", "--json")
    assert told.code == 0
    assert (list(told.json["drained"]), told.json["journal"]["missed"]) == (["primary"], {})
    assert "primary has every write." in cli("journal", "--backend", "primary").out
    assert cli("journal", "--backend", "standby", "--json").json["journal"]["missed"] == {"standby": {VIEW: 1}}


@pytest.mark.rule("X-10")
def test_draining_ends_with_one_when_something_is_left_and_says_why(project: Path, cli: Command) -> None:  # noqa: F811
    quarantine("a sampled read differed")
    told = cli("journal", "--drain")
    assert told.code == 1
    assert "a sampled read differed" in " ".join(told.out.split())
    asked = cli("journal", "--drain", "--timeout", "0", "--json")
    assert asked.code == 1
    assert asked.json["journal"]["diverged"] == {"standby": {VIEW: "a sampled read differed"}}


@pytest.mark.rule("X-4")
@pytest.mark.parametrize("lost", ["online", "definitions"])
def test_the_journal_looks_before_it_says_that_every_backend_has_every_write(
    project: Path,
    cli: Command,  # noqa: F811
    lost: str,
) -> None:
    """A backend that was emptied has missed nothing that was written, and has nothing."""
    primary = project / "stores" / "primary"
    shutil.rmtree(primary if lost == "definitions" else primary / "online")
    told = cli("journal")
    assert told.code == 0
    state = "unverified" if lost == "definitions" else "diverged"
    line = next(line.split() for line in told.out.splitlines() if VIEW in line)
    assert line[:4] == ["primary", VIEW, state, "0"]
    assert "every write" not in told.out
    assert cli("journal", "--backend", "standby").out.rstrip().endswith("standby has every write.")
    document = cli("journal", "--json").json
    assert document["unverified" if lost == "definitions" else "journal"]
    assert cli("health").code == 1
    drained = cli("journal", "--drain", "--json")
    assert drained.code == (1 if lost == "definitions" else 0)


@pytest.mark.rule("X-4")
def test_the_journal_says_which_backend_it_could_not_look_at(project: Path, cli: Command) -> None:  # noqa: F811
    (project / "stores" / "standby").rename(project / "stores" / "away")
    (project / "stores" / "standby").write_text("not a folder")
    told = cli("journal")
    assert told.code == 0
    assert "standby was not looked at" in told.out and "every write" not in told.out
    assert list(cli("journal", "--json").json["not_looked_at"]) == ["standby"]
    assert cli("journal", "--drain").code == 1
    assert cli("journal", "--drain", "--backend", "primary").code == 0


def test_the_journal_refuses_what_makes_no_sense(project: Path, cli: Command) -> None:  # noqa: F811
    assert cli("journal", "--timeout", "1").code == 2
    assert cli("journal", "--drain", "--timeout", "-1").code == 2
    for words in (["journal"], ["journal", "--drain"]):
        told = cli(*words, "--backend", "stanby", "--json")
        assert told.code == 2
        assert "Did you mean 'standby'?" in told.json["error"]["message"]


def test_a_store_of_one_backend_has_no_journal_and_nothing_to_rebuild_or_compare(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Command,  # noqa: F811
) -> None:
    (tmp_path / "e2i_fs.yaml").write_text("backend: duckdb\npath: store\n")
    monkeypatch.chdir(tmp_path)
    assert "there is no journal" in cli("journal").out
    assert cli("journal", "--drain").code == 0
    assert cli("rebuild", "duckdb").code == 2
    assert cli("diff", "duckdb", "duckdb").code == 2
    assert "Who may answer" not in cli("health").out


# ---- rebuild ------------------------------------------------------------------------------------------------


@pytest.mark.rule("X-4", "X-10")
def test_rebuilding_makes_a_backend_whole(project: Path, cli: Command) -> None:  # noqa: F811
    slip(project, 99)
    quarantine("a sampled read differed")
    assert cli("diff", "primary", "standby").code == 1
    told = cli("rebuild", "standby", "--json")
    assert told.code == 0, told
    assert told.json["rebuilt"] == [VIEW]
    assert (told.json["not_whole"], told.json["error"]) == ([], None)
    assert cli("diff", "primary", "standby").code == 0
    assert "whole" in cli("rebuild", "standby", "--view", VIEW).out
    refused = cli("rebuild", "standby", "--from-sources")  # not while it can be a copy of one that has everything
    assert (refused.code, "copied from 'primary'" in " ".join(refused.err.split())) == (2, True)


@pytest.mark.rule("X-4")
def test_a_rebuild_that_cannot_be_done_ends_with_one_and_says_why(project: Path, cli: Command) -> None:  # noqa: F811
    """Neither a whole journal nor another backend that has every write."""
    with fs.connect("e2i_fs.yaml") as store:
        store._ledger.records.query("DELETE FROM complete")
        store._router.journal.quarantine("primary", VIEW, "differs", "a sampled read differed")
    told = cli("rebuild", "standby")
    assert told.code == 1
    shown = " ".join(told.out.split())
    assert "NOT WHOLE" in shown and "Why:" in shown
    assert cli("rebuild", "standby", "--json").json["not_whole"] == [VIEW]
    assert cli("rebuild", "standby", "--view", "hcp_stat").code == 2
    assert cli("rebuild", "stanby").code == 2


# ---- diff ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("X-10")
def test_diff_ends_with_zero_one_or_three(project: Path, cli: Command) -> None:  # noqa: F811
    same = cli("diff", "primary", "standby", "--json")
    assert (same.code, same.json["result"], same.json["mismatched"]) == (0, "the same", 0)
    assert same.json["compared"] == same.json["matched"] > 0
    assert "primary and standby: the same" in cli("diff", "primary", "standby").out
    slip(project, 99)
    told = cli("diff", "primary", "standby")
    assert told.code == 1
    shown = " ".join(told.out.split())
    assert "Smallest difference: hcp_stats, online, hcp_id='b'" in shown
    assert "primary and standby: DIFFERENT" in shown
    document = cli("diff", "standby", "primary", "--json").json
    assert (document["result"], document["mismatched"], document["missing"]) == (
        "different",
        1,
        {"standby": 0, "primary": 0},
    )
    assert document["example"]["has"]["primary"]["trx_count"] == 2
    assert document["example"]["has"]["standby"]["trx_count"] == 99
    assert document["views"][0]["view"] == VIEW
    behind(project)
    told = cli("diff", "primary", "standby", "--json")
    assert (told.code, told.json["result"], told.json["incomparable"]) == (3, "inconclusive", 1)
    assert "may have missed 1 write" in told.json["views"][0]["why"]
    shown = " ".join(cli("diff", "primary", "standby").out.split())
    assert "hcp_stats: standby: it may have missed 1 write" in shown and "inconclusive" in shown


def test_the_table_of_diff_is_whole_in_a_pipe_however_long_the_names(project: Path, cli: Command) -> None:  # noqa: F811
    written = (project / "e2i_fs.yaml").read_text()
    long = "standby_in_the_other_region_that_is_far_away"
    (project / "e2i_fs.yaml").write_text(written.replace("name: standby", f"name: {long}"))
    told = cli("diff", "primary", long)
    assert "…" not in told.out
    assert all(word in told.out for word in ("compared", "not on primary", f"not on {long}", "incomparable"))


@pytest.mark.rule("X-10")
def test_diff_shows_a_row_that_one_side_lacks(project: Path, cli: Command) -> None:  # noqa: F811
    rows = pa.table(batch(("c", at(5), 5)))
    with fs.connect("e2i_fs.yaml") as store:
        store._router.backend("primary").append(VIEW, rows, batch_id="past the store")
    told = cli("diff", "primary", "standby", "--sample", "50", "--seed", "3", "--view", VIEW)
    assert told.code == 1
    assert "standby (no row)" in told.out


def test_a_sentence_ends_with_one_full_stop(project: Path, cli: Command) -> None:  # noqa: F811
    """What a driver says may end with one of its own."""
    (project / "stores" / "standby").rename(project / "stores" / "away")
    (project / "stores" / "standby").write_text("not a folder")
    told = cli("diff", "primary", "standby")
    assert told.code == 3 and "standby: BackendUnavailableError" in told.out
    assert ".." not in told.out
    quarantine("write 3 could not be replayed: the disk is full.")
    (project / "stores" / "primary").rename(project / "stores" / "gone")
    (project / "stores" / "standby").unlink()
    (project / "stores" / "away").rename(project / "stores" / "standby")
    (project / "stores" / "primary").write_text("not a folder")
    strict = cli("online", "--feature", f"{VIEW}:trx_count", "-e", "hcp_id=a", "--strict")
    assert strict.code == 3 and "the disk is full. Tried" in strict.err


def test_diff_refuses_what_makes_no_sense(project: Path, cli: Command) -> None:  # noqa: F811
    assert cli("diff", "primary", "stanby").code == 2
    assert cli("diff", "primary").code == 2
    assert cli("diff", "primary", "primary").code == 2
    assert cli("diff", "primary", "standby", "--sample", "0").code == 2
    assert cli("diff", "primary", "standby", "--view", "hcp_stat").code == 2


# ---- health -------------------------------------------------------------------------------------------------


@pytest.mark.rule("X-1")
def test_health_says_of_each_view_what_each_backend_may_do(project: Path, cli: Command) -> None:  # noqa: F811
    behind(project)
    told = cli("health")
    assert told.code == 0
    lines = [line.split() for line in told.out.splitlines() if VIEW in line]
    assert lines == [
        [VIEW, "primary", "verified", "answers", "0"],
        [VIEW, "standby", "lagging", "answers", "marked", "degraded", "1"],
    ]
    document = {b["name"]: b for b in cli("health", "--json").json["backends"]}
    assert document["standby"]["missed"] == {VIEW: 1}
    assert document["standby"]["parity"] == {VIEW: "lagging"}
    assert (document["standby"]["hedged"], document["standby"]["liveness"]) == (0.0, "closed")


@pytest.mark.rule("X-1")
def test_a_backend_that_is_down_does_not_answer(project: Path, cli: Command) -> None:  # noqa: F811
    behind(project)
    (project / "stores" / "standby").rename(project / "stores" / "away")
    (project / "stores" / "standby").write_text("not a folder")
    told = cli("health")
    assert told.code == 1
    lines = [line.split() for line in told.out.splitlines() if VIEW in line]
    assert lines[1] == [VIEW, "standby", "lagging", "does", "not", "answer", "1"]
    inconclusive = cli("diff", "primary", "standby")
    assert inconclusive.code == 3


@pytest.mark.rule("X-1")
def test_health_tells_what_is_known_when_every_backend_is_down(project: Path, cli: Command) -> None:  # noqa: F811
    quarantine("a sampled read differed")
    for name in ("primary", "standby"):
        (project / "stores" / name).rename(project / "stores" / f"{name} away")
        (project / "stores" / name).write_text("not a folder")
    told = cli("health")
    assert told.code == 1
    lines = [line.split() for line in told.out.splitlines() if VIEW in line]
    assert [line[1:3] for line in lines] == [["primary", "unverified"], ["standby", "diverged"]]
    assert "Nothing is registered" not in told.out


@pytest.mark.rule("X-1")
def test_health_ends_with_one_when_a_view_is_diverged(project: Path, cli: Command) -> None:  # noqa: F811
    assert cli("health").code == 0
    quarantine("a sampled read differed")
    assert cli("health").code == 1
    assert cli("health", "--json").code == 1


def test_health_says_that_nothing_is_registered_yet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Command,  # noqa: F811
) -> None:
    two = [f"  - {{name: {n}, backend: duckdb, path: {n}}}\n" for n in ("one", "two")]
    (tmp_path / "e2i_fs.yaml").write_text("backends:\n" + "".join(two))
    monkeypatch.chdir(tmp_path)
    told = cli("health")
    assert told.code == 0 and "Who may answer" not in told.out
    assert "Nothing is registered yet" in told.out and "e2i-fs apply" in told.out


@pytest.mark.rule("X-10")
def test_health_shows_what_was_compared_where_a_process_has_compared_something(tmp_path: Path, clock) -> None:
    """The command has only just begun; its answer is also for a service that asks its own store."""
    pair = connect(tmp_path, clock, shadow_rate=1)
    with pair.store as store:
        store.apply([view(tmp_path, [("a", at(1), 1)])])
        store.materialize(None, at(720))
        pair.online()
        until = time.monotonic() + 30
        while not store.health()[1].shadow.get("matched") and time.monotonic() < until:
            threading.Event().wait(0.01)

        class Own(Session):
            @contextmanager
            def store(self) -> Iterator[Any]:
                yield store

        answer = health(Own(None, None, json=False))
    assert answer.document["backends"][1].shadow["matched"] == 1
    assert [table.title for table in answer.shown] == [None, "Who may answer", "Sampled reads, and reads asked beside"]


def test_the_page_says_what_each_exit_code_of_these_commands_means() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for command in app.registered_commands:
        if command.name in ("journal", "rebuild", "diff", "health"):
            row = next(line for line in page.splitlines() if line.startswith(f"| `{command.name}` |"))
            assert "ends with 1" in row, command.name
