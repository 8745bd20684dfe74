"""X-4, X-5: a backend that is behind takes every missed write in order, then answers unmarked; what it lost is made anew."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.entries import Entry
from tests.kit import NOW, at, batch, values, view
from tests.kit import ask as ask_history
from tests.unit.test_rules_failover import KEYS, REF, connect


@pytest.fixture(params=["memory", "duckdb"])
def pair(request, tmp_path, clock):
    found = connect(tmp_path, clock, request.param)
    found.store.apply([view(tmp_path, [("a", at(1), 1)])])
    found.store.materialize(None, NOW)
    with found.store:
        yield found


def served(pair, **more):
    answer = pair.online(**more)
    return answer.to_dict()["trx_count"], answer.provenance.served_by, answer.provenance.degraded


@pytest.mark.rule("X-3", "X-4", "X-5")
def test_what_a_backend_missed_is_replayed_and_then_it_answers_unmarked(pair, clock) -> None:
    pair.primary.break_()
    for n in (2, 3, 4):
        pair.store.write("hcp_stats", batch(("a", at(n), n)))
    pair.store.materialize(None, NOW)
    pair.primary.heal()
    clock.advance(timedelta(minutes=10))
    assert served(pair) == ([4], "standby", False)
    done = pair.store.catch_up()
    assert (done["primary"].replayed, done["primary"].left, done["primary"].error) == (4, 0, None)
    assert done["standby"].replayed == 0
    assert served(pair) == ([4], "primary", False)
    history = ask_history(pair.store, [("a", at(3))])
    assert (values(history), history.provenance.served_by) == ([3], "primary")


@pytest.mark.rule("X-4")
def test_a_backend_that_is_behind_is_sent_nothing_out_of_turn(pair) -> None:
    pair.standby.break_()
    pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    pair.standby.heal()
    before = dict(pair.standby.calls)
    receipt = pair.store.write("hcp_stats", batch(("a", at(3), 3)))
    assert receipt.applied == ("primary",) and "replay" in receipt.missed["standby"]
    assert pair.standby.calls.get("online_write") == before.get("online_write")
    assert pair.store.journal().missed["standby"] == {"hcp_stats": 2}
    assert pair.store.catch_up("standby")["standby"].replayed == 2
    pair.primary.break_()
    assert served(pair) == ([3], "standby", False)


@pytest.mark.rule("X-4")
def test_replay_stops_where_the_backend_fails_and_goes_on_from_there(pair, clock) -> None:
    pair.primary.break_()
    for n in (2, 3):
        pair.store.write("hcp_stats", batch(("a", at(n), n)))
    pair.primary.heal()
    pair.primary.break_("position", after=True)
    done = pair.store.catch_up("primary")["primary"]
    assert (done.replayed, done.left) == (0, 2) and "Taken away" in done.error
    assert not done.done
    assert served(pair)[1:] == ("standby", False)
    pair.primary.heal()
    clock.advance(timedelta(minutes=10))
    assert pair.store.catch_up("primary")["primary"].done
    assert served(pair) == ([3], "primary", False)


@pytest.mark.rule("X-5")
def test_the_journal_outlives_the_process(tmp_path, clock) -> None:
    first = connect(tmp_path, clock, "duckdb")
    with first.store:
        first.store.apply([view(tmp_path, [])])
        first.primary.break_()
        first.store.write("hcp_stats", batch(("a", at(2), 2)), idempotency_key="k")
    second = connect(tmp_path, clock, "duckdb")
    with second.store:
        assert second.store.health()[0].missed == {"hcp_stats": 1}
        assert second.store.catch_up()["primary"].replayed == 1
        assert served(second) == ([2], "primary", False)
        assert second.store.write("hcp_stats", batch(("a", at(2), 2)), idempotency_key="k").repeated


@pytest.mark.rule("X-4", "X-5")
def test_a_backend_comes_back_by_itself(tmp_path, clock) -> None:
    """In the background, as soon as a read sees that it is up."""
    pair = connect(tmp_path, clock, "memory", background=True)
    with pair.store:
        pair.store.apply([view(tmp_path, [])])
        pair.primary.break_()
        pair.store.write("hcp_stats", batch(("a", at(2), 2)))
        pair.primary.heal()
        until = time.monotonic() + 20
        while served(pair)[1] != "primary":
            assert served(pair)[0] == [2]
            assert time.monotonic() < until, "it did not come back"
        assert served(pair) == ([2], "primary", False)


@pytest.mark.rule("X-5")
@pytest.mark.parametrize("in_time", [True, False])
def test_closing_a_store_that_is_brought_up_to_date_is_no_error(tmp_path, clock, caplog, monkeypatch, in_time) -> None:
    """It waits for the write under way, briefly, and begins no other; what is left is in the journal."""
    monkeypatch.setattr("e2i_fs.failover.replay._PATIENCE", 20.0 if in_time else 0.0)
    pair = connect(tmp_path, clock, "memory", background=True)
    recovery, write = pair.store._router.recovery, pair.primary.inner.online_write
    pair.store.apply([view(tmp_path, [])])
    pair.primary.break_()
    for n in (2, 3):
        pair.store.write("hcp_stats", batch(("a", at(n), n)))
    pair.primary.heal()
    begun, go = threading.Event(), threading.Event()

    def held(*args, **more):
        begun.set()
        assert go.wait(20)
        return write(*args, **more)

    monkeypatch.setattr(pair.primary.inner, "online_write", held)
    clock.advance(timedelta(minutes=10))
    pair.online()
    assert begun.wait(20)
    closing = threading.Thread(target=pair.store.close)
    closing.start()
    if in_time:
        assert recovery._closing.wait(20)
    else:
        closing.join(20)  # given up waiting: the files are closed under the thread
    go.set()
    closing.join(20)
    concurrent.futures.wait(recovery._begun.values(), timeout=20)
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    with connect(tmp_path, clock, "memory").store as again:
        assert again.journal().missed == {"primary": {"hcp_stats": 1 if in_time else 2}}


@pytest.mark.rule("X-4")
def test_a_count_below_zero_is_never_told_as_a_number_of_writes(pair) -> None:
    """A backend says by such a count that it has seen itself emptied; it may be emptied once more."""
    router = pair.store._router
    for reached, now, said in (
        (3, -5, "it had taken 3 writes"),
        (3, 1, "3 writes and has 1"),
        (-2, -4, "emptied again"),
    ):
        assert router.recovery.compare(router._members[0], "hcp_stats", reached, now)
        why = pair.store.journal().diverged["primary"]["hcp_stats"]
        assert said in why and "rows were lost" in why and "-" not in why
        pair.store.readmit("primary")


@pytest.mark.rule("X-5")
def test_a_write_that_no_backend_was_asked_to_take_is_not_done_later(pair) -> None:
    for name in ("primary", "standby"):
        pair.store.isolate(name)
    with pytest.raises(fs.NoEligibleBackendError, match="not done anywhere"):
        pair.store._router.write(_entry(pair, 9), None)
    for name in ("primary", "standby"):
        pair.store.release(name)
    pair.store.catch_up()
    assert served(pair) == ([1], "primary", False)


def _entry(pair, value):
    from e2i_fs.batch import content_key
    from e2i_fs.entries import Entry

    rows = batch(("a", at(2), value))
    catalog = pair.store._router.backend("primary").definitions()
    details = {"to": "both", "batch_id": "b", "fingerprint": catalog.fingerprint("hcp_stats")}
    return Entry("hcp_stats", "write", "both:b", content_key(rows), details, rows)


@pytest.mark.rule("X-3", "X-5")
def test_a_write_whose_answer_was_lost_everywhere_arrives_everywhere(pair) -> None:
    """Not acknowledged, and yet it may be there: then no backend may be without it, unmarked."""
    pair.primary.break_("online_write", after=True)
    pair.standby.break_("append")
    with pytest.raises(fs.NoEligibleBackendError, match="may have arrived"):
        pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    pair.primary.heal()
    pair.standby.heal()
    assert served(pair)[2], "who has it is not known"
    assert all(done.done for done in pair.store.catch_up().values())
    assert served(pair) == ([2], "primary", False)
    pair.primary.break_()
    assert served(pair) == ([2], "standby", False)


@pytest.mark.rule("X-4", "X-10")
def test_rows_that_were_lost_are_made_anew_from_the_journal(pair) -> None:
    pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    pair.store.write("hcp_stats", batch(("a", at(3), 3)), to="online")
    _lose(pair.primary)
    assert served(pair) == ([3], "standby", False)
    pair.primary.heal()
    assert served(pair) == ([3], "standby", False)
    assert pair.store.health()[0].parity == {"hcp_stats": "diverged"}
    done = pair.store.catch_up("primary")["primary"]
    assert (done.rebuilt, done.done) == (("hcp_stats",), True)
    assert served(pair) == ([3], "primary", False)


def _lose(breakable) -> None:
    """Take the online rows away under the backend's feet, and let the store notice that it was away."""
    breakable.break_("online_read")
    inner = breakable.inner
    if hasattr(inner, "_views"):
        for kept in inner._views.values():
            kept.online.clear()
            kept.sequence = 0
    else:
        inner._online.drop(inner._registry.storage("hcp_stats"))


@pytest.mark.rule("X-5")
def test_a_journal_that_is_full_says_so_and_the_backend_is_made_anew(tmp_path, clock) -> None:
    pair = connect(tmp_path, clock, "memory", journal={"max_bytes": 2**16})
    with pair.store:
        pair.store.apply([view(tmp_path, [])])
        pair.standby.break_()
        for n in range(1, 30):
            rows = batch(*[(f"k{n}-{m}", at(n), m) for m in range(400)])
            pair.store.write("hcp_stats", rows)
        state = pair.store.journal()
        assert state.bytes <= state.max_bytes and state.given_up["hcp_stats"] > 0 and state.kept < state.entries
        pair.standby.heal()
        pair.primary.break_()
        assert pair.store.get_online_features([REF], [{"hcp_id": "k3-7"}]).provenance.degraded
        pair.primary.heal()
        done = pair.store.catch_up("standby")["standby"]
        assert done.done and done.rebuilt == ("hcp_stats",), done
        pair.primary.break_()
        answer = pair.store.get_online_features([REF], [{"hcp_id": "k3-7"}])
        assert (answer.to_dict()["trx_count"], answer.provenance.degraded) == ([7], False)


@pytest.mark.rule("R-4", "X-4")
def test_a_missed_write_that_is_older_than_a_field_lacks_it(pair) -> None:
    pair.standby.break_("online_write", "append")
    pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    pair.standby.heal()
    now = pair.store.get_feature_view("hcp_stats")
    (path,) = now.source.path
    pq.write_table(pq.read_table(path).append_column("later", pa.array([None], pa.int64())), path)
    pair.store.apply([replace(now, schema=[*now.schema, fs.Field("later", fs.Int64)])])
    assert pair.store.catch_up("standby")["standby"].done
    pair.primary.break_()
    answer = pair.store.get_online_features([REF, "hcp_stats:later"], KEYS)
    assert (answer.to_dict()["trx_count"], answer.to_dict()["later"]) == ([2], [None])
    assert not answer.provenance.degraded


@pytest.mark.rule("X-1")
def test_a_backend_taken_out_by_hand_is_not_called_and_catches_up_after(pair, clock) -> None:
    pair.store.isolate("primary")
    before = sum(pair.primary.calls.values())
    assert served(pair) == ([1], "standby", False)
    pair.store.write("hcp_stats", batch(("a", at(2), 2)))
    clock.advance(timedelta(hours=1))
    assert served(pair)[1] == "standby"
    assert sum(pair.primary.calls.values()) == before
    pair.store.release("primary")
    assert served(pair)[1] == "standby"
    pair.store.catch_up()
    assert served(pair) == ([2], "primary", False)
    with pytest.raises(fs.RequestError, match="Did you mean"):
        pair.store.isolate("primry")


# ---- rows made anew: what may come in between -----------------------------------------------------------------


@pytest.mark.rule("X-5")
def test_a_rebuild_whose_writes_go_from_the_journal_meanwhile_is_none(pair, monkeypatch) -> None:
    for n in (2, 3):
        pair.store.write("hcp_stats", batch(("a", at(n), n)))
    router = pair.store._router
    pair.store.isolate("standby")
    kept = router.journal.history

    def let_go_of_one(view):
        found = kept(view)
        with router.journal._records.transaction() as db:
            db.execute("UPDATE entries SET payload = NULL WHERE seq = ?", (found[1],))
        return found

    monkeypatch.setattr(router.journal, "history", let_go_of_one)
    done = pair.store.rebuild("primary")
    assert done.rebuilt == () and done.diverged == ("hcp_stats",)
    pair.store.release("standby")
    assert served(pair) == ([3], "standby", False)


@pytest.mark.rule("X-3", "X-5")
def test_a_rebuild_from_the_journal_leaves_a_write_that_is_under_way(pair) -> None:
    """It may yet be said not to be done."""
    journal = pair.store._router.journal
    pair.store.isolate("standby")
    rows = pa.table(
        {"hcp_id": ["a"], "event_timestamp": pa.array([at(5)], pa.timestamp("us", "UTC")), "trx_count": [5]}
    )
    seq, _ = journal.begin(Entry("hcp_stats", "write", "write:k", "c", {}, rows), ["primary", "standby"])
    assert pair.store.rebuild("primary").rebuilt == ("hcp_stats",)
    assert journal.facts().pending("primary", "hcp_stats")
    journal.end("hcp_stats", seq)
    journal.forget("hcp_stats", seq)
    assert served(pair) == ([1], "primary", False)


@pytest.mark.rule("X-4")
def test_a_rebuild_cut_short_after_it_dropped_the_view_can_be_done_again(pair, clock) -> None:
    pair.primary.break_("apply", after=True)
    assert pair.store.rebuild("primary").error
    pair.primary.heal()
    clock.advance(timedelta(minutes=10))
    assert served(pair) == ([1], "standby", False)
    assert pair.store.rebuild("primary").error is None
    assert served(pair) == ([1], "primary", False)


@pytest.mark.rule("X-4")
def test_a_backend_that_cannot_be_copied_after_all_leaves_the_journal(pair, monkeypatch) -> None:
    def unreadable(view):
        raise fs.BackendDataError("Half a row.")
        yield

    monkeypatch.setattr(pair.standby.inner, "online_rows", unreadable)
    assert pair.store.rebuild("primary").rebuilt == ("hcp_stats",)
    assert served(pair) == ([1], "primary", False)


@pytest.mark.rule("X-4")
def test_a_key_of_any_length_is_copied(tmp_path, clock) -> None:
    with connect(tmp_path, clock, "duckdb", journal={"max_bytes": 2**16}).store as store:
        store.apply([view(tmp_path, [])])
        store.write("hcp_stats", batch(("k" * 600, at(2), 2), ("b", at(2), 3)))
        store._ledger.records.query("DELETE FROM complete")  # the journal does not have everything
        assert store.rebuild("primary").rebuilt == ("hcp_stats",)
        store.isolate("standby")
        assert store.get_online_features([REF], [{"hcp_id": "k" * 600}, {"hcp_id": "b"}]).to_dict()["trx_count"] == [
            2,
            3,
        ]


@pytest.mark.rule("X-3")
def test_nothing_is_made_anew_from_sources_while_another_backend_has_everything(pair) -> None:
    with pytest.raises(fs.UnsupportedError, match="can be copied from 'standby'"):
        pair.store.rebuild("primary", from_sources=True)
    assert served(pair) == ([1], "primary", False)
    pair.store.isolate("standby")
    assert pair.store.rebuild("primary", from_sources=True).rebuilt == ("hcp_stats",)


@pytest.mark.rule("X-4")
def test_rows_are_not_dropped_when_their_source_cannot_be_read_again(pair, tmp_path) -> None:
    pair.store.isolate("standby")
    for file in tmp_path.glob("*.parquet"):
        file.rename(tmp_path / "away")
    done = pair.store.rebuild("primary")
    assert done.rebuilt == () and "parquet" in done.error
    pair.store.readmit("primary")
    assert served(pair) == ([1], "primary", False)


@pytest.mark.rule("W-4", "X-4")
def test_a_run_whose_source_is_gone_waits_for_it_and_harms_no_backend(pair, tmp_path) -> None:
    (source,) = tmp_path.glob("*.parquet")
    kept = source.read_bytes()
    source.unlink()
    with pytest.raises(fs.BackendDataError, match="parquet"):
        pair.store.materialize_incremental()
    with pytest.raises(fs.NoEligibleBackendError, match=r"no .parquet file at"):
        pair.store.materialize_incremental()  # in order: the run before it comes first, and cannot be done yet
    assert {standing for health in pair.store.health() for standing in health.parity.values()} == {"lagging"}
    source.write_bytes(kept)
    (behind,) = pair.store.materialize_incremental().failed
    assert (behind.backend, "replayed" in behind.error) == ("standby", True)
    assert pair.store.catch_up("standby")["standby"].done
    assert {standing for health in pair.store.health() for standing in health.parity.values()} == {"verified"}
    assert served(pair) == ([1], "primary", False)
