"""``qc``, ``baseline`` and ``drift``: what they answer and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2i_fs.cli.app import run
from tests.kit import at, table

Call = Callable[..., tuple[int, Any]]

DEFINITIONS = """
import e2i_fs as fs

hcp = fs.Entity("hcp", join_keys=["hcp_id"])
visits = fs.FeatureView("visits", entities=["hcp"], schema=[fs.Field("count", fs.Int64)])
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.chdir(tmp_path)
    Path("features.py").write_text(DEFINITIONS)
    good = table({"hcp_id": ["007", "b"], "event_timestamp": [at(0), at(1)], "count": [1, 2]})
    pq.write_table(good, "good.parquet")
    Path("good.csv").write_text("hcp_id,event_timestamp,count\n007,2024-03-10T00:00:00Z,1\nb,2024-03-10T00:00:00Z,\n")
    pq.write_table(good.set_column(0, "hcp_id", pa.array(["a", None])), "bad.parquet")

    def called(*words: str) -> tuple[int, Any]:
        capfd.readouterr()
        code = run([*words, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return called


@pytest.mark.parametrize("frame", ["good.parquet", "good.csv"])
def test_a_frame_that_fits_its_view_passes(call: Call, frame: str) -> None:
    code, told = call("qc", frame, "--view", "visits")
    assert (code, told["allowed"], told["report"]["row_count"]) == (0, True, 2)
    assert told["report"]["columns"][0]["type"] == "string"  # and so 007 is text


def test_a_missing_key_ends_with_one_and_says_where(call: Call, tmp_path: Path) -> None:
    code, told = call("qc", "bad.parquet", "--view", "visits", "--html", "page.html")
    assert (code, told["allowed"]) == (1, False)
    assert told["reasons"] == ["blocking_issues: The required column 'hcp_id' is missing in 1 of 2 rows, first at 1."]
    assert "first at 1" in Path("page.html").read_text(encoding="utf-8")


def test_options_say_what_is_required_and_what_only_warns(call: Call) -> None:
    assert call("qc", "good.parquet", "--key", "hcp_id")[0] == 0
    code, told = call("qc", "good.parquet", "--required", "brand_id", "--key", "hcp_id")
    assert (code, told["concerns"]["blocking_issues"]) == (1, "failed")
    assert call("qc", "good.parquet", "--required", "brand_id", "--warn", "blocking_issues")[0] == 0
    assert call("qc", "good.parquet", "--max-age-hours", "1")[0] == 1
    assert call("qc", "good.parquet", "--max-age-hours", "1", "--warn", "expectations", "--min-score", "0.5")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("qc", "no.parquet"), "no Parquet file at no.parquet"),
        (("qc", "good.parquet", "--view", "visit"), "Did you mean 'visits'"),
        (("qc", "good.parquet", "--warn", "scor"), "Did you mean 'score'"),
        (("qc", "good.parquet", "--min-score", "80"), "from 0 to 1"),
        (("qc", "good.parquet", "--html", "no/page.html"), "there is no folder"),
        (("baseline", "good.parquet", "--target", "cuont"), "Did you mean 'count'"),
        (("drift", "no.json", "good.parquet"), "no baseline at no.json"),
        (("drift", "features.py", "good.parquet"), "is not JSON"),
        (("drift", "good.parquet", "good.parquet"), "is not JSON"),
        (("drift", "b.json", "good.parquet", "--threshold", "ks"), "NAME=NUMBER"),
        (("drift", "b.json", "good.parquet", "--threshold", "ksfail=1"), "Did you mean 'ks_fail'"),
    ],
)
def test_mistakes_end_with_two_and_say_which(call: Call, words: tuple[str, ...], says: str) -> None:
    assert call("baseline", "good.parquet", "--out", "b.json")[0] == 0
    code, told = call(*words)
    assert code == 2
    assert says in told["error"]["message"]


def test_a_baseline_is_kept_and_new_data_compared_with_it(call: Call) -> None:
    was = pa.table({"x": [float(i % 50) for i in range(1000)], "y": [i % 2 == 0 for i in range(1000)]})
    pq.write_table(was, "train.parquet")
    pq.write_table(was.set_column(0, "x", pa.array([float(i % 50) + 25 for i in range(1000)])), "moved.parquet")
    code, told = call("baseline", "train.parquet", "--target", "y", "--out", "b.json")
    assert (code, told["target_rate"], list(told["numeric"])) == (0, 0.5, ["x"])
    assert call("drift", "b.json", "train.parquet")[0] == 0
    code, told = call("drift", "b.json", "moved.parquet")
    assert (code, told["outcome"], told["drifted"]) == (1, "failed", ["x"])
    assert (
        call(
            "drift",
            "b.json",
            "moved.parquet",
            *[w for n in ("ks_fail=1", "ks_warn=1", "psi_fail=99", "psi_warn=99") for w in ("--threshold", n)],
        )[0]
        == 0
    )


def test_too_few_rows_to_tell_end_with_one(call: Call) -> None:
    pq.write_table(pa.table({"x": [float(i) for i in range(1000)]}), "train.parquet")
    call("baseline", "train.parquet", "--out", "b.json")
    pq.write_table(pa.table({"x": [5.0, 900.0]}), "few.parquet")
    code, told = call("drift", "b.json", "few.parquet")
    assert (code, told["outcome"]) == (1, "inconclusive")


def test_people_are_told_the_same(call: Call, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["qc", "bad.parquet", "--view", "visits"]) == 1
    out = " ".join(capfd.readouterr().out.split())
    assert "blocked" in out and "completeness" in out and "first at 1" in out
