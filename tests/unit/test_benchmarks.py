"""The benchmarks measure what they say: fits, comparisons, skipped contenders, the tables, and one subject end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import keep_bytecode
from benchmarks.children import Children
from benchmarks.data import Kept, entities, history
from benchmarks.goals import GOALS, judged
from benchmarks.growth_fit import exponent
from benchmarks.pit_peers import Ours
from benchmarks.race import Lane, Measured, Runner, race, summarise
from benchmarks.tables import markdown, time

HERE = "tests.unit.test_benchmarks:"
PEERS = "benchmarks.pit_peers:"


class Late(Ours):
    """A wrong contender: the first feature of one row is another."""

    def once(self) -> Any:
        made = super().once()
        at = made.column_names.index("v0__f0")
        values = made["v0__f0"].to_pylist()
        return made.set_column(at, "v0__f0", [[-1.0, *values[1:]]])


class Loses(Ours):
    """A wrong contender: it loses the last three rows."""

    def once(self) -> Any:
        made = super().once()
        return made.slice(0, len(made) - 3)


class Reorders(Ours):
    """A contender whose rows come in another order."""

    def once(self) -> Any:
        made = super().once()
        return made.take(list(range(len(made)))[::-1])


class Raises(Ours):
    """A contender that cannot."""

    def once(self) -> Any:
        raise RuntimeError("no such luck")


class Ends(Ours):
    """A contender whose process ends."""

    def once(self) -> Any:
        raise SystemExit(3)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_known_curve_is_found(power: float) -> None:
    sizes = [10, 100, 1_000, 10_000]
    assert exponent(sizes, [3 * s**power for s in sizes]) == pytest.approx(power, abs=1e-9)


def test_noise_hardly_moves_the_exponent() -> None:
    sizes = np.array([1e3, 1e4, 1e5, 1e6])
    noise = np.exp(np.random.default_rng(1).normal(0, 0.05, 4))
    assert exponent(sizes.tolist(), (sizes * noise).tolist()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("costs", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_what_no_power_law_fits_is_refused(costs: list[float]) -> None:
    with pytest.raises(ValueError, match="fit"):
        exponent([1, 2], costs)


def test_a_history_has_distinct_times_and_as_many_rows_a_key_as_said() -> None:
    made = history(5_000, 50, seed=3, created=True)
    counts = made.group_by("hcp_id").aggregate([("hcp_id", "count")])["hcp_id_count"].to_pylist()
    assert counts == [50] * 100
    assert len(made["event_timestamp"].unique()) == 5_000
    assert all(
        known >= true
        for known, true in zip(*(made[c].to_pylist() for c in ("created_at", "event_timestamp")), strict=True)
    )


def test_the_same_seed_draws_the_same_data_and_another_draws_other() -> None:
    assert history(100, 5, seed=1).equals(history(100, 5, seed=1))
    assert not history(100, 5, seed=1).equals(history(100, 5, seed=2))
    assert entities(100, 5, seed=1).equals(entities(100, 5, seed=1))


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lane]:
    """One race of ours against polars and against those who are wrong."""
    pytest.importorskip("polars", reason="pip install 'e2i-fs[polars]'")
    kept = Kept(tmp_path_factory.mktemp("raced"), seed=5)
    given = {"histories": [kept.history(2_000)], "entities": kept.entities(400, 40)}
    wrong = [Runner(c.__name__, HERE + c.__name__, given) for c in (Late, Loses, Reorders, Raises, Ends)]
    runners = [Runner("ours", PEERS + "Ours", given), Runner("polars", PEERS + "Polars", given, repeats=1), *wrong]
    greedy = Runner("greedy", PEERS + "Ours", given, needs_gb=1e6)
    told = race("test", "A test", [*runners, greedy], repeats=2, times=1, free=lambda: 100.0)
    json.dumps(told.told())
    return {lane.name: lane for lane in told.lanes}


def test_who_answers_the_same_is_told_to_be_equal(raced: dict[str, Lane]) -> None:
    assert raced["ours"].answer == "400 rows, in order"
    assert raced["polars"].answer.startswith("equal")
    assert raced["Reorders"].answer == "equal, rows in another order"


def test_a_wrong_contender_is_caught_and_told_by_how_much(raced: dict[str, Lane]) -> None:
    assert raced["Late"].answer == "answers differ: 1 rows with other values"
    assert raced["Loses"].answer == "answers differ: 3 of 400 rows missing"


def test_who_cannot_is_told_with_the_reason_and_the_others_go_on(raced: dict[str, Lane]) -> None:
    assert raced["Raises"].skipped == "RuntimeError: no such luck"
    assert raced["Ends"].skipped.startswith("its process ended with 3")
    assert raced["greedy"].skipped.startswith("needs 1e+06 GB, 93.0 GB are free")
    assert raced["ours"].median is not None


def test_each_contender_has_its_repeats_its_ratios_and_its_memory(raced: dict[str, Lane]) -> None:
    assert [len(raced[name].seconds) for name in ("ours", "polars")] == [2, 1]
    assert raced["ours"].ratio == 1.0
    assert raced["polars"].ratio == pytest.approx(raced["polars"].seconds[0] / raced["ours"].seconds[0])
    assert all(20 < (raced[name].peak_mb or 0) < 2_000 for name in ("ours", "polars"))


def test_a_ratio_is_the_median_of_those_within_a_repeat() -> None:
    lanes = [Lane("first", [1.0, 2.0, 10.0]), Lane("other", [2.0, 6.0, 10.0])]
    summarise(lanes)
    assert lanes[1].ratios == [2, 3, 1]
    assert (lanes[1].ratio, lanes[1].median, lanes[1].fastest) == (2, 6, 2)


def _report(*measured: Measured) -> dict[str, Any]:
    machine = {
        "date": "2026-01-01", "processor": "a processor", "cores": 2, "memory_gb": 8.0, "load_before": 0.1,
        "system": "Linux", "python": "3.12", "redis-server": None, "packages": {"duckdb": "1"},
    }  # fmt: skip
    measured_ = json.loads(json.dumps([one.told() for one in measured]))
    return {"machine": machine, "quick": True, "seed": 7, "seconds": 1.0, "measured": measured_, "big": None}


def _race(theirs: float) -> Measured:
    lanes = [Lane("e2i_fs", [1.0, 1.0]), Lane("Feast, duckdb", [theirs, theirs])]
    summarise(lanes)
    return Measured("pit-4", "A title", [*lanes, Lane("polars join_asof", skipped="needs 9 GB")])


@pytest.mark.parametrize(("theirs", "held"), [(8.0, True), (7.9, False)])
def test_a_goal_is_held_at_its_limit_and_not_below(theirs: float, held: bool) -> None:
    found = {(one.work, one.goal): one for one in judged(_report(_race(theirs)))}
    one = found["many entity rows × 4 views", "at least 8 × faster than Feast-duckdb"]
    assert (one.held, one.measured) == (held, f"{theirs:.2f}×")


def test_a_goal_without_its_race_is_told_as_not_measured() -> None:
    found = judged(_report())
    assert len(found) == len(GOALS)
    assert all(one.held is None and one.why for one in found)


def test_the_table_tells_what_was_held_and_what_was_skipped_and_why() -> None:
    text = markdown(_report(_race(7.0)))
    assert "| many entity rows × 4 views | at least 8 × faster than Feast-duckdb | 7.00× | **not held** |" in text
    assert "| polars join_asof | skipped: needs 9 GB |" in text
    assert "| Feast, duckdb | 7.00 s | 7.00 s | 7.00 (7.00–7.00) | 2 |" in text
    assert "too small to judge by" in text
    assert "| 10,000,000 entity rows × 100,000,000 under 8 GB |" in text


@pytest.mark.parametrize(
    ("answer", "clock", "cost", "held"),
    [
        ("no error, every row whole", 0.8, 1.25, True),
        ("no error, every row whole", 0.79, 1.0, False),  # readers that wait for a lock use no processor
        ("no error, every row whole", 1.0, 1.26, False),
        ("1 errors, 0 rows torn", 1.0, 1.0, False),
    ],
)
def test_readers_beside_a_writer_are_judged_by_cost_by_the_clock_and_by_errors(
    answer: str, clock: float, cost: float, held: bool
) -> None:
    lanes = [Lane("undisturbed", [1.0]), Lane("while one writes", [cost], answer=answer)]
    summarise(lanes)
    report = _report(Measured("busy-threads", "t", lanes, {"kept by the clock": clock}))
    assert {one.work: one for one in judged(report)}["8 threads read while one writes"].held is held


def test_times_have_a_unit_that_fits() -> None:
    assert [time(s) for s in (100, 1.5, 0.0123, 0.00025, 1e-7)] == ["100 s", "1.50 s", "12.3 ms", "250 µs", "0.10 µs"]


def test_one_subject_runs_in_its_quick_form_and_every_row_read_is_whole(tmp_path: Path) -> None:
    from benchmarks import plots
    from benchmarks.busy import disturbed

    one = disturbed("busy-threads", 2, 1, seconds=0.2, repeats=1)
    assert [lane.answer for lane in one.lanes] == ["no error, every row whole"] * 3
    assert "the writer wrote" in one.lanes[2].note
    grown = Measured(
        "growth-x", "x", one.lanes, {"points": [(1, 0.5), (2, 1.0)], "exponent": 1.0, "last exponent": 1.0, "axis": "x"}
    )
    pytest.importorskip("matplotlib", reason="pip install 'e2i-fs[demo]'")
    assert plots.draw(_report(grown), tmp_path) == ["growth.png"]
    assert (tmp_path / "growth.png").stat().st_size > 1_000


def test_a_shared_process_becomes_the_next_contender_and_one_that_has_ended_is_replaced(tmp_path: Path) -> None:
    kept = Kept(tmp_path, seed=5, children=Children(shared=True))
    given = {"histories": [kept.history(2_000)], "entities": kept.entities(400, 40)}
    other = {"histories": [kept.history(1_000)], "entities": kept.entities(300, 20)}

    def processes() -> set[int]:
        return {child._process.pid for children in kept.children._waiting.values() for child in children}

    try:
        (first,) = race("a", "A", [Runner("ours", PEERS + "Ours", given)], repeats=1, children=kept.children).lanes
        (pid,) = processes()
        (second,) = race("b", "B", [Runner("ours", PEERS + "Ours", other)], repeats=1, children=kept.children).lanes
        assert processes() == {pid}
        assert (first.answer, second.answer) == ("400 rows, in order", "300 rows, in order")
        (ended,) = race("c", "C", [Runner("ends", HERE + "Ends", given)], repeats=1, children=kept.children).lanes
        assert "ended with 3" in ended.skipped
        assert processes() == {pid}
        (alone,) = race("d", "D", [Runner("ours", PEERS + "Ours", given)], repeats=1).lanes
        assert alone.answer == "400 rows, in order" and processes() == {pid}
    finally:
        kept.children.close()


def test_processes_keep_bytecode_where_python_is_told_to_keep_none(tmp_path) -> None:
    told_not_to = {"PYTHONDONTWRITEBYTECODE": "1"}
    keep_bytecode(told_not_to, tmp_path)
    (tmp_path / "some_module.py").write_text("")
    subprocess.run([sys.executable, "-c", "import some_module"], cwd=tmp_path, env=told_not_to, check=True)
    assert [file.name for file in tmp_path.rglob("some_module.*.pyc")] != []
    assert not (tmp_path / "__pycache__").exists()
    as_usual: dict[str, str] = {}
    keep_bytecode(as_usual, tmp_path)
    assert as_usual == {}
