"""`e2i-fs migrate`: from one backend to another, cut short and gone on with, and the same reads on both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.adoption.ends import Ends, ends_of
from e2i_fs.adoption.migrate import migrate, planned, read_both
from e2i_fs.backend import OnlineRow
from e2i_fs.clock import to_us
from e2i_fs.errors import BreakingChangeError, ConfigError
from e2i_fs.failover.side_by_side import Latency
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW, at, batch, view
from tests.unit.test_cli import Command, cli  # noqa: F401 - a fixture

VIEW = "hcp_stats"


@pytest.fixture
def project(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that was written to (old.yaml), and a configuration of a new one (new.yaml), in the working directory."""
    (tmp_path / "old.yaml").write_text("backends: [{name: old, backend: duckdb, path: old}]\n")
    (tmp_path / "new.yaml").write_text("backends: [{name: new, backend: duckdb, path: new}]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("E2I_FS_CONFIG", raising=False)
    with fs.connect("old.yaml", clock=clock) as store:
        pushed = fs.FeatureView(
            "pushed", entities=[fs.Entity("hcp_id")], schema=[fs.Field("score", fs.Int64)], source=fs.PushSource("p")
        )
        store.apply(
            [view(tmp_path, [("a", at(1), 1), ("b", at(2), 2)]), pushed, fs.FeatureService("s", features=["pushed:*"])]
        )
        store.materialize(None)
        store.write(VIEW, batch(("b", at(3), 3), ("c", at(4), 4)))
        for minute in (1, 2):
            rows = {"hcp_id": ["a"], "event_timestamp": [at(minute)], "score": [minute]}
            store.push("p", rows, to="both", idempotency_key=f"batch {minute}")
    return tmp_path


def between(clock: FakeClock) -> Ends:
    return ends_of("old.yaml", "new.yaml", None, clock=clock)


def scores(config: str, clock: FakeClock) -> tuple[Any, Any]:
    with fs.connect(config, clock=clock) as store:
        online = store.get_online_features(["pushed:score", f"{VIEW}:trx_count"], [{"hcp_id": k} for k in "abc"])
        asked = {"hcp_id": ["a", "a"], "event_timestamp": [at(1), at(9)]}
        return online.to_dict(), store.get_historical_features(asked, ["pushed:score"]).to_arrow()["score"].to_pylist()


@pytest.mark.rule("R-2", "O-1", "W-2")
def test_the_new_store_answers_as_the_old_one_did(project: Path, clock: FakeClock) -> None:
    plan = planned(between(clock))
    assert plan.created == ("entity hcp_id", "entity hcp_stats_entity", "service s", f"view {VIEW}", "view pushed")
    assert [(m.view, m.how, m.rows) for m in plan.views] == [(VIEW, "copied", 3), ("pushed", "copied", 1)]
    with fs.connect("new.yaml", clock=clock) as store:
        assert store.list_feature_views() == []  # planning changes nothing
    done = migrate(between(clock))
    assert (done.whole, done.diff.ok, done.diff.mismatched) == (True, True, 0)
    assert done.diff.compared > 6
    expected = {"hcp_id": ["a", "b", "c"], "score": [2, None, None], "trx_count": [1, 3, 4]}
    assert scores("new.yaml", clock) == scores("old.yaml", clock) == (expected, [1, 2])
    again = migrate(between(clock))  # done again, it changes nothing
    assert (again.plan.created, again.plan.updated, again.diff.ok) == ((), (), True)
    assert scores("new.yaml", clock) == (expected, [1, 2])


@pytest.mark.rule("O-7")
def test_cut_short_it_goes_on_where_it_was(project: Path, clock: FakeClock) -> None:
    def cut(name: str) -> None:
        if name == "pushed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(between(clock), told=cut)
    assert [(m.view, m.how) for m in planned(between(clock)).views] == [(VIEW, "there already"), ("pushed", "copied")]
    told: list[str] = []
    assert migrate(between(clock), told=told.append).diff.ok
    assert told == ["pushed"]
    assert {m.how for m in planned(between(clock)).views} == {"copied"}  # the whole is over: the next one is a new one


def test_a_view_that_was_written_to_meanwhile_is_copied_again(project: Path, clock: FakeClock) -> None:
    def cut(name: str) -> None:
        if name == "pushed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(between(clock), told=cut)
    with fs.connect("old.yaml", clock=clock) as store:
        store.write(VIEW, batch(("d", at(5), 5)))
    assert [m.how for m in planned(between(clock)).views] == ["copied", "copied"]
    assert migrate(between(clock)).diff.ok


@pytest.mark.rule("X-4")
def test_a_standby_that_joined_late_is_made_whole_within_one_configuration(
    tmp_path: Path, clock: FakeClock, project: Path
) -> None:
    both = (
        "failover: {background: false, shadow_rate: 0}\nstate: state\nbackends:\n"
        "  - {name: old, backend: duckdb, path: old}\n  - {name: new, backend: duckdb, path: new}\n"
    )
    (tmp_path / "both.yaml").write_text(both)
    ends = ends_of("old", "new", tmp_path / "both.yaml", clock=clock)
    done = migrate(ends)
    assert (done.whole, done.diff.ok) == (True, True)
    with fs.connect("both.yaml", clock=clock) as store:
        store.isolate("old")
        answer = store.get_online_features(["pushed:score"], [{"hcp_id": "a"}], strict=True)
        assert (answer.to_dict()["score"], answer.provenance.served_by) == ([2], "new")
    assert {m.how for m in planned(ends).views} == {"there already"}


@pytest.mark.rule("R-4")
def test_rows_of_the_target_are_not_lost_without_leave(project: Path, clock: FakeClock) -> None:
    with fs.connect("new.yaml", clock=clock) as store:
        other = view(project, [("a", at(1), 0.5)], file="other.parquet", fields={"trx_count": fs.Float64})
        store.apply([other])
        store.materialize(None)
    assert planned(between(clock)).breaking == (f"view {VIEW}",)
    with pytest.raises(BreakingChangeError, match="hcp_stats would change"):
        migrate(between(clock))
    with fs.connect("new.yaml", clock=clock) as store:
        assert store.get_feature_view(VIEW).features["trx_count"].dtype == fs.Float64
    assert migrate(between(clock), allow_breaking=True).diff.ok


@pytest.mark.rule("X-10")
def test_reads_on_both_say_what_differs_and_how_fast_each_is(project: Path, clock: FakeClock) -> None:
    migrate(between(clock))
    found = read_both(between(clock), reads=7)
    assert (found.diff.ok, found.diff.compared) == (True, 14)  # two views
    assert {name: t.reads for name, t in found.latency.items()} == {"old": 14, "new": 14}
    with between(clock).both() as store:
        row = OnlineRow(to_us(at(8)), None, {"score": 9})
        store._router.backend("new").online_write("pushed", [("a",)], [row], at_us=to_us(NOW))
    found = read_both(between(clock), ["pushed"], reads=3)
    assert (found.diff.same, found.diff.mismatched, found.diff.matched) == (False, 3, 0)
    assert found.diff.example.has["new"]["score"] == 9


@pytest.mark.parametrize(
    ("seconds", "quantiles"),
    [([], (None, None, None)), ([0.002], (2, 2, 2)), ([i / 1000 for i in range(100, 0, -1)], (50, 95, 99)), ([0.001] * 19 + [1], (1, 1, 1000))],
)  # fmt: skip
def test_a_quantile_is_the_time_of_a_read_that_was_made(seconds: list[float], quantiles: tuple[Any, ...]) -> None:
    found = Latency.of(seconds)
    assert (found.p50, found.p95, found.p99) == quantiles


# ---- the command ------------------------------------------------------------------------------------------


def test_the_command_plans_moves_and_reports(project: Path, cli: Command) -> None:  # noqa: F811
    words = ("migrate", "--from", "old.yaml", "--to", "new.yaml", "--json")
    ended = cli(*words, "--dry-run")
    assert (ended.code, json.loads(ended.out)["dry_run"]) == (0, True)
    ended = cli(*words)
    document = json.loads(ended.out)
    assert (ended.code, document["parity"]["result"]) == (0, "the same")
    assert document["views"][0] == {"view": VIEW, "how": "copied", "rows_online": 3, "error": None}
    ended = cli(*words, "--shadow", "5")
    document = json.loads(ended.out)
    assert ended.code == 0
    assert set(document["latency"]["old"]) == {"reads", "p50_ms", "p95_ms", "p99_ms"}
    text = cli(*words[:-1], "--shadow", "5").out
    assert "p50 ms" in text
    assert "old and new: the same" in text


def test_what_could_not_be_compared_is_no_success(project: Path, cli: Command, clock: FakeClock) -> None:  # noqa: F811
    (project / "empty.yaml").write_text("backends: [{name: empty, backend: duckdb, path: empty}]\n")
    with fs.connect("empty.yaml", clock=clock) as store:
        store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
    for more in ((), ("--shadow", "3")):
        ended = cli("migrate", "--from", "empty.yaml", "--to", "new.yaml", "--json", *more)
        assert (ended.code, json.loads(ended.out)["parity"]["result"]) == (3, "inconclusive")


def test_ends_that_cannot_be_are_refused(project: Path, cli: Command) -> None:  # noqa: F811
    (project / "both.yaml").write_text(
        "backends: [{name: primary, backend: duckdb, path: a}, {name: standby, backend: duckdb, path: b}]\n"
    )
    for source, target, why in (
        ("primary", "standbi", "neither a backend .* Did you mean 'standby'"),
        ("primary", "primary", "are both 'primary'"),
        ("old.yaml", "both.yaml", "one of 2 backends behind failover"),
        ("old.yaml", "nowhere.yaml", "nor a configuration file"),
    ):
        with pytest.raises(ConfigError, match=why):
            ends_of(source, target, project / "both.yaml")
    assert cli("migrate", "--from", "old.yaml", "--to", "old.yaml").code == 2
    assert cli("migrate", "--from", "old.yaml", "--to", "new.yaml", "--shadow", "1", "--dry-run").code == 2
    assert cli("migrate", "--from", "old.yaml", "--to", "new.yaml", "--view", "no").code == 2
    assert not (project / "a").exists()
