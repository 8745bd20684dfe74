"""What two processes, retries, kills and restored copies can do between two steps of each other. Each was a wrong answer once."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from e2i_fs.ops.records import Records
from e2i_fs.testing.faults import Crash, crashes, fails
from tests.several import VIEW, Several, batch, get

OTHER = fs.FeatureView("w", entities=[fs.Entity("e", join_keys={"k": fs.String})], schema=[fs.Field("x", fs.Int64)])


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Callable[..., Several]]:
    made: list[Several] = []

    def make(*args: Any, **more: Any) -> Several:
        made.append(Several(tmp_path / str(len(made)), *args, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def wide(*names: str) -> fs.FeatureView:
    return fs.FeatureView(
        "v", entities=[fs.Entity("e", join_keys={"k": fs.String})],
        schema=[fs.Field(n, fs.Int64) for n in ("x", *names)], source=fs.PushSource("p"),
    )  # fmt: skip


@contextlib.contextmanager
def running(work: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.rule("X-4")
def test_writers_that_overtake_each_other_are_no_loss_of_rows(several) -> None:
    store, backends = several().open()
    store.apply([VIEW])
    second = threading.Event()

    def late(doing: Any) -> Any:
        """The position is measured, another write comes to its end, and only then is the first noted."""
        measured = doing.go()
        store.write("v", batch("b", 2))
        second.set()
        return measured

    backends["primary"].put(late, "position", times=1)
    store.write("v", batch("a", 1))
    assert second.is_set()
    assert store.journal().diverged == {}
    assert (get(store, "a"), get(store, "b")) == ((1, "primary", False), (2, "primary", False))


@pytest.mark.rule("X-3", "X-4")
def test_a_write_that_is_sent_again_stays_missed_until_it_is_taken(several) -> None:
    store, backends = several().open()
    store.apply([VIEW])
    store.write("v", batch("a", 1))
    refusing = backends["primary"].put(fails(), "append", "online_write")
    assert store.write("v", batch("a", 2, 1), idempotency_key="k").applied == ("standby",)
    backends["primary"].remove(refusing)
    hold, begun = threading.Event(), threading.Event()

    def held(doing: Any) -> Any:
        begun.set()
        hold.wait(30)
        return doing.go()

    backends["primary"].put(held, "append")
    with running(lambda: store.write("v", batch("a", 2, 1), idempotency_key="k")):
        assert begun.wait(30)
        assert get(store) == (2, "standby", False)
        hold.set()
    assert get(store) == (2, "primary", False)


@pytest.mark.rule("X-3", "X-4")
def test_processes_that_look_whether_a_dead_one_lives_do_not_see_each_other(tmp_path: Path) -> None:
    records = Records(str(tmp_path), "")
    dead = Records(str(tmp_path), "")
    name = dead.writer
    assert records.busy(name)
    dead._alive.leave()  # as the system does for a process that has died
    lock_file = tmp_path / "writers" / name
    lock_file.touch()
    seen: Counter[bool] = Counter()

    def look() -> None:
        for _ in range(300):
            records._dead.clear()
            seen[records.busy(name)] += 1

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {False: 1200}
    records.close()


@pytest.mark.rule("X-3", "X-4", "X-5")
def test_a_write_whose_end_could_not_be_noted_counts_as_missed(several, monkeypatch) -> None:
    """The disk of the records fills up between the two backends."""
    store, backends = several().open()
    store.apply([VIEW])
    store.write("v", batch("a", 1))
    full = threading.Event()
    transaction = Records.transaction

    def refusing(self: Records) -> Any:
        if full.is_set():
            raise fs.BackendUnavailableError("The store's records cannot be written: disk full.")
        return transaction(self)

    monkeypatch.setattr(Records, "transaction", refusing)

    def fill(doing: Any) -> Any:
        done = doing.go()
        full.set()
        return done

    backends["primary"].put(fill, "online_write", times=1)
    with pytest.raises(fs.BackendUnavailableError, match="not acknowledged, though it may have arrived"):
        store.write("v", batch("a", 2, 1))
    full.clear()
    assert store.journal().missed == {"primary": {"v": 1}, "standby": {"v": 1}}
    store.catch_up()
    store.isolate("primary")
    assert get(store) == (2, "standby", False)


@pytest.mark.rule("X-5")
def test_a_write_that_another_process_got_acknowledged_is_not_taken_back(several) -> None:
    world = several()
    (a, _), (b, backends) = world.open(), world.open()
    a.apply([VIEW])
    a.write("v", batch("a", 1))
    begin = a._router.journal.begin

    def between(*args: Any) -> Any:
        begun = begin(*args)
        backends["primary"].put(fails(), "append", times=1)
        assert b.write("v", batch("a", 2, 1), idempotency_key="k").applied == ("standby",)
        for name in ("primary", "standby"):
            a.isolate(name)  # so A calls nobody, and would take the write back
        return begun

    a._router.journal.begin = between
    with pytest.raises(fs.NoEligibleBackendError, match="may have arrived"):
        a.write("v", batch("a", 2, 1), idempotency_key="k")
    assert get(b) == (2, "standby", False)
    b.catch_up()
    assert get(b) == (2, "primary", False)


@pytest.mark.rule("X-2", "W-2")
def test_a_key_used_again_with_other_rows_is_refused_wherever_they_go_and_harms_nobody(several) -> None:
    store, backends = several().open()
    store.apply([VIEW])
    store.write("v", batch("a", 1), to="offline", idempotency_key="job")
    backends["primary"].put(fails(), "append", times=1)
    with pytest.raises(fs.InvalidBatchError, match="used before with other rows"):
        store.write("v", batch("a", 2, 1), to="both", idempotency_key="job")
    store.write("v", batch("a", 1), to="online", idempotency_key="job")  # the same rows, to another place
    store.write("v", batch("a", 3, 2))
    store.catch_up()
    assert store.journal().diverged == {}
    assert get(store) == (3, "primary", False)


@pytest.mark.rule("X-4")
def test_readmitting_does_not_forget_a_write_that_is_under_way(several) -> None:
    world = several()
    (a, backends), (b, _) = world.open(), world.open()
    a.apply([VIEW])
    a.write("v", batch("a", 1))

    def readmitted(doing: Any) -> Any:
        b.readmit("primary")
        raise fs.BackendUnavailableError("gone")

    backends["primary"].put(readmitted, "append", times=1)
    assert a.write("v", batch("a", 2, 1)).applied == ("standby",)
    assert (get(a), get(b)) == ((2, "standby", False), (2, "standby", False))


@pytest.mark.rule("X-4")
@pytest.mark.parametrize("without", ["third", "standby"])
def test_a_backend_that_was_left_out_for_a_while_has_yet_to_get_what_was_written(several, without: str) -> None:
    world = several(("primary", "standby", "third"))
    store, _ = world.open()
    store.apply([VIEW])
    store.write("v", batch("a", 1))
    with contextlib.closing(world.open([n for n in world.names if n != without])[0]) as fewer:
        fewer.write("v", batch("a", 2, 1))
    for name in world.names:
        if name != without:
            store.isolate(name)
    assert get(store) == (1, without, True)
    for name in world.names:
        store.release(name)
    assert store.catch_up(without)[without].done
    for name in world.names:
        if name != without:
            store.isolate(name)
    assert get(store) == (2, without, False)


@pytest.mark.rule("X-4")
def test_a_store_that_went_on_with_one_backend_knows_what_the_other_lacks(tmp_path: Path) -> None:
    one, two = ({"name": n, "backend": "duckdb", "path": str(tmp_path / n)} for n in ("one", "two"))
    more = {"state": str(tmp_path / "state")}
    with fs.connect({"backends": [one, two], **more}) as store:
        store.apply([VIEW])
        store.write("v", batch("a", 1))
    with fs.connect({"backends": [one], **more}) as store:
        store.write("v", batch("a", 2, 1))
        assert get(store) == (2, "one", False)
    with fs.connect({"backends": [one, two], **more, "failover": {"background": False}}) as store:
        store.isolate("one")
        assert get(store) == (1, "two", True)


@pytest.mark.rule("X-4")
def test_a_backend_under_a_new_name_has_yet_to_get_its_rows(several) -> None:
    world = several()
    store, backends = world.open()
    store.apply([VIEW])
    store.write("v", batch("a", 1))
    backends["standby"].put(fails(), "append", times=1)
    store.write("v", batch("a", 2, 1))  # which the standby has missed
    world.disks["renamed"] = world.disks["standby"]
    again, _ = world.open(["primary", "renamed"])
    again.isolate("primary")
    assert get(again) == (1, "renamed", True)


@pytest.mark.rule("X-3", "X-5")
def test_an_older_copy_of_the_primary_makes_no_loss_lawful(tmp_path: Path) -> None:
    backends = [{"name": n, "backend": "duckdb", "path": str(tmp_path / n)} for n in ("primary", "standby")]
    config = {"backends": backends, "state": str(tmp_path / "state"), "failover": {"background": False}}
    with fs.connect(config) as store:
        store.apply([wide()])
        store.write("v", batch("a", 1))
    shutil.copytree(tmp_path / "primary", tmp_path / "backup")
    with fs.connect(config) as store:
        store.apply([wide("y")])
        store.write("v", {**batch("a", 5, 1), "y": [7]})
        kept = store.journal().entries
    shutil.rmtree(tmp_path / "primary")
    (tmp_path / "backup").rename(tmp_path / "primary")
    with fs.connect(config) as store:
        assert get(store) == (5, "standby", False)
        assert get(store, ref="v:y") == (7, "standby", False)
        assert store.journal().entries == kept
        store.apply([wide("y")])
        assert get(store) == (5, "standby", False)
        assert store.catch_up("primary")["primary"].done
        assert (get(store), get(store, ref="v:y")) == ((5, "primary", False), (7, "primary", False))


@pytest.mark.rule("X-5")
def test_a_process_that_has_not_looked_for_long_makes_no_loss_lawful(several) -> None:
    world = several()
    (a, _), (b, _) = world.open(), world.open()
    a.apply([VIEW])
    a.write("v", batch("a", 1))
    assert get(b) == (1, "primary", False)
    older = world.disks["primary"].copy()
    a.apply([OTHER])
    a.write("w", batch("a", 7))
    disk = world.disks["primary"]
    disk.catalog = older.catalog
    disk.views.clear()
    disk.views.update(older.views)
    assert get(b) == (1, "primary", False)
    assert a.journal().entries == 2
    assert (get(a, ref="w:x"), get(b, ref="w:x")) == ((7, "standby", False), (7, "standby", False))


@pytest.mark.rule("X-3", "X-5")
def test_rows_made_anew_under_a_write_are_known_to_lack_it(several) -> None:
    world = several(local=True)
    (a, backends), (b, _) = world.open(), world.open()
    a.apply([VIEW])
    a.write("v", batch("a", 1))

    def then_rebuilt(doing: Any) -> Any:
        done = doing.go()
        b.rebuild("primary")
        return done

    backends["primary"].put(then_rebuilt, "online_write", times=1)
    a.write("v", batch("a", 2, 1))
    for store in (a, b):
        value, _, degraded = get(store)
        assert value == 2 or degraded
    a.catch_up()
    assert get(a) == (2, "primary", False)


@pytest.mark.rule("X-3")
def test_an_answer_during_which_a_local_backend_is_made_anew_is_refused(several) -> None:
    world = several(local=True)
    (a, of_a), (b, of_b) = world.open(), world.open()
    a.apply([VIEW])
    a.write("v", batch("a", 1))
    assert get(a) == (1, "primary", False)
    dropped, hold = threading.Event(), threading.Event()

    def half_way(doing: Any) -> Any:
        dropped.set()
        hold.wait(30)
        return doing.go()

    of_b["standby"].put(half_way, "batches", times=1)
    rebuilding = threading.Thread(target=lambda: b.rebuild("primary"))

    def begin(doing: Any) -> Any:
        rebuilding.start()
        assert dropped.wait(30)
        return doing.go()

    of_a["primary"].put(begin, "online_read", times=1)
    assert get(a) == (1, "standby", False)
    hold.set()
    rebuilding.join(60)


@pytest.mark.rule("X-3")
def test_an_unmarked_answer_does_not_go_back_while_a_write_is_on_its_way(several) -> None:
    world = several(("primary", "standby", "third"))
    (a, of_a), (b, _) = world.open(), world.open()
    a.apply([VIEW])
    a.write("v", batch("a", 1))
    hold = threading.Event()
    reached = threading.Event()

    def held(doing: Any) -> Any:
        reached.set()
        hold.wait(30)
        return doing.go()

    of_a["standby"].put(held, "append", times=1)
    with running(lambda: a.write("v", batch("a", 2, 1))):
        assert reached.wait(30)
        assert get(b) == (2, "primary", False)
        b.isolate("primary")
        assert get(b) == (1, "standby", True)
        hold.set()
    assert get(b) == (2, "standby", False)


@pytest.mark.rule("X-3")
def test_what_is_behind_is_read_at_one_moment(several) -> None:
    """Between the queries that read it another process may end a write; together they still tell of one moment."""
    world = several()
    (a, backends), (b, _) = world.open(), world.open()
    a.apply([VIEW])
    a.write("v", batch("a", 1))
    backends["primary"].put(fails(), "append", times=1)
    a.write("v", batch("a", 2, 1))
    journal = b._router.journal
    snapshot = journal._records.snapshot

    @contextlib.contextmanager
    def between() -> Iterator[Any]:
        with snapshot() as query:

            def asked(sql: str) -> list[Any]:
                found = query(sql)
                a.catch_up("primary")
                return found

            yield asked

    journal._records.snapshot = between
    facts = journal.facts()
    assert facts.standing("primary", "v").missed == 1
    assert facts.pending("primary", "v")


@pytest.mark.rule("X-8")
def test_a_read_does_not_wait_for_a_writer_that_waits_for_the_records(several, tmp_path: Path) -> None:
    world = several(local=True)
    store, _ = world.open()
    store.apply([VIEW])
    store.write("v", batch("a", 1))
    ledger = next(tmp_path.rglob("ledger.sqlite"))
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute(
            "INSERT OR REPLACE INTO notes VALUES ('x', '1')"
        )  # something has changed, so facts are read again
        other.execute("BEGIN IMMEDIATE")  # and a process is frozen in its next note
        with running(lambda: store.write("v", batch("a", 2, 1))):
            while not store._ledger.records.lock._is_owned() and store._ledger.records.lock.acquire(blocking=False):
                store._ledger.records.lock.release()  # until the writer has it, and waits for the other
            begun = time.monotonic()
            assert get(store) == (1, "primary", False)
            assert time.monotonic() - begun < 5  # it was 30 s
            other.execute("COMMIT")


@pytest.mark.rule("X-8")
def test_a_write_does_not_wait_for_a_backend_that_is_being_made_anew(several) -> None:
    world = several(write_deadline=30)
    (a, of_a), (b, _) = world.open(), world.open()
    a.apply([VIEW])
    a.write("v", batch("a", 1))
    hold, copying = threading.Event(), threading.Event()

    def half_way(doing: Any) -> Any:
        copying.set()
        hold.wait(60)
        return doing.go()

    of_a["standby"].put(half_way, "batches", times=1)
    with running(lambda: a.rebuild("primary")):
        assert copying.wait(30)
        begun = time.monotonic()
        assert b.write("v", batch("a", 2, 1)).applied == ("standby",)
        assert time.monotonic() - begun < 10  # it was the whole of write_deadline
        hold.set()
    b.catch_up()
    assert get(b) == (2, "primary", False)


@pytest.mark.rule("X-5")
def test_a_batch_greater_than_the_journal_that_nobody_has_yet_is_kept(several) -> None:
    world = several(journal={"max_bytes": 2**16})
    store, backends = world.open()
    text = fs.FeatureView(
        "v",
        entities=[fs.Entity("e", join_keys={"k": fs.String})],
        schema=[*VIEW.schema, fs.Field("t", fs.Bytes)],
        source=VIEW.source,
    )
    store.apply([text])
    store.write("v", {**batch("a", 1), "t": [b""]})
    large = bytes(n * n % 251 ^ n % 13 for n in range(150_000))
    backends["primary"].put(crashes(), "append")
    store._router.journal.end = crash  # the process dies: nothing of it comes to an end
    with pytest.raises(Crash):
        store.write("v", {**batch("b", 2), "t": [large * 3]})
    store._ledger.records._alive.leave()
    again, _ = world.open()
    assert {name: c.done for name, c in again.catch_up().items()} == {"primary": True, "standby": True}
    assert get(again, "b") == (2, "primary", False)
    again.isolate("primary")
    assert get(again, "b") == (2, "standby", False)


def crash(*args: Any) -> None:
    raise Crash


@pytest.mark.rule("W-4", "X-4")
def test_a_replayed_run_that_meets_another_waits_for_later(several, monkeypatch) -> None:
    from e2i_fs.ops.ledger import Ledger

    store, backends = several(local=True).open()
    store.apply([VIEW])
    store.write("v", batch("a", 1), to="offline")
    backends["standby"].put(fails(), "scan", times=1)
    store.materialize(None)
    run_lock = Ledger.run_lock
    monkeypatch.setattr(Ledger, "run_lock", lambda self, backend, view, timeout: run_lock(self, backend, view, 0.01))
    with run_lock(store._ledger, "standby", "v", 1.0):  # what a long materialisation of another process holds
        caught_up = store.catch_up("standby")["standby"]
        assert (caught_up.done, caught_up.diverged) == (False, ())
    assert store.catch_up("standby")["standby"].done


@pytest.mark.rule("X-4")
def test_reads_that_never_reach_a_backend_that_is_behind_still_have_it_brought_up_to_date(several) -> None:
    store, backends = several(background=True).open()
    store.apply([VIEW])
    backends["standby"].put(fails(), "append", times=1)
    assert store.write("v", batch("a", 1)).applied == ("primary",)
    until = time.monotonic() + 30
    while store.journal().missed.get("standby"):
        assert get(store) == (1, "primary", False)
        assert time.monotonic() < until


@pytest.mark.rule("X-5")
def test_a_write_that_arrived_in_part_is_not_forgotten_by_a_backend_that_lost_its_definitions(several) -> None:
    store, backends = several().open()
    store.apply([VIEW])
    store.write("v", batch("b", 1))
    store.isolate("primary")
    backends["standby"].put(fails(), "online_write", times=1)  # its history has the batch by then
    with pytest.raises(fs.NoEligibleBackendError, match="may have arrived"):
        store.write("v", batch("a", 2), to="both")
    primary = backends["primary"].inner
    assert primary.apply(fs.Catalog(), expected=primary.definitions().revision)
    store.release("primary")
    assert not store.catch_up("primary")["primary"].done
    assert store.catch_up("standby")["standby"].done
    assert get(store) == (2, "standby", False)
    store.apply([VIEW])
    assert store.catch_up("primary")["primary"].done
    asked = {"k": ["a"], "event_timestamp": [store._clock.now()]}
    answer = store.get_historical_features(asked, ["v:x"])
    assert (answer.to_arrow()["x"].to_pylist(), answer.provenance.served_by) == ([2], "primary")
    assert get(store) == (2, "primary", False)
