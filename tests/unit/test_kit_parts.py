"""Parts of the kit: the model of what a store must hold, the diagnosis of a wrong answer, the watched backend."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.testing import FakeClock, Finding, Harness, HarnessError
from e2i_fs.testing.diagnosis import diagnose
from e2i_fs.testing.disk import Disk, Kept
from e2i_fs.testing.draw import Seeded
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.inspector import METHODS, inspected
from e2i_fs.testing.kit import PROFILES, Kit
from e2i_fs.testing.memory import MemoryBackend
from e2i_fs.testing.model import Model, Refused
from e2i_fs.testing.mutants.frame import KeptHarness
from e2i_fs.testing.oracle import Row, answer
from e2i_fs.testing.runner import examine, surveyed
from e2i_fs.testing.show import shown
from e2i_fs.testing.worlds import make_world
from tests.kit import NOW, US, at


def row(minute: float, value: Any, *, key: str = "a", created: float | None = None) -> Row:
    return Row((key,), at(minute), None if created is None else at(created), (value,))


class Memory(Harness):
    backend: type[MemoryBackend] = MemoryBackend

    def open(self) -> Any:
        return self.backend("memory", self.clock)


# ---- the model ---------------------------------------------------------------------------------------------


@pytest.fixture
def model() -> Model:
    return Model([fs.String], [fs.Int64], ttl=timedelta(minutes=10))


@pytest.mark.rule("W-2")
def test_the_model_takes_a_batch_once_and_refuses_other_rows_under_its_key(model: Model) -> None:
    model.write([row(1, 1)], "offline", NOW, key="k")
    model.write([row(1, 1)], "offline", NOW, key="k")
    assert model.history == [row(1, 1)]
    with pytest.raises(Refused):
        model.write([row(1, 2)], "offline", NOW, key="k")
    assert model.history == [row(1, 1)]


@pytest.mark.rule("W-1", "O-4")
@pytest.mark.parametrize(
    "bad", [Row((None,), at(1), None, (1,)), Row(("a",), None, None, (1,)), Row(("a",), NOW + timedelta(seconds=61), None, (1,))]
)  # fmt: skip
def test_the_model_refuses_a_batch_whole(model: Model, bad: Row) -> None:
    with pytest.raises(Refused):
        model.write([row(1, 1), bad], "both", NOW)
    assert (model.history, model.known) == ([], [])


@pytest.mark.rule("O-6", "W-3")
def test_the_models_runs_bring_their_window_online_and_an_incremental_one_everything(model: Model) -> None:
    model.write([row(1, 1), row(2, 2), row(3, 3)], "offline", NOW)
    model.materialize(None, at(2), NOW)
    assert model.online([("a",)], at(5))[0].values == (2,)
    model.materialize(at(3), at(3), NOW)  # both ends count
    assert model.online([("a",)], at(5))[0].values == (3,)
    model.write([row(2.5, 9, key="b")], "offline", NOW)  # late: before the end of the last run
    assert model.online([("b",)], at(5))[0].statuses == ("NOT_FOUND",)
    model.materialize_incremental(at(5))
    assert model.online([("b",), ("a",)], at(13.5))[0].statuses == ("OUTSIDE_MAX_AGE",)
    assert model.historical([(("b",), at(2.5))])[0].values == (9,)


# ---- the diagnosis -----------------------------------------------------------------------------------------

ROWS = [
    row(1, 10, created=1), row(5, 20, created=7), row(5, 30, created=6), row(9, 40, created=9),
    row(2, 50, key="b", created=2), Row(("a",), None, None, (60,)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("got", "status", "rule"),
    [
        (40, "PRESENT", "P-1"), (30, "PRESENT", "P-4"), (10, "PRESENT", "P-4"), (50, "PRESENT", "P-7"), (60, "PRESENT", "T-3"),
        (20.0, "PRESENT", "P-8"), (None, "OUTSIDE_MAX_AGE", "P-2"), (None, "PRESENT", "O-3"), (20, "NULL_VALUE", "O-3"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_traced_to_the_rule_that_forbids_it(got: Any, status: str, rule: str) -> None:
    expected = answer([r for r in ROWS if r.key == ("a",)], at(6), [fs.Int64])
    assert expected.values == (20,)
    found = diagnose(ROWS, ("a",), at(6), [fs.String], 0, fs.Int64, expected, got, status)
    assert found is not None
    assert found.rule == rule


def test_what_was_not_known_and_what_was_filled_in_are_told_apart() -> None:
    mine = [r for r in ROWS if r.key == ("a",)]
    known = answer(mine, at(6), [fs.Int64], filter_by_created=True)
    assert known.values == (30,)
    found = diagnose(ROWS, ("a",), at(6), [fs.String], 0, fs.Int64, known, 20, "PRESENT", filter_by_created=True)
    assert found is not None and found.rule == "P-3"
    gap = [row(1, 10), row(3, None)]
    right = answer(gap, at(4), [fs.Int64])
    found = diagnose(gap, ("a",), at(4), [fs.String], 0, fs.Int64, right, 10, "PRESENT")
    assert found is not None and found.rule == "P-5"


@pytest.mark.parametrize(
    ("right", "got"), [(math.nan, None), (2**53 + 1, 2**53), (-0.0, 0.0)], ids=["NaN", "int through float", "zero"]
)
def test_a_number_in_a_wrong_form_is_p8(right: Any, got: Any) -> None:
    dtype = fs.Int64 if isinstance(right, int) else fs.Float64
    expected = answer([row(1, right)], at(2), [dtype])
    found = diagnose(
        [row(1, right)], ("a",), at(2), [fs.String], 0, dtype, expected, got, "NULL_VALUE" if got is None else "PRESENT"
    )
    assert found is not None and found.rule == "P-8"


# ---- the watched backend -----------------------------------------------------------------------------------


def test_a_backend_without_a_method_or_with_odd_capabilities_is_named() -> None:
    with pytest.raises(Mismatch, match="online_read"):
        inspected(
            type(
                "Half",
                (),
                {m: lambda self: None for m in METHODS if m != "online_read"} | {"capabilities": fs.Capabilities()},
            )(),
            1,
        )
    with pytest.raises(Mismatch, match="capabilities"):
        inspected(type("None", (), dict.fromkeys(METHODS, print) | {"capabilities": None})(), 1)
    with pytest.raises(Mismatch, match="point_in_time"):
        inspected(type("Native", (MemoryBackend,), {"capabilities": fs.Capabilities(point_in_time=True)})("m", None), 1)  # type: ignore[arg-type]
    with pytest.raises(Mismatch, match="batches, online_rows"):
        lacking = {m: lambda self: None for m in METHODS} | {"capabilities": fs.Capabilities(copyable=True)}
        inspected(type("Closed", (), lacking)(), 1)


@pytest.mark.rule("G-3")
@pytest.mark.parametrize("given", [("batches", [("a",)]), ("batches", None), ("online_rows", [([("a",)], [], 0)])])
def test_what_a_copyable_backend_gives_away_has_a_form(given: tuple[str, Any]) -> None:
    method, answer = given
    watched = inspected(type("Odd", (MemoryBackend,), {method: lambda self, view: answer})("m", FakeClock()), 1)
    with pytest.raises(Mismatch, match=method):
        list(getattr(watched, method)("hcp_stats"))


class _Short(MemoryBackend):
    def online_read(self, view: str, keys: Any, *, at_us: int) -> Any:
        return list(super().online_read(view, keys, at_us=at_us))[1:]


class _Driver(MemoryBackend):
    def online_read(self, view: str, keys: Any, *, at_us: int) -> Any:
        raise ConnectionResetError("peer went away")


class _Hangs(MemoryBackend):
    def online_read(self, view: str, keys: Any, *, at_us: int) -> Any:
        threading.Event().wait()


@pytest.mark.parametrize(
    ("kind", "rule", "says"), [(_Short, "O-5", "wrong form"), (_Driver, "G-4", "ConnectionResetError"), (_Hangs, "X-8", "online_read")]
)  # fmt: skip
def test_a_wrong_form_a_drivers_error_and_a_hang_are_findings_with_the_example(
    kind: Any, rule: str, says: str, tmp_path: Path
) -> None:
    class Wrong(Memory):
        backend = kind
        patience = 0.5

    with Kit(Wrong(tmp_path), profile=PROFILES["quick"], test="test_x") as kit:

        def check(world: Any) -> None:
            with kit.placed(world) as placed:
                for view in placed.views:
                    kit.check_online("O-1", placed, view, [])

        with pytest.raises(Finding) as caught:
            kit.search("O-1", kit.worlds(), check)
    assert caught.value.rule == rule
    assert says in str(caught.value) and "asked, row 0" in str(caught.value) and "replay:" in str(caught.value)


def test_an_answer_that_changes_from_one_time_to_the_next_is_a_finding(tmp_path: Path) -> None:
    with Kit(Memory(tmp_path), profile=PROFILES["quick"], test="test_x") as kit:
        turns = iter([False] * 3 + [True] + [False] * 1000)

        def check(number: int) -> None:
            assert not next(turns)

        with pytest.raises(Finding, match="fails one time and passes another"):
            kit.search("T-4", st.integers(), check)


def test_a_search_that_takes_too_long_stops_with_the_smallest_so_far(tmp_path: Path) -> None:
    from dataclasses import replace

    with Kit(Memory(tmp_path), profile=replace(PROFILES["ci"], patience=0.0), test="test_x") as kit:

        def check(number: int) -> None:
            kit.is_("P-1", "too large", number < 1000, True)

        with pytest.raises(Finding) as caught:
            kit.search("P-1", st.integers(0, 10**9), check)
    assert int(caught.value.example) >= 1000


@pytest.mark.parametrize(
    "wrong", [lambda self: None, lambda self: {"backend": "memory"}, lambda self: fs.connect({"backend": "memory"})]
)
def test_a_harness_that_opens_something_else_or_on_another_clock_is_told_so(
    wrong: Callable[[Any], Any], tmp_path: Path
) -> None:
    harness = type("Wrong", (Harness,), {"open": wrong})(tmp_path)
    with Kit(harness) as kit, pytest.raises(HarnessError, match=r"clock=self\.clock"):
        _ = kit.store


def test_a_store_on_the_harness_clock_is_taken_as_it_is(tmp_path: Path) -> None:
    harness = type("Right", (Harness,), {"open": lambda self: fs.connect({"backend": "memory"}, clock=self.clock)})(
        tmp_path
    )
    with Kit(harness) as kit:
        kit.clock.set(at(3) + US)
        kit.store.apply([fs.FeatureView("v", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Int64)])])
        kit.store.write("v", pa.table({"e": ["a"], "event_timestamp": [at(3)], "x": [1]}))
        assert kit.store.get_online_features(["v:x"], [{"e": "a"}]).to_dict()["x"] == [1]


def test_an_example_is_shown_with_its_rows_and_questions() -> None:
    text = shown(make_world(3))
    assert "view w3_v0: keys" in text and "asked, row 0:" in text and "event " in text


def test_seeded_choices_are_the_seeds_alone() -> None:
    one, two = Seeded(5), Seeded(5)
    assert [one.shuffled(range(9)), one.listed(lambda d: d.integer(0, 9), 2, 5)] == [
        two.shuffled(range(9)), two.listed(lambda d: d.integer(0, 9), 2, 5)
    ]  # fmt: skip


# ---- the seam to the harness -------------------------------------------------------------------------------


class Right(KeptHarness):
    patience = 5.0


class InitRaises(Right):
    def __init__(self, path: Path) -> None:
        raise ValueError("no address")


class NoPatience(Right):
    patience = 0.0


class OddDeviations(Right):
    deviations = [("test_x", "never", "It is so.")]  # type: ignore[list-item]


class ClockOfItsOwnEachTime(Right):
    @property
    def clock(self) -> FakeClock:  # type: ignore[override]
        return FakeClock()


class OpensANumber(Right):
    def open(self) -> Any:
        return 5


class OpensAClass(Right):
    def open(self) -> Any:
        return Kept


class OpensOneTwice(Right):
    def open(self) -> Any:
        self.once = getattr(self, "once", None) or super().open()
        return self.once


class OpensOnce(Right):
    opened = 0

    def open(self) -> Any:
        self.opened += 1
        if self.opened > 1:
            raise RuntimeError("locked by another")
        return super().open()


class OneStoreForAll(Right):
    all = Disk()

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.disk = self.all
        if not self.disk.catalog.views:
            view = fs.FeatureView("left", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Int64)])
            self.disk.catalog, _ = fs.Catalog().planned([view], "")


class BreakHangs(Right):
    patience = 0.2

    def break_(self) -> None:
        threading.Event().wait()


class HealRaises(Right):
    def heal(self) -> None:
        raise RuntimeError("the server does not start")


class ReadsAList(Right):
    def raw_read(self, view: str) -> Any:
        return super().raw_read(view).to_pylist()


class ReadsTexts(Right):
    def raw_read(self, view: str) -> Any:
        table = super().raw_read(view)
        return table.set_column(2, "x", pa.array(["one"] * len(table)))


class WriteRaises(Right):
    def raw_write(self, view: str, rows: pa.Table) -> None:
        raise OSError("the disk is full")


AWAY = "test_x2_a_broken_store_is_unavailable_and_not_empty"
HELD = "test_w2_the_store_holds_exactly_what_was_appended"
FOREIGN = "test_p1_rows_of_another_program_are_found"
HANDLES = "test_r5_what_was_done_is_there_at_once_and_for_everybody"


@pytest.mark.parametrize(
    ("harness", "says"),
    [
        (InitRaises, "InitRaises could not be made: ValueError: no address (raised in test_kit_parts.py, line"),
        (NoPatience, "NoPatience.patience is 0.0"),
        (OddDeviations, "OddDeviations.deviations is"),
        (ClockOfItsOwnEachTime, "ClockOfItsOwnEachTime.clock is another object each time"),
    ],
)
def test_a_harness_that_cannot_be_used_is_told_what_to_do_before_any_test(harness: Any, says: str) -> None:
    for look in (surveyed, lambda make: examine(make, only=[HELD])):
        with pytest.raises(HarnessError) as caught:
            look(harness)
        assert says in str(caught.value)


@pytest.mark.parametrize(
    ("harness", "test", "says"),
    [
        (OpensANumber, HELD, "OpensANumber.open() returned 5, which is no store and no backend. Return a store"),
        (OpensAClass, HELD, "which is no store and no backend"),
        (OpensOneTwice, HANDLES, "OpensOneTwice.open() returned the same object twice."),
        (OpensOnce, HANDLES, "OpensOnce.open() raised RuntimeError: locked by another (raised in test_kit_parts.py, line"),
        (OneStoreForAll, HELD, "OneStoreForAll.open() gave a store that is not empty; it has the views left."),
        (BreakHangs, AWAY, "BreakHangs.break_ did not come back within 0.2 s."),
        (HealRaises, AWAY, "HealRaises.heal() raised RuntimeError: the server does not start (raised in"),
        (ReadsAList, HELD, "ReadsAList.raw_read() returned list; it must be a pyarrow.Table"),
        (ReadsTexts, HELD, "ReadsTexts.raw_read() returned columns of other dtypes than the view's"),
        (WriteRaises, FOREIGN, "WriteRaises.raw_write() raised OSError: the disk is full (raised in"),
    ],
)  # fmt: skip
def test_what_a_harness_does_wrong_is_its_own_and_no_finding_about_the_backend(
    harness: Any, test: str, says: str
) -> None:
    (result,) = examine(harness, profile=PROFILES["quick"], only=[test])
    assert result.outcome == "failed" and result.finding is not None
    assert says in result.finding.says
    assert "could not be examined" in result.finding.text() and "is broken" not in result.finding.text()


def test_a_directed_test_shows_what_it_did(tmp_path: Path) -> None:
    class Reversed(Kept):
        def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
            return not super().append(view, rows, batch_id=batch_id)

    class Wrong(Right):
        kind = Reversed

    (result,) = examine(Wrong, profile=PROFILES["quick"], only=["test_w2_a_batch_written_twice_is_one_batch"])
    assert result.finding is not None
    assert result.finding.example.splitlines() == [
        "1. apply the view sample: key k String, features x Int64",
        "2. append to sample with batch_id 'a': k='n1' at 0 s x=1; k='n1' at 0 s x=1",
    ]


class OnlineTooEarly(Kept):
    def online_read(self, view: str, keys: Any, *, at_us: int) -> Any:
        return super().online_read(view, keys, at_us=at_us + 1)


class WhollyTrusting(Kept):
    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        return batch_id not in self._views[view].batches and super().append(view, rows, batch_id=batch_id)


def found_in(backend: type[Kept], test: str) -> Finding:
    class Wrong(Right):
        kind = backend

    (result,) = examine(Wrong, profile=PROFILES["quick"], only=[test])
    assert result.finding is not None
    return result.finding


def test_a_finding_names_a_view_as_its_example_does_and_is_made_of_whole_sentences() -> None:
    finding = found_in(OnlineTooEarly, "test_o2_the_future_is_not_served_online")
    assert finding.example.startswith("view v: ")
    assert finding.says == (
        "v:x, row 2 is not what the contract says. After write, at 2024-03-10 12:00:00+00:00. "
        "The source row is of 2024-03-10 00:02:00+00:00."
    )


def test_an_error_that_is_missing_is_told_with_what_was_done() -> None:
    finding = found_in(WhollyTrusting, "test_w2_an_id_used_for_other_rows_is_refused")
    assert "A used batch_id" in finding.says or finding.says.startswith("No error where there must be one: other rows")


def test_a_long_example_ends_with_a_whole_line_and_a_mark_that_there_is_more() -> None:
    lines = [f"row {number} of many" for number in range(500)]
    text = Finding("P-1", "test_x", "It is long.", example="\n".join(lines)).text().splitlines()
    assert text[-1] == "    ..."
    assert [line.strip() for line in text[3:-1]] == lines[: len(text) - 4]
    assert Finding("P-1", "test_x", "It is long.", got="x" * 5000).text().endswith("xxx ...")
