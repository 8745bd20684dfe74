"""``e2i-fs stats``: what it tells of a view, of one feature, and of both sides at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.cli.app import run
from tests import kit

FIELDS = {"trx": fs.Int64, "score": fs.Float64, "segment": fs.String}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with forty rows of history of ten keys, materialised."""
    (tmp_path / "e2i_fs.yaml").write_text("backend: duckdb\npath: store\n")
    monkeypatch.chdir(tmp_path)
    long = "a segment with a name that is far too long for a table"
    rows = [
        (f"h{i % 10}", kit.at(i), None if i == 7 else i % 4, float("nan") if i == 3 else i / 8, long) for i in range(40)
    ]
    with fs.connect("e2i_fs.yaml") as store:
        store.apply([kit.view(tmp_path, rows, fields=FIELDS)])
        store.materialize(None)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = run(["stats", *words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code, said = told(capsys, *words, "--json")
    assert code == 0, said
    return json.loads(said)


def test_a_view_has_a_line_for_each_feature_with_its_distribution(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = told(capsys, "hcp_stats")
    assert code == 0, said
    lines = {line.split()[0]: line for line in said.splitlines() if line.split()}
    assert list(lines)[-3:] == list(FIELDS)
    assert "2.5%" in lines["trx"]  # one of forty is missing
    assert "nan" in lines["feature"]
    assert "█" in lines["score"]
    assert "a segment with a name t… 100%" in lines["segment"]


def test_one_feature_has_quantiles_a_histogram_and_frequent_values(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said = told(capsys, "hcp_stats:trx", "--top", "2")
    assert "hcp_stats:trx, offline" in said
    assert "p99" in said
    assert said.count("█" * 30) == 3 + 2  # three values are equally frequent; two of them are listed
    _, said = told(capsys, "hcp_stats:segment")
    assert "p99" not in said
    assert "100%" in said


def test_history_and_online_stand_side_by_side(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offline, online = document(capsys, "hcp_stats:trx", "--both")["statistics"]
    assert (offline["where"], offline["rows"], offline["missing"]) == ("offline", 40, 1)
    assert (online["where"], online["rows"], online["missing"]) == ("online", 10, 0)
    assert offline["null_rate"] == 1 / 40
    assert offline["newest_event_timestamp"] == kit.at(39).isoformat()
    _, said = told(capsys, "hcp_stats", "--both")
    assert [line.split()[:2] for line in said.splitlines() if "offline" in line or " online " in line][1:] == [
        [name, where] for name in FIELDS for where in ("offline", "online")
    ]
    assert document(capsys, "hcp_stats", "--online")["statistics"][0] == online


def test_a_window_and_the_number_of_frequent_values_can_be_given(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own,) = document(capsys, "hcp_stats:trx", "--start", "2024-03-10T00:02:00", "--end", "2024-03-10T00:04:00", "--top", "1")[
        "statistics"
    ]  # fmt: skip
    assert (own["rows"], own["top_values"]) == (3, [[0, 1]])
    code, said = told(capsys, "hcp_stats", "--end", "2001-01-01")
    assert code == 0, said
    code, said = told(capsys, "hcp_stats:trx", "--end", "2001-01-01")
    assert code == 0, said


def test_what_there_is_not_is_a_mistake_of_the_caller(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, why in {
        ("hcp_stats:try",): "Did you mean 'hcp_stats:trx'",
        ("hcp_stat",): "Did you mean 'hcp_stats'",
        ("hcp_stats", "--online", "--both"): "not both",
        ("hcp_stats", "--top", "0"): "at least 1",
        ("hcp_stats", "--start", "2024-01-02", "--end", "2024-01-01"): "window is empty",
    }.items():
        code, said = told(capsys, *words)
        assert code == 2, said
        assert why in said, said
