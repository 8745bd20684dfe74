"""Incremental runs read what arrived and nothing else, whatever its event times; and are exact whatever happened between (W-3)."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.errors import BackendUnavailableError
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.directed import NOW, US, at
from tests.breakable import OPENED, BreakablePlugin

pytestmark = pytest.mark.rule("W-3")
REF = "v:x"


def put(folder: Path, name: str, *rows: tuple[str, object, int]) -> None:
    folder.mkdir(exist_ok=True)
    keys, times, values = zip(*rows, strict=True)
    made = pa.table({"k": keys, "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")), "x": values})
    pq.write_table(made, folder / name)


def view(folder: Path) -> fs.FeatureView:
    return fs.FeatureView(
        "v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=fs.ParquetSource(folder)
    )


def online(store, *keys: str) -> list[int | None]:
    return store.get_online_features([REF], [{"k": key} for key in keys]).to_dict()["x"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def store(clock, tmp_path, files):
    put(files, "1.parquet", ("a", at(10), 1), ("b", at(10), 1))
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}, clock=clock) as opened:
        opened.apply([view(files)])
        yield opened


def read(store) -> int:
    """Do an incremental run; return how many rows it looked at."""
    (run,) = store.materialize_incremental().runs
    return run.rows_read


def test_a_run_looks_only_at_what_arrived_since_the_last(store, files) -> None:
    assert read(store) == 2
    assert read(store) == 0
    put(files, "2.parquet", ("a", at(5), 2), ("c", at(1), 3))
    assert read(store) == 2
    assert online(store, "a", "b", "c") == [1, 1, 3]


def test_rows_in_a_file_that_was_written_again_arrive(store, files) -> None:
    read(store)
    put(files, "1.parquet", ("a", at(11), 7), ("d", at(2), 4))
    assert read(store) == 2
    assert online(store, "a", "b", "d") == [7, 1, 4]


def test_a_file_of_the_same_name_size_and_time_is_another_one(store, files, tmp_path) -> None:
    read(store)
    before = (files / "1.parquet").stat()
    put(tmp_path / "new", "1.parquet", ("a", at(10), 7), ("b", at(10), 7))
    os.utime(tmp_path / "new" / "1.parquet", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (tmp_path / "new" / "1.parquet").stat().st_size == before.st_size
    os.replace(tmp_path / "new" / "1.parquet", files / "1.parquet")
    read(store)
    assert online(store, "a") == [7]


def test_rows_of_the_future_in_files_read_before_come_online_in_their_time(store, files, clock) -> None:
    put(files, "2.parquet", ("a", NOW + timedelta(hours=1), 8), ("a", NOW + timedelta(hours=2), 9))
    read(store)
    assert online(store, "a") == [1]
    clock.advance(timedelta(hours=1))
    assert read(store) == 1
    assert online(store, "a") == [8]
    clock.advance(timedelta(hours=1) - US)
    assert read(store) == 0
    clock.advance(US)
    read(store)
    assert online(store, "a") == [9]


def test_rows_written_through_the_store_arrive_too(store) -> None:
    read(store)
    frame = pa.table({"k": ["a"], "event_timestamp": pa.array([at(11)], pa.timestamp("us", "UTC")), "x": [5]})
    store.write("v", frame, to="offline")
    assert read(store) == 1
    assert online(store, "a") == [5]


def test_an_end_in_the_past_hides_nothing_from_the_next_run(store, files) -> None:
    read(store)
    put(files, "2.parquet", ("a", at(20), 2), ("c", at(3), 3))
    store.materialize_incremental(at(5))
    assert online(store, "a", "c") == [1, 3]
    read(store)
    assert online(store, "a", "c") == [2, 3]


def test_a_view_that_was_made_anew_is_read_whole(store, files) -> None:
    read(store)
    store.delete("v")
    store.apply([view(files)])
    assert online(store, "a", "b") == [None, None]
    assert read(store) == 2
    assert online(store, "a", "b") == [1, 1]


def test_online_rows_that_were_lost_are_put_back(store, files, tmp_path, clock) -> None:
    """The online rows go, and the record of what was read stays: it is not believed."""
    read(store)
    store.close()
    kept = tmp_path / "store"
    lost = [p for p in kept.iterdir() if p.name.startswith("online")]
    assert lost, sorted(p.name for p in kept.iterdir())
    for path in lost:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with fs.connect({"backend": "duckdb", "path": str(kept)}, clock=clock) as again:
        assert read(again) == 2
        assert online(again, "a", "b") == [1, 1]


def test_a_field_that_was_added_is_read_from_all_of_history(store, files) -> None:
    read(store)
    old = view(files)
    table = pq.read_table(files / "1.parquet").append_column("y", pa.array([10, 20]))
    pq.write_table(table, files / "1.parquet")
    read(store)
    added = fs.FeatureView(
        "v", entities=list(old.entities), schema=[*old.schema, fs.Field("y", fs.Int64)], source=old.source
    )
    store.apply([added])
    assert read(store) == 2
    assert store.get_online_features(["v:y"], [{"k": "a"}, {"k": "b"}]).to_dict()["y"] == [10, 20]


def test_a_dry_run_counts_and_changes_nothing(store, files) -> None:
    for _ in range(2):
        (run,) = store.materialize_incremental(dry_run=True).runs
        assert (run.outcome, run.rows_read, run.rows_written) == ("planned", 2, 2)
    assert online(store, "a") == [None] and store.materialization_runs() == []
    read(store)
    (run,) = store.materialize_incremental(dry_run=True).runs
    assert (run.rows_read, run.rows_written) == (0, 0)
    (run,) = store.materialize(at(0), at(10), dry_run=True).runs
    assert (run.rows_read, run.rows_written) == (2, 2)


# ---- taking up what was left ----------------------------------------------------------------------------------


@pytest.fixture
def breakable(clock, files, monkeypatch):
    """A store with pieces of two rows, and how to make its backend fail at one online write."""
    monkeypatch.setattr("e2i_fs.ops.materialize.CHUNK", 2)
    put(files, "1.parquet", *((f"k{i}", at(10), i) for i in range(7)))
    with fs.connect({"backend": "breakable", "inner": "duckdb", "path": str(files.parent / "store")}, clock=clock,
                    plugins=[BreakablePlugin()]) as opened:  # fmt: skip
        opened.apply([view(files)])
        yield opened, OPENED["breakable"]


def fail_at(backend, number: int) -> None:
    real, calls = backend.inner.online_write, []

    def online_write(*args, **more):
        calls.append(1)
        if len(calls) == number:
            backend.inner.online_write = real
            raise BackendUnavailableError("Taken away by the test.")
        return real(*args, **more)

    backend.inner.online_write = online_write


@pytest.mark.rule("W-4")
def test_an_incremental_run_is_taken_up_where_it_failed_though_more_has_arrived(breakable, files, clock) -> None:
    store, backend = breakable
    fail_at(backend, 3)
    with pytest.raises(BackendUnavailableError):
        store.materialize_incremental()
    clock.advance(timedelta(hours=1))
    put(files, "2.parquet", ("k0", at(11), 100), ("new", at(1), 200))
    (second,) = store.materialize_incremental().runs
    first = store.materialization_runs()[1]
    assert (first.outcome, first.rows_read, first.rows_written) == ("failed", 0, 4)
    assert (second.rows_read, second.rows_written) == (9, 5)  # 3 that were left and 2 that arrived
    assert online(store, "k0", "k1", "k6", "new") == [100, 1, 6, 200]


@pytest.mark.rule("W-4")
def test_a_full_run_in_batches_is_taken_up_at_the_step_that_failed(breakable, files, clock) -> None:
    store, backend = breakable
    put(files, "1.parquet", *((f"k{i}", at(10) + timedelta(days=-i), i) for i in range(7)))
    week = at(0) - timedelta(days=7)
    fail_at(backend, 4)
    with pytest.raises(BackendUnavailableError):
        store.materialize(week, NOW, batch=timedelta(days=1))
    clock.advance(timedelta(hours=5))
    store.materialize(week, None, batch=timedelta(days=1))
    second, first = store.materialization_runs()
    assert (first.rows_read, first.rows_written) == (3, 3)
    assert (second.rows_read, second.rows_written) == (4, 4)
    assert online(store, *(f"k{i}" for i in range(7))) == list(range(7))


@pytest.mark.rule("W-4")
def test_steps_that_were_finished_are_done_again_when_their_files_changed(breakable, files) -> None:
    store, backend = breakable
    put(files, "1.parquet", ("a", at(0) - timedelta(days=2), 1), ("b", at(1), 1))
    fail_at(backend, 2)
    with pytest.raises(BackendUnavailableError):
        store.materialize(at(0) - timedelta(days=3), NOW, batch=timedelta(days=1))
    put(files, "1.parquet", ("a", at(0) - timedelta(days=2), 5), ("b", at(1), 1))
    store.materialize(at(0) - timedelta(days=3), NOW, batch=timedelta(days=1))
    assert online(store, "a", "b") == [5, 1]


@pytest.mark.rule("W-4")
def test_the_record_of_a_run_whose_process_ended_says_so(store) -> None:
    lost = {"id": "x", "backend": "duckdb", "view": "v", "mode": "full", "start_us": None, "end_us": 1, "outcome": "running",
            "rows_read": 0, "rows_written": 3, "newest_event_us": None, "started_us": 0, "duration": 0.0, "error": None,
            "chunks": 1, "job": None}  # fmt: skip
    store._ledger.save_run(lost)
    read(store)
    old = store.materialization_runs()[-1]
    assert (old.outcome, old.rows_written) == ("failed", 3) and "process ended" in old.error


@pytest.mark.rule("W-4")
def test_a_run_out_of_time_keeps_what_it_wrote_and_the_next_goes_on(breakable, clock) -> None:
    store, _ = breakable
    ticks = iter(range(100))
    late = lambda view, done, total: clock.advance(timedelta(seconds=4)) if next(ticks) < 2 else None  # noqa: E731
    with pytest.raises(fs.RunTimeoutError, match=r"'v' took longer than 5 s.*\(4 rows\) stays"):
        store.materialize_incremental(timeout=5, progress=late)
    (run,) = store.materialize_incremental(timeout=5).runs
    assert run.rows_written == 3
    assert online(store, *(f"k{i}" for i in range(7))) == list(range(7))


def test_progress_counts_up_over_all_batches_to_what_was_written(breakable, files) -> None:
    store, _ = breakable
    put(files, "1.parquet", *((f"k{i}", at(10) - timedelta(days=i // 3), i) for i in range(6)))
    told = []
    store.materialize(at(0) - timedelta(days=3), NOW, batch=timedelta(days=1), progress=lambda *said: told.append(said))
    # Four days, of which the first two have no rows: nothing is known of the others then, and in the end everything.
    assert told == [("v", 0, 0), ("v", 0, 0), ("v", 2, 4), ("v", 3, 4), ("v", 5, 6), ("v", 6, 6)]


def test_a_batch_must_be_some_time(store) -> None:
    with pytest.raises(fs.RequestError, match="batch is .* positive timedelta"):
        store.materialize(None, batch=timedelta(0))


def test_rows_pushed_ahead_of_time_to_a_view_over_a_stream_come_online_in_theirs(clock, tmp_path) -> None:
    """A CSV file is read whole each time; what was written through the store is not."""
    (tmp_path / "h.csv").write_text(f"k,event_timestamp,x\na,{at(10).isoformat()},1\n")
    one = fs.FeatureView(
        "v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=fs.CSVSource(tmp_path / "h.csv")
    )
    frame = pa.table({"k": ["a", "b"], "event_timestamp": pa.array([NOW + 9 * US, at(1)]), "x": [2, 3]})
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}, clock=clock) as store:
        store.apply([one])
        store.write("v", frame, to="offline")
        assert read(store) == 2
        assert read(store) == 1  # the row of the CSV file
        clock.advance(9 * US)
        assert read(store) == 2
        assert online(store, "a", "b") == [2, 3]


def test_a_view_made_anew_with_as_many_rows_and_writes_as_before_is_read_whole(store, files) -> None:
    read(store)
    store.delete("v")
    store.apply([view(files)])
    for number in range(10):
        times = pa.array([at(11)], pa.timestamp("us", "UTC"))
        store.write("v", pa.table({"k": [f"other{number}"], "event_timestamp": times, "x": [5]}), to="online")
    assert read(store) == 2
    assert online(store, "a", "b") == [1, 1]


def test_what_was_left_of_a_file_that_changed_is_not_read_twice(breakable, files) -> None:
    store, backend = breakable
    fail_at(backend, 3)
    with pytest.raises(BackendUnavailableError):
        store.materialize_incremental()
    put(files, "1.parquet", *((f"k{i}", at(10), i + 1) for i in range(7)))
    assert read(store) == 7
    assert online(store, "k0", "k6") == [1, 7]


# ---- a clock that jumps back ----------------------------------------------------------------------------------

AHEAD = timedelta(hours=3)
MANY = [f"k{i:02}" for i in range(40)]


@pytest.fixture
def many(store, files):
    """A store of forty keys, of which a run notes eight; the row of one that it does not note has a later one ahead."""
    put(files, "1.parquet", *((k, at(10), 1) for k in MANY))
    put(files, "2.parquet", ("k03", NOW + timedelta(hours=1), 8))
    return store


def test_rows_that_a_clock_running_ahead_replaced_answer_again_once_it_is_right(many, clock) -> None:
    clock.set(NOW + AHEAD)
    read(many)
    assert online(many, "k03", "k04") == [8, 1]
    clock.set(NOW)
    assert read(many) == 40  # all but the row whose time is yet to come
    assert online(many, "k03", "k04") == [1, 1]
    assert read(many) == 0
    clock.set(NOW + AHEAD)
    read(many)
    assert online(many, "k03", "k04") == [8, 1]


@pytest.mark.parametrize("mode", ["incremental", "full"])
@pytest.mark.parametrize("done", [False, True], ids=["killed", "done"])
def test_what_a_run_did_under_a_clock_running_ahead_is_not_believed(many, clock, monkeypatch, mode, done) -> None:
    """Whether it was killed after its writes or not; a full run of a window leaves no other trace than this."""
    clock.set(NOW - timedelta(minutes=1))
    read(many)
    clock.set(NOW + AHEAD)
    with monkeypatch.context() as patched:
        if not done:
            patched.setattr(type(many._ledger), "end_run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        try:
            many.materialize(NOW) if mode == "full" else many.materialize_incremental()
        except KeyboardInterrupt:
            assert not done
    assert online(many, "k03", "k04") == [8, 1]
    clock.set(NOW)
    assert online(many, "k03") == [None]
    read(many)
    assert online(many, "k03", "k04") == [1, 1]


def test_a_clock_that_jumps_back_in_the_middle_of_a_run_loses_no_row(many, files, clock, monkeypatch) -> None:
    monkeypatch.setattr("e2i_fs.ops.materialize.CHUNK", 20)
    put(files, "2.parquet", *((k, NOW + timedelta(hours=1), 8) for k in ("k03", "k23")))
    clock.set(NOW + AHEAD)
    many.materialize_incremental(progress=lambda *_: clock.set(NOW))
    read(many)
    assert online(many, "k03", "k04", "k23", "k24") == [1, 1, 1, 1]
    clock.set(NOW + AHEAD)
    read(many)
    assert online(many, "k03", "k04", "k23", "k24") == [8, 1, 8, 1]


def test_clocks_of_two_machines_a_second_apart_read_nothing_twice(store, files, clock) -> None:
    read(store)
    clock.set(NOW - timedelta(seconds=1))
    assert read(store) == 0


def test_a_view_made_anew_whose_every_noted_row_was_pushed_again_is_read_whole(store, files) -> None:
    """What was read is forgotten as the view is deleted: what online rows look like afterwards proves nothing."""
    put(files, "1.parquet", *((f"k{i}", at(10), i) for i in range(40)))
    read(store)
    store.delete("v")
    store.apply([view(files)])
    pushed = [*(f"k{i}" for i in range(39)), "other", "another"]
    times = pa.array([at(11)] * len(pushed), pa.timestamp("us", "UTC"))
    for _ in range(3):
        store.write("v", pa.table({"k": pushed, "event_timestamp": times, "x": [5] * len(pushed)}), to="online")
    read(store)
    assert online(store, "k0", "k39") == [5, 39]
