"""The demo on real backends, with a real fault; what it claims is looked at again from outside."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2i_fs.cli.app import run
from e2i_fs.cli.demo import training
from e2i_fs.cli.demo.claims import Claims
from e2i_fs.cli.demo.repository import feature_repo

pytest.importorskip("sklearn", reason="the demo trains a model: pip install e2i-fs[demo]")
pytest.importorskip("matplotlib", reason="the demo draws plots: pip install e2i-fs[demo]")

PHASES = [
    "both up",
    "primary away",
    "after a write",
    "primary back",
    "standby away too",
    "healed",
    "away once more",
    "back by itself",
]


def demo(out: Path, *words: str) -> tuple[int, Any, str]:
    """Run the demo in a process of its own: exit code, JSON document, stderr."""
    command = [sys.executable, "-c", "from e2i_fs.cli import main; main()", "demo", "--json", "--out", str(out)]
    done = subprocess.run(
        [*command, "--scale", "0.15", *words], capture_output=True, text=True, check=False, cwd=out.parent
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def test_feast_is_taken_away_and_brought_back_and_every_claim_holds(tmp_path: Path) -> None:
    pytest.importorskip("feast", reason="the demo's primary: pip install e2i-fs[feast]")
    online = "redis" if shutil.which("redis-server") else "sqlite"
    code, told, err = demo(tmp_path / "out", "--primary", online)
    assert code == 0, (told, err)
    assert told["all_hold"] is True
    assert all(claim["holds"] for claim in told["claims"])
    assert len(told["claims"]) == 24

    asked = told["requests"]
    assert list(dict.fromkeys(r["phase"] for r in asked)) == PHASES
    who = {phase: {(r["served_by"], r["degraded"]) for r in asked if r["phase"] == phase} for phase in PHASES}
    assert who == {
        "both up": {("primary", False)},
        "primary away": {("standby", False)},
        "after a write": {("standby", False)},
        "primary back": {("standby", False)},
        "standby away too": {("primary", True)},
        "healed": {("primary", False)},
        "away once more": {("standby", False)},
        "back by itself": who["back by itself"],
    }
    assert all(r["right"] for r in asked if not r["degraded"])
    assert [r["served_by"] for r in asked[-6:]] == ["primary"] * 6, "it came back by itself"
    assert not any(r["degraded"] for r in asked if r["phase"] == "back by itself")
    first_away = next(r for r in asked if r["phase"] == "primary away")
    assert "BackendUnavailableError" in first_away["why"], "the fault is a real one"

    check_the_agents(told)
    assert told["proof"]["cells"] > 10_000
    assert [r["changed"] for r in told["proof"]["ours"]] == [0] * 6
    assert all(r["changed"] > 0 for r in told["proof"]["naive"])

    page = Path(told["report"]).read_text()
    assert "24 of 24" in page
    assert page.count("<svg") == 4
    assert "refused" in page
    assert "in_range(&#x27;market_share&#x27;, min=0, max=1)" in page
    for heading in ("Quality and the gate", "Splits and their audit", "leakage audit", "receipt", "log loss"):
        assert heading in page
    assert not re.search(r'(src|href)="(?!#)', page.replace("xlink:href", "")), "it needs no other file"


def check_the_agents(told: Any) -> None:
    """What the data preparer and the model trainer did, as the document has it."""
    refused, *accepted = told["gated"]
    assert (refused["status"], refused["read_back"]) == ("skipped", [0, 0])
    assert "market_share" in refused["reasons"][0]
    assert [(g["view"], g["status"]) for g in accepted] == [
        ("hcp_conversion_features", "completed"),
        ("hcp_profile_features", "completed"),
    ]
    splits = told["learned"]["splits"]
    assert [s["name"] for s in splits] == ["train", "validation", "test", "holdout"]
    assert all(one["last"] < other["first"] for one, other in zip(splits, splits[1:], strict=False))
    assert [set(s["metrics"]) for s in splits] == [set(), *[{"auc", "log_loss", "brier"}] * 2, set()]
    assert splits[3]["converted"] is None, "the holdout is locked"
    assert told["auc"] > 0.6


def test_without_feast_duckdb_serves_alone_and_the_demo_says_so(tmp_path: Path) -> None:
    code, told, err = demo(tmp_path / "out", "--primary", "none")
    assert code == 0, (told, err)
    assert told["backends"] == "DuckDB alone"
    assert len(told["claims"]) == 15
    check_the_agents(told)
    assert "not shown" in told["failover"]
    assert {r["served_by"] for r in told["requests"]} == {"duckdb"}
    assert "one backend only" in Path(told["report"]).read_text()


def test_it_says_what_to_install_when_a_model_cannot_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("e2i_fs.cli.demo_command.find_spec", lambda name: None)
    assert run(["demo", "--out", str(tmp_path / "out"), "--json"]) == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "scikit-learn" in message
    assert 'pip install "e2i-fs[demo]"' in message
    assert not (tmp_path / "out").exists()


def test_a_claim_that_does_not_hold_ends_it_with_one_and_it_runs_again_in_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the comparison is broken: it finds a changed cell where there is none. Then it is mended."""
    real = training.cells_apart
    words = ["demo", "--out", str(tmp_path / "out"), "--scale", "0.1", "--primary", "none", "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(training, "cells_apart", lambda one, other: real(one, other) + 1)
        assert run(words) == 1
    told = json.loads(capsys.readouterr().out)
    assert [c["text"] for c in told["claims"] if not c["holds"]] == [
        "Rows of later change nothing in the training set, cell by cell"
    ]
    assert "FAILED" in Path(told["report"]).read_text()

    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["all_hold"] is True
    assert "FAILED" not in Path(told["report"]).read_text()


def test_no_claims_are_not_all_claims() -> None:
    assert Claims().all_hold is False


def test_it_refuses_a_folder_that_is_anybody_elses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert run(["demo", "--out", str(tmp_path), "--json"]) == 2
    assert "no demo made" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_users_own_feature_repo_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo" / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.startswith("e2i_fs._feature_repo")]:
        monkeypatch.delitem(sys.modules, name)
    assert len(feature_repo().definitions("data")) == 19
