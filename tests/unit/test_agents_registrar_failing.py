"""A registration that fails half-way: nothing is left half-registered, nothing that was there is lost, and the rest is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from e2i_fs.agents import FeatureRegistrar
from e2i_fs.errors import BackendDataError, BackendUnavailableError
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.faults import Doing, empty, fails
from tests import agents_world as world


def registrar(store: Any, clock: FakeClock, *args: Any, **more: Any) -> FeatureRegistrar:
    return FeatureRegistrar(store, *args, clock=clock, **more)


# ---- a view that is new ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["append", "online_write"])
def test_a_write_that_fails_leaves_nothing_registered_and_says_so(clock: FakeClock, method: str) -> None:
    store, faults = world.faulty_store(clock)
    script = faults.put(fails(), method)
    with pytest.raises(BackendUnavailableError) as failed:
        registrar(store, clock, world.spec()).register(world.frame(days=2))
    assert "was taken back again: view hcp_conversion, entity hcp, entity brand" in "".join(failed.value.__notes__)
    assert world.registered(store) == ([], [])
    made = registrar(store, clock, world.spec(), on_error="report").register(world.frame(days=2))
    assert (made.status, made.left_behind) == ("error", ())
    assert set(made.undone) == {"view hcp_conversion", "entity hcp", "entity brand"}
    faults.remove(script)
    assert registrar(store, clock, world.spec()).register(world.frame(days=2)).completed


@pytest.mark.parametrize("method", ["online_read", "scan"])
def test_values_that_do_not_read_back_as_written_leave_nothing_registered(clock: FakeClock, method: str) -> None:
    store, faults = world.faulty_store(clock)
    faults.put(empty(), method)
    with pytest.raises(BackendDataError, match=r"does not read back.*trx_count"):
        registrar(store, clock, world.spec()).register(world.frame(days=2))
    faults.heal()
    assert world.registered(store) == ([], [])


def test_one_value_that_reads_back_otherwise_is_noticed(clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)

    def off_by_one(doing: Doing) -> Any:
        rows = doing.go()
        rows[0].values["trx_count"] += 1
        return rows

    faults.put(off_by_one, "online_read")
    with pytest.raises(BackendDataError, match=r"online, hcp_conversion:trx_count, row \d+: written \d+, read back"):
        registrar(store, clock, world.spec()).register(world.frame(days=2))
    faults.heal()
    assert world.registered(store) == ([], [])


def test_an_apply_whose_answer_was_lost_is_undone_too(clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    faults.put(fails(after=True), "apply", times=1)
    with pytest.raises(BackendUnavailableError):
        registrar(store, clock, world.spec()).register(world.frame(days=2))
    assert world.registered(store) == ([], [])


def test_what_an_undoing_that_fails_leaves_behind_is_named(clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    faults.put(fails(), "append", "online_write")
    faults.put(fails(), "apply", skip=1)
    made = registrar(store, clock, world.spec(), on_error="report").register(world.frame(days=2))
    assert made.status == "error"
    assert [left.split(":")[0] for left in made.left_behind] == ["view hcp_conversion", "entity hcp", "entity brand"]


def test_an_error_that_nobody_foresaw_is_raised_whatever_was_chosen_and_nothing_is_left(clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    faults.put(fails(lambda: AttributeError("no such method")), "online_read")
    with pytest.raises(AttributeError, match="no such method"):
        registrar(store, clock, world.spec(), on_error="report").register(world.frame(days=2))
    faults.heal()
    assert world.registered(store) == ([], [])


def test_a_store_that_is_away_is_an_error_and_no_empty_result(clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    faults.put(fails())
    with pytest.raises(BackendUnavailableError):
        registrar(store, clock, world.spec()).register(world.frame(days=2))
    made = registrar(store, clock, world.spec(), on_error="report").register(world.frame(days=2))
    assert made.error is not None
    assert made.error.startswith("BackendUnavailableError")


# ---- a view that was there ---------------------------------------------------------------------------------


def test_a_failure_in_a_view_that_was_there_does_not_delete_it(clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    registrar(store, clock, world.spec()).register(world.frame(days=2))
    faults.put(fails(), "append")
    made = registrar(store, clock, world.spec(), on_error="report").register(world.frame(days=3))
    faults.heal()
    assert made.undone == ()
    assert "was there before and stays" in made.left_behind[0]
    assert store.get_online_features(world.REFS[:1], world.contexts(1)).to_dict()["trx_count"] != [None]


WIDER = world.frame(days=3).append_column("extra", world.frame(days=3)["trx_count"])
NARROWER = world.changed(world.frame(days=3), channel=None)


def rows_kept(store: Any) -> int:
    return int(store.statistics(f"{world.VIEW}:trx_count").rows)


@pytest.mark.rule("R-4")
@pytest.mark.parametrize("method", ["append", "online_write"])
@pytest.mark.parametrize(("rows", "breaking"), [(WIDER, False), (NARROWER, True)])
def test_a_change_that_could_not_be_taken_back_is_rehearsed_so_a_write_that_fails_changes_nothing(
    clock: FakeClock, rows: pa.Table, breaking: bool, method: str
) -> None:
    store, faults = world.faulty_store(clock)
    registrar(store, clock, world.spec()).register(world.frame(days=2))
    view, names, kept = store.get_feature_view(world.VIEW), world.registered(store), rows_kept(store)
    script = faults.put(fails(), method)
    every = registrar(store, clock, world.spec(), on_error="report", allow_breaking=breaking)
    made = every.register(rows)
    faults.remove(script)
    assert (made.status, made.plan, made.left_behind) == ("error", None, ())
    assert (store.get_feature_view(world.VIEW), world.registered(store), rows_kept(store)) == (view, names, kept)
    done = every.register(rows)
    assert done.completed, done.error
    assert world.registered(store) == names
    assert rows_kept(store) == len(rows) + (0 if breaking else kept)


@pytest.mark.rule("R-4")
def test_a_definition_that_can_be_put_back_is_when_the_write_fails(clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    registrar(store, clock, world.spec()).register(world.frame(days=2))
    before = store.get_feature_view(world.VIEW)
    faults.put(fails(), "append")
    other = world.spec(ttl=timedelta(days=90), owner="somebody", max_staleness=timedelta(days=1))
    made = registrar(store, clock, other, on_error="report").register(world.frame(days=3))
    assert made.undone == ("view hcp_conversion (its former definition stands again)",)
    assert store.get_feature_view(world.VIEW) == before
    assert rows_kept(store) == 2 * world.HCPS


@pytest.mark.rule("R-4")
@pytest.mark.parametrize(
    ("rows", "breaking", "stands", "said"),
    [
        (WIDER, False, False, "the new definition of view hcp_conversion, for taking it back would drop the rows"),
        (NARROWER, True, True, "the rows that were written to view hcp_conversion before are gone"),
    ],
)
def test_what_a_failure_after_the_rehearsal_leaves_and_what_it_cost_is_told(
    clock: FakeClock, rows: pa.Table, breaking: bool, stands: bool, said: str
) -> None:
    store, faults = world.faulty_store(clock)
    registrar(store, clock, world.spec()).register(world.frame(days=2))
    before = store.get_feature_view(world.VIEW)
    faults.put(fails(), "append", skip=1)
    made = registrar(store, clock, world.spec(), on_error="report", allow_breaking=breaking).register(rows)
    faults.heal()
    assert made.status == "error"
    assert said in "; ".join(made.left_behind)
    assert (store.get_feature_view(world.VIEW) == before) is stands
    assert rows_kept(store) == (0 if breaking else 2 * world.HCPS)


def test_a_rehearsal_that_cannot_be_cleared_away_is_named_and_the_view_stays(clock: FakeClock) -> None:
    store, faults = world.faulty_store(clock)
    registrar(store, clock, world.spec()).register(world.frame(days=2))
    before = store.get_feature_view(world.VIEW)
    faults.put(fails(), "apply", skip=1)
    made = registrar(store, clock, world.spec(), on_error="report").register(WIDER)
    faults.heal()
    assert made.left_behind[0].startswith("view hcp_conversion__rehearsal: BackendUnavailableError")
    assert store.get_feature_view(world.VIEW) == before
