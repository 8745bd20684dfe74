"""Files that vanish, change or come back under a job, and disks that are full: said, and nothing is lost (W-3, W-4)."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.directed import NOW, at

pytestmark = pytest.mark.rule("W-3", "W-4")
DAY = timedelta(days=1)
STAMP = pa.timestamp("us", "UTC")
ONCE = {"jobs": {"retries": 0}}


def put(path: Path, *rows: tuple[str, object, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    keys, times, values = zip(*rows, strict=True)
    pq.write_table(pa.table({"k": keys, "event_timestamp": pa.array(times, STAMP), "x": values}), path)


def view(source: fs.Source) -> fs.FeatureView:
    return fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=source)


def online(store, *keys: str) -> list[int | None]:
    return store.get_online_features(["v:x"], [{"k": key} for key in keys]).to_dict()["x"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A row on each of three days."""
    path = tmp_path / "in" / "1.parquet"
    put(path, *((f"k{n}", at(0) - n * DAY, n) for n in range(3)))
    return path


@pytest.fixture
def store(clock, tmp_path, file):
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}, clock=clock) as opened:
        opened.apply([view(fs.ParquetSource(file.parent))])
        yield opened


def at_piece(number: int, act):
    """Return what does ``act`` when so many pieces of a job are done."""
    told = []

    def progress(*_: object) -> None:
        told.append(1)
        if len(told) == number:
            act()

    return progress


# ---- a source that is gone, or another, in the middle ---------------------------------------------------------


def test_a_folder_that_vanishes_between_two_days_of_a_job_is_named_and_the_job_goes_on_when_it_is_back(
    store, file, tmp_path
) -> None:
    away = tmp_path / "away"
    said = []

    def back(seconds: float) -> None:
        said.append(store.jobs().history()[0].error)
        away.rename(file.parent)

    jobs = store.jobs({"jobs": {"retries": 1, "retry_delay_seconds": 7}}, sleep=back)
    (job,) = jobs.full(days_back=3, progress=at_piece(2, lambda: file.parent.rename(away))).jobs
    assert (job.outcome, job.attempts, job.rows_read, job.rows_written) == ("succeeded", 2, 3, 3)
    assert online(store, "k0", "k1", "k2") == [0, 1, 2]
    assert said[0].startswith("BackendDataError: ") and str(file) in said[0]


def test_a_file_replaced_by_one_of_another_schema_in_the_middle_is_refused_by_column(store, file) -> None:
    good = file.read_bytes()
    replace = at_piece(2, lambda: put(file, ("k0", at(0), "text")))
    (job,) = store.jobs(ONCE).full(days_back=3, progress=replace).failed
    assert "column 'x' is string" in job.error and str(file) in job.error
    file.write_bytes(good)
    (again,) = store.jobs(ONCE).recover().jobs
    assert again.outcome == "succeeded" and online(store, "k0", "k1", "k2") == [0, 1, 2]


def test_a_file_rewritten_in_the_middle_is_read_again_by_the_next_job(store, file) -> None:
    rows = [(f"k{n}", at(0) - n * DAY, 10 + n) for n in range(4)]
    store.jobs(ONCE).incremental(progress=at_piece(1, lambda: put(file, *rows)))
    store.jobs(ONCE).incremental()
    assert online(store, "k0", "k1", "k2", "k3") == [10, 11, 12, 13]


def test_a_file_replaced_between_two_days_of_a_full_job_hides_no_row_of_a_day_that_was_done(store, file) -> None:
    store.jobs(ONCE).incremental()
    rows = [("late", at(0) - 2 * DAY, 7), *((f"k{n}", at(0) - n * DAY, n) for n in range(3))]
    (job,) = store.jobs(ONCE).full(days_back=3, progress=at_piece(3, lambda: put(file, *rows))).jobs
    assert job.outcome == "succeeded"
    store.jobs(ONCE).incremental()
    assert online(store, "late") == [7]


def test_a_half_written_file_is_said_and_read_when_it_is_whole(store, file) -> None:
    whole = file.read_bytes()
    (file.parent / "2.parquet").write_bytes(whole[:100])
    (job,) = store.jobs(ONCE).incremental().failed
    assert "2.parquet" in job.error and "not readable Parquet" in job.error
    (file.parent / "2.parquet").write_bytes(whole)
    assert store.jobs(ONCE).incremental().jobs[0].outcome == "succeeded"
    assert online(store, "k0", "k1", "k2") == [0, 1, 2]


# ---- files that look as before ---------------------------------------------------------------------------------


def sized(table: pa.Table, size: int = 4_096) -> bytes:
    """Return a table as a Parquet file of so many bytes: what nothing points to, before the footer, is nothing."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    made = sink.getvalue().to_pybytes()
    footer = len(made) - 8 - int.from_bytes(made[-8:-4], "little")
    return made[:footer] + b"\0" * (size - len(made)) + made[footer:]


def rewritten(path: Path, table: pa.Table) -> None:
    """Write a file again in place, with the inode, the size and the time of writing that it had."""
    before = path.stat()
    with path.open("r+b") as same:
        same.write(sized(table))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)


def test_a_file_rewritten_in_place_with_its_size_and_time_put_back_is_another_one(store, file) -> None:
    table = pq.read_table(file)
    file.write_bytes(sized(table))
    store.jobs(ONCE).incremental()
    rewritten(file, table.set_column(2, "x", pa.array([5, 6, 7])))
    store.jobs(ONCE).incremental()
    assert online(store, "k0", "k1", "k2") == [5, 6, 7]


def test_a_file_rewritten_so_with_other_types_is_read_by_the_types_it_has(store, file) -> None:
    """Its schema is remembered by more than its size and time."""
    table = pq.read_table(file)
    file.write_bytes(sized(table))
    store.jobs(ONCE).incremental()
    rewritten(file, table.set_column(2, "x", pa.array(["1", "2", "3"])))
    (job,) = store.jobs(ONCE).incremental().failed
    assert "column 'x' is string" in job.error


def test_a_folder_behind_a_link_that_is_switched_is_read_anew(clock, tmp_path) -> None:
    for number, name in enumerate(("monday", "tuesday")):
        put(tmp_path / name / "1.parquet", ("k0", at(number), number), (name, at(0), number))
    shutil.copystat(tmp_path / "monday" / "1.parquet", tmp_path / "tuesday" / "1.parquet")
    (tmp_path / "current").symlink_to("monday", target_is_directory=True)
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}, clock=clock) as store:
        store.apply([view(fs.ParquetSource(tmp_path / "current"))])
        store.jobs(ONCE).incremental()
        (tmp_path / "next").symlink_to("tuesday", target_is_directory=True)
        (tmp_path / "next").replace(tmp_path / "current")
        store.jobs(ONCE).incremental()
        assert online(store, "k0", "monday", "tuesday") == [1, 0, 1]


def test_a_file_under_a_second_name_and_a_file_moved_away_and_back_lose_nothing(store, file, tmp_path) -> None:
    store.jobs(ONCE).incremental()
    os.link(file, file.parent / "2.parquet")
    file.parent.rename(tmp_path / "elsewhere")
    (job,) = store.jobs(ONCE).incremental().failed
    assert "no .parquet file at" in job.error
    (tmp_path / "elsewhere").rename(file.parent)
    put(tmp_path / "new.parquet", ("k0", at(1), 9))
    (tmp_path / "new.parquet").replace(file)  # the other name keeps the old rows
    store.jobs(ONCE).incremental()
    assert online(store, "k0", "k1", "k2") == [9, 1, 2]


def test_a_created_time_in_the_future_only_breaks_ties(clock, tmp_path) -> None:
    times = pa.array([at(1), at(1)], STAMP)
    created = pa.array([NOW + DAY, at(1)], STAMP)
    put_table = pa.table({"k": ["a", "a"], "event_timestamp": times, "created": created, "x": [1, 2]})
    pq.write_table(put_table, tmp_path / "h.parquet")
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}, clock=clock) as store:
        store.apply([view(fs.ParquetSource(tmp_path / "h.parquet", created_timestamp_field="created"))])
        store.jobs(ONCE).incremental()
        assert online(store, "a") == [1]


# ---- sources that are no Parquet files are read whole ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "duckdb"])
def test_a_row_that_lands_late_in_a_table_or_csv_file_arrives_though_nothing_says_that_it_is_new(
    clock, tmp_path, kind
) -> None:
    """Its event and created times are older than the last run: a mark on either would have lost it."""
    path = tmp_path / f"h.{kind}"

    def land(*rows: tuple[str, object, int]) -> None:
        if kind == "csv":
            with path.open("a") as out:
                out.writelines(f"{k},{t.isoformat()},{t.isoformat()},{x}\n" for k, t, x in rows)
        else:
            with duckdb.connect(str(path)) as db:
                db.execute(
                    "CREATE TABLE IF NOT EXISTS h (k TEXT, event_timestamp TIMESTAMPTZ, created TIMESTAMPTZ, x BIGINT)"
                )
                db.executemany("INSERT INTO h VALUES (?, ?, ?, ?)", [(k, t, t, x) for k, t, x in rows])

    if kind == "csv":
        path.write_text("k,event_timestamp,created,x\n")
    land(("a", at(10), 1))
    source = fs.CSVSource(path, created_timestamp_field="created") if kind == "csv" else fs.DuckDBSource(
        path, table="h", created_timestamp_field="created"
    )  # fmt: skip
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}, clock=clock) as store:
        store.apply([view(source)])
        assert store.jobs(ONCE).incremental().jobs[0].rows_read == 1
        clock.advance(DAY)
        land(("b", at(5), 2))
        assert store.jobs(ONCE).incremental().jobs[0].rows_read == 2  # whole, each time
        assert online(store, "a", "b") == [1, 2]


# ---- no room ---------------------------------------------------------------------------------------------------


def test_a_job_for_whose_rows_there_is_no_room_says_so_and_goes_on_when_there_is(
    clock, tmp_path, file, monkeypatch
) -> None:
    monkeypatch.setattr("e2i_fs.ops.materialize.CHUNK", 1_000)
    put(file, *((f"k{n:05}", at(0), n) for n in range(60_000)))
    config = {"backend": "duckdb", "path": str(tmp_path / "store"), "online_size": 2**20}
    with fs.connect(config, clock=clock) as store:
        store.apply([view(fs.ParquetSource(file))])
        (job,) = store.jobs(ONCE).incremental().failed
        assert "online_size" in job.error and 0 < job.rows_written < 60_000
    with fs.connect({**config, "online_size": 2**26}, clock=clock) as store:
        (again,) = store.jobs(ONCE).incremental().jobs
        assert again.outcome == "succeeded"
        assert job.rows_written + again.rows_written == 60_000 and job.rows_read + again.rows_read == 60_000
        assert online(store, "k00000", "k59999") == [0, 59_999]
