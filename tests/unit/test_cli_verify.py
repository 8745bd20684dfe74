"""``e2i-fs verify``: 0 when a training set is what its receipt says, 1 when it is not, 2 when there is no receipt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.cli.app import run
from e2i_fs.receipts import TrainingReceipt
from tests import kit

QUESTIONS = "hcp_id,event_timestamp\na,2024-03-10T00:20:00\nb,2024-03-10T00:06:00\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one view, questions, and the receipt of their answer as the command writes it."""
    (tmp_path / "e2i_fs.yaml").write_text("backend: duckdb\npath: store\n")
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    monkeypatch.chdir(tmp_path)
    with fs.connect("e2i_fs.yaml") as store:
        store.apply([kit.view(tmp_path, [("a", kit.at(0), 1), ("b", kit.at(5), 7)])])
    command = [
        "historical",
        "questions.csv",
        "-f",
        "hcp_stats:trx_count",
        "--out",
        "set.parquet",
        "--receipt",
        "training.json",
    ]
    assert run(command) == 0
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = run(words)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_an_identical_set_ends_with_zero(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = told(capsys, "verify", "training.json")
    assert (code, said.strip()) == (0, "identical: 2 rows, 1 features")


def test_a_set_that_differs_ends_with_one_and_says_what(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fs.connect("e2i_fs.yaml") as store:
        store.write("hcp_stats", kit.batch(("a", kit.at(15), 9)), to="offline")
    code, said = told(capsys, "verify", "training.json", "--json")
    document: dict[str, Any] = json.loads(said)
    assert code == 1
    assert (document["identical"], document["rows_changed"]) == (False, 1)
    assert document["differences"][0]["example"]["now"] == 9
    assert document["content_hash"] == TrainingReceipt.load("training.json").content_hash
    code, said = told(capsys, "verify", "training.json")
    assert code == 1
    assert "hcp_stats:trx_count" in said


def test_what_is_no_receipt_ends_with_two(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("no-such.json", "questions.csv"):
        code, said = told(capsys, "verify", wrong)
        assert code == 2
        assert "ReceiptError" in said
    next(project.glob("*.rows.parquet")).unlink()
    code, said = told(capsys, "verify", "training.json", "--json")
    assert (code, json.loads(said)["error"]["type"]) == (2, "ReceiptError")
