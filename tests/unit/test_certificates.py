"""`e2i-fs certify`, its certificate, and the pytest plugin: what is told of wrong backends, harnesses and arguments."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2i_fs.backend import Capabilities
from e2i_fs.cli.app import run
from e2i_fs.cli.examined import harness_maker, merged, options_of_file, parse_options
from e2i_fs.errors import RequestError
from e2i_fs.testing import pytest_plugin
from e2i_fs.testing.certificate import Certificate, Examined, certificate, suite_version
from e2i_fs.testing.certificate_page import page
from e2i_fs.testing.conformance import base
from e2i_fs.testing.conformance.base import BackendConformance, group_of
from e2i_fs.testing.conformance.rules import GROUPS, rules_of
from e2i_fs.testing.findings import Finding
from e2i_fs.testing.kit import PROFILES
from e2i_fs.testing.proofs import _SHOWN
from e2i_fs.testing.runner import Result

WRONG = "tests.conformance.wrong_harnesses"
FUTURE = "test_p1_a_row_answers_from_its_own_microsecond_on"
TWICE = "test_w2_a_batch_written_twice_is_one_batch"
KEPT = "test_w2_the_store_holds_exactly_what_was_appended"


def certify(capsys, harness: str, *more: str) -> tuple[int, str]:
    """Run the command and return its code, and all that it printed in one line."""
    code = run(["certify", "acme", "--harness", f"{WRONG}:{harness}", "--profile", "quick", *more])
    printed = capsys.readouterr()
    told = printed.out + printed.err
    assert "Traceback" not in told
    return code, " ".join(told.split())


@pytest.mark.parametrize(
    ("harness", "test", "rule", "says"),
    [
        ("Lying", KEPT, "W-2", ""),
        ("LacksPosition", FUTURE, "G-3", "lacks the methods position"),
        ("Hanging", FUTURE, "X-8", "scan did not come back within 0.2 s"),
        ("RaisesItsDriversError", FUTURE, "G-4", "scan raised builtins.ConnectionResetError"),
        ("AnswersTooFew", "test_o2_the_future_is_not_served_online", "O-5", "one answer for each of"),
        ("DoesNotClose", FUTURE, "G-4", "close raised builtins.KeyError"),
        ("WaivesATestThatPasses", TWICE, "W-2", "Remove the deviation"),
    ],
)
def test_what_is_wrong_is_a_finding_with_its_rule_and_a_line_to_replay(capsys, harness, test, rule, says) -> None:
    code, told = certify(capsys, harness, "--only", test)
    assert code == 1
    assert f"{rule} is" in told and says in told and f"({test})" in told
    assert f"replay: e2i-fs certify acme --harness {WRONG}:{harness} --only {test} --seed 0 --profile quick" in told


def test_a_finding_shows_the_smallest_example(capsys) -> None:
    told = certify(capsys, "RaisesItsDriversError", "--only", "test_p1_the_answer_is_the_greatest_row_up_to_its_time")[
        1
    ]
    assert "smallest example: view " in told and "asked, row 0:" in told
    assert "expected: an E2IError" in told
    assert "the driver lost FOLDER" in told  # a place on this machine tells nobody anything


@pytest.mark.parametrize(
    ("harness", "says"),
    [
        ("AnotherClock", "reads another clock"),
        ("OpensNothing", "open() returned None"),
        ("OpenRaises", "open() raised KeyError: 'connection_string' (raised in wrong_harnesses.py, line "),
        ("OpenHangs", "open did not come back"),
        ("NoOpen", "has no open()"),
        ("BreaksOnly", "one of break_ and heal"),
        ("WaivesTheFuture", "cannot be waived (P-1"),
        ("WaivesNothingThereIs", f"Did you mean '{TWICE}'"),
    ],
)
@pytest.mark.parametrize("only", [[], ["--only", TWICE]], ids=["whole", "only"])
def test_a_harness_that_cannot_be_used_is_told_at_once(capsys, tmp_path, harness, says, only) -> None:
    code, told = certify(capsys, harness, "--out", str(tmp_path / "out"), *only)
    assert (code, says in told) == (2, True), told
    assert not (tmp_path / "out").exists()


def test_a_deviation_is_not_a_failure(capsys) -> None:
    code, told = certify(capsys, "Waives", "--only", TWICE)
    assert code == 0
    assert f"deviates {TWICE}" in told and "never: Our store cannot know a batch again." in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["duckdv"], "Did you mean 'duckdb'?"),
        (["memory", "--only", "test_w2_a_batch_written_twice_is_one_bach"], f"Did you mean '{TWICE}'"),
        (["duckdb", "--option", "path"], "--option path: give KEY=VALUE"),
        (["duckdb", "--option", "=1"], "give KEY=VALUE"),
        (["duckdb", "--option", "a=1", "--option", "a.b=1"], "gives a a value of its own"),
        (["duckdb", "--option", "a=1", "--option", "a=2"], "a is given twice"),
        (["duckdb", "--option", "pth=x"], "unknown option 'pth'"),
        (["memory", "--option", "path=x"], "takes no options"),
        (["memory", "--harness", "nowhere"], "give module:Class"),
        (["memory", "--harness", "nowhere_at_all:Harness"], "cannot be imported"),
        (["memory", "--harness", "json:JSONDecoder"], "no class JSONDecoder that is"),
        (["memory", "--config", "missing.yaml"], "missing.yaml"),
        (["acme", "--harness", f"{WRONG}:WithOptions", "--option", "x.y=[1]"], "acme: got {'x': {'y': [1]}}"),
    ],
)
def test_wrong_arguments_are_told_with_what_to_do(capsys, arguments, says) -> None:
    assert run(["certify", *arguments]) == 2
    printed = capsys.readouterr()
    assert says in " ".join(printed.err.split())
    assert "Traceback" not in printed.err


def test_a_store_that_is_away_is_unavailable_and_not_uncertified(capsys, tmp_path) -> None:
    (tmp_path / "file").touch()
    assert run(["certify", "duckdb", "--option", f"path={tmp_path / 'file'}"]) == 3
    assert "BackendUnavailableError" in capsys.readouterr().err


def test_the_whole_kit_writes_both_files_without_a_place_of_this_machine(capsys, tmp_path) -> None:
    code, told = certify(capsys, "LacksPosition", "--out", str(tmp_path / "out"), "--label", "acme+odd store")
    assert code == 1 and "acme+odd store: not certified" in told
    written = json.loads((tmp_path / "out" / "acme-odd-store.json").read_text(encoding="utf-8"))
    assert (written["certificate"], written["level"], written["label"]) == (1, "failed", "acme+odd store")
    assert {t["test"] for t in written["tests"]} == set(base.test_names())
    assert {t["outcome"] for t in written["tests"]} == {"failed", "not applicable"}
    text = (tmp_path / "out" / "acme-odd-store.md").read_text(encoding="utf-8")
    assert "**failed**: not certified." in text
    for content in (text, json.dumps(written)):
        assert "/tmp" not in content and str(Path.cwd()) not in content and "Traceback" not in content


def test_json_is_one_document_on_stdout(capsys) -> None:
    assert run(["certify", "memory", "--only", TWICE, "--profile", "quick", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["tests"]
    assert (one["test"], one["outcome"], one["group"]) == (TWICE, "passed", "core")
    assert "W-2" in one["rules"]


def test_without_the_extra_it_says_what_to_install(capsys, monkeypatch) -> None:
    monkeypatch.setattr("e2i_fs.cli.needed.find_spec", lambda module: None)
    assert run(["certify", "memory"]) == 2
    assert 'pip install "e2i-fs[testing]"' in capsys.readouterr().err


# ---- options ------------------------------------------------------------------------------------------------------


def test_values_of_options_are_yaml_and_dots_go_inside() -> None:
    given = [
        "online_store.type=redis",
        "online_store.connection_string=localhost:6379,db=1",
        "n=2",
        "on=true",
        "p=null",
    ]
    inner = {"type": "redis", "connection_string": "localhost:6379,db=1"}
    assert parse_options(given) == {"online_store": inner, "n": 2, "on": True, "p": None}
    assert parse_options(["x=a: [b"]) == {"x": "a: [b"}
    with pytest.raises(RequestError, match=r"a\.\.b"):
        parse_options(["a..b=1"])


def test_a_configuration_gives_the_options_but_never_a_folder(tmp_path) -> None:
    file = tmp_path / "e2i_fs.yaml"
    file.write_text("project: mine\nbackend: duckdb\npath: .fs\nonline_size: 5\n", encoding="utf-8")
    assert options_of_file(str(file), "duckdb") == {"online_size": 5}
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_a_backend_without_a_harness_of_its_own_is_opened_by_its_options(tmp_path, monkeypatch) -> None:
    from e2i_fs.plugins import Plugins

    own = Plugins.spec
    monkeypatch.setattr(Plugins, "spec", lambda self, name: replace(own(self, name), harness=""))
    make, distribution = harness_maker("duckdb", None, {"online_size": 2**20})
    with make(tmp_path).open() as store:
        assert store.list_feature_views() == []
    assert (tmp_path / "store" / "definitions.sqlite").exists()
    assert distribution == ("e2i-fs", "0.1.0")


# ---- levels -------------------------------------------------------------------------------------------------------


def made(changed: dict[str, Result], **declared: bool) -> Certificate:
    """Return the certificate of a backend that passes every test but those ``changed``."""
    results = [
        changed.get(test) or Result(test, group_of(test), rules_of(getattr(BackendConformance, test)), "passed")
        for test in base.test_names()
    ]
    examined = Examined("acme", "acme", Capabilities(**declared), ("raw_write", "raw_read"), ("e2i-fs-acme", "1.2"))
    return certificate(examined, results, profile="ci", seed=3, now=datetime(2024, 3, 10, tzinfo=UTC))


def of_group(group: str, outcome: str, reason: str = "") -> dict[str, Result]:
    finding = Finding("P-1", "t", "The future came.", replay="e2i-fs certify acme") if outcome == "failed" else None
    tests = [test for test in base.test_names() if group_of(test) == group]
    return {t: Result(t, group, rules_of(getattr(BackendConformance, t)), outcome, reason, finding) for t in tests}


@pytest.mark.parametrize(
    ("group", "outcome", "reason", "level", "overall"),
    [
        ("core", "passed", "", "passed", "full"),
        ("core", "failed", "", "failed", "failed"),
        ("core", "unexpectedly passed", "never: no reason at all", "failed", "failed"),
        ("core", "deviates", "never: the store cannot do it", "passed with deviations", "partial"),
        ("failover", "not applicable", "needs AcmeHarness.break_()", "inconclusive", "partial"),
        ("failover", "not run", "calls hung for 300 s before it", "inconclusive", "partial"),
        ("online", "not applicable", "the backend does not declare online", "not declared", "partial"),
        ("temporal", "failed", "", "failed", "failed"),
        ("temporal", "not applicable", "needs AcmeHarness.raw_write()", "inconclusive", "failed"),
        ("temporal", "deviates", "never: slipped through", "passed with deviations", "failed"),
    ],
)
def test_the_levels(group, outcome, reason, level, overall) -> None:
    if not any(group_of(test) == group for test in base.test_names()):
        pytest.skip(f"the kit has no tests of the group {group} yet")
    found = made(of_group(group, outcome, reason))
    assert {g.group: g.level for g in found.groups}[group] == level
    assert (found.level, found.certified) == (overall, overall != "failed")


def test_a_backend_that_declares_no_online_rows_is_not_certified_for_them_whatever_it_refuses() -> None:
    assert {g.group: g.level for g in made({}, online=False).groups}["online"] == "not declared"


def test_a_rule_is_as_good_as_its_worst_test() -> None:
    changed = made(of_group("temporal", "failed"))
    assert {r.rule: r.outcome for r in changed.rules}["P-1"] == "failed"
    assert {r.rule: r.outcome for r in made({}).rules}["P-1"] == "passed"
    assert [r.rule for r in changed.rules][:2] == ["T-1", "T-2"]


def test_a_certificate_says_all_that_is_needed_to_make_it_again() -> None:
    written = json.loads(made(of_group("core", "deviates", "never: the store cannot do it")).dumps())
    assert (written["profile"], written["seed"], written["suite"]) == ("ci", 3, suite_version())
    assert written["date"] == "2024-03-10T00:00:00+00:00"
    assert written["versions"]["e2i-fs-acme"] == "1.2" and "pyarrow" in written["versions"]
    assert written["harness"] == {"raw_write": True, "raw_read": True, "break_": False}
    assert [g["group"] for g in written["groups"]] == list(GROUPS)
    assert written["deviations"][0] == {
        "test": written["deviations"][0]["test"],
        "kind": "never",
        "reason": "the store cannot do it",
    }
    text = page(made(of_group("temporal", "failed")))
    assert "e2i-fs certify acme" in text and "The future came." in text and "| temporal | **failed** |" in text


def test_each_capability_is_proven_by_some_test_and_by_none_that_failed() -> None:
    assert set(Capabilities.__dataclass_fields__) == set(_SHOWN)
    rows = {row.name: row for row in made({}).capabilities}
    assert [rows[name].proven for name in ("append", "online", "sources", "persistent", "local")] == [True] * 4 + [None]
    failed = made({TWICE: replace(made({}).results[base.test_names().index(TWICE)], outcome="failed")})
    assert [row.proven for row in failed.capabilities if row.name == "append"] == [False]


def test_the_suite_version_is_of_names_and_rules(monkeypatch) -> None:
    before = suite_version()
    assert (len(before), before) == (12, suite_version())
    monkeypatch.setattr(getattr(BackendConformance, TWICE), "__rules__", ("W-2", "W-3"))
    assert suite_version() != before


# ---- the pytest plugin --------------------------------------------------------------------------------------------

SUITE = f"""
import pytest
from e2i_fs.testing.conformance import BackendConformance
from {WRONG} import *

def over(cls):
    class Over(BackendConformance):
        @pytest.fixture
        def harness(self, tmp_path):
            return cls(tmp_path)
    return Over

TestWaives = over(Waives)
TestStale = over(WaivesATestThatPasses)
TestFuture = over(WaivesTheFuture)
TestDriver = over(RaisesItsDriversError)
TestRaises = over(OpenRaises)

class TestNone(BackendConformance):
    pass
"""


def test_the_plugin_imports_nothing_of_the_kit() -> None:
    code = (
        "import sys, e2i_fs.testing.pytest_plugin\n"
        "print([m for m in ('hypothesis', 'pyarrow', 'duckdb', 'pandas', 'pydantic', 'e2i_fs.store') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    assert tuple(PROFILES) == pytest_plugin._PROFILES


def test_pytest_tells_findings_as_text_and_deviations_strictly(tmp_path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "-rA", "--rootdir", str(tmp_path)),
            *("-c", "/dev/null", "--e2i-fs-profile", "quick", "-k", f"{TWICE} or {FUTURE}", str(tmp_path / "test_suite.py")),
        ],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], env=_environment(), timeout=300,
    )  # fmt: skip
    outcomes = {
        line.split(" - ")[0].split("::", 1)[1]: line.split()[0]
        for line in done.stdout.splitlines()
        if "::" in line and line[0].isupper()
    }
    assert outcomes[f"TestWaives::{TWICE}"] == "XFAIL", done.stdout + done.stderr
    assert outcomes[f"TestWaives::{FUTURE}"] == "PASSED"
    assert outcomes[f"TestStale::{TWICE}"] == "FAILED"
    assert outcomes[f"TestFuture::{TWICE}"] == outcomes[f"TestFuture::{FUTURE}"] == "FAILED"
    assert outcomes[f"TestNone::{TWICE}"] == "ERROR"
    told = " ".join(done.stdout.split())
    assert "never: Our store cannot know a batch again." in told
    assert "Remove the deviation from the harness." in told
    assert "cannot be waived (P-1" in told
    assert "G-4 is broken (test_p1" in told and "ConnectionResetError" in told and "--e2i-fs-profile=quick" in told
    assert "needs a fixture `harness`" in told and "KeyError: 'connection_string'" in told
    assert "Traceback" not in told and "def test_" not in told


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "400"}
