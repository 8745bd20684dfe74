"""`Store.optimize`: sorted copies that change no answer, whoever writes, replaces, deletes or dies meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import e2i_fs as fs
from e2i_fs import historical, sorted_copies
from e2i_fs.backend import ParquetRows
from e2i_fs.pit.sorted_rows import SortedRows

T0 = datetime(2024, 1, 1, tzinfo=UTC)
NOW = T0 + timedelta(days=30)


def _rows(values: dict[str, list[int]], start: int = 0) -> pa.Table:
    flat = [(key, T0 + timedelta(hours=start + n), x) for key, xs in values.items() for n, x in enumerate(xs)]
    keys, times, numbers = zip(*flat, strict=True)
    return pa.table(
        {"k": keys, "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")), "x": pa.array(numbers, pa.int64())}
    )


def _asked(**at: int) -> pa.Table:
    times = pa.array([T0 + timedelta(hours=hour) for hour in at.values()], pa.timestamp("us", "UTC"))
    return pa.table({"k": list(at), "event_timestamp": times})


def _replace(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    pq.write_table(_rows({"a": [1, 2, 3], "b": [10, 20]}), tmp_path / "h.parquet")
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """What each retrieval has read: the parts that came to the engine."""
    seen: list[list[Any]] = []
    engine = historical.together

    def noted(entities: Any, join_keys: Any, wanted: Any, *more: Any, **named: Any) -> Any:
        seen.extend(list(one.parts) for one in wanted)
        return engine(entities, join_keys, wanted, *more, **named)

    monkeypatch.setattr(historical, "together", noted)
    return seen


def _opened(place: Path) -> fs.store.Store:
    store = fs.connect({"backend": "duckdb", "path": str(place / "store")}, clock=lambda: NOW)
    source = fs.ParquetSource(str(place / "h.parquet"))
    store.apply([fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=source)])
    return store


def _answer(store: Any, **at: int) -> list[int | None]:
    return store.get_historical_features(_asked(**at), ["v:x"]).to_arrow()["x"].to_pylist()


def test_a_store_tells_for_how_many_files_a_copy_is_read(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    with _opened(place) as store:
        assert store.sorted_copies() == store.sorted_copies("v") == []
        store.optimize("v")
        assert store.sorted_copies("v") == [fs.SortedCopy("v", "duckdb", files=1, covered=1)]
        store.write("v", _rows({"a": [99]}, start=1), to="offline")
        assert store.sorted_copies() == [fs.SortedCopy("v", "duckdb", files=2, covered=1)]
        (copy,) = (place / "store" / ".e2i_fs" / "sorted" / "v").glob("*-*")
        (copy / "rows.parquet").write_bytes(b"")
        assert store.sorted_copies() == [fs.SortedCopy("v", "duckdb", files=2, covered=0)]
        assert [_answer(store, a=1) for _ in range(3)] == [[99]] * 3
        assert [str(copy) in record.message for record in caplog.records] == [
            True
        ]  # told once, and not at each retrieval
        store.optimize("v")
        _replace(place / "h.parquet", _rows({"a": [7]}))
        assert [one.covered for one in store.sorted_copies("v")] == [0]
        store.delete("v")
        assert store.sorted_copies() == []


def test_a_backend_that_has_no_files_of_a_view_has_no_copy_to_tell_of(place: Path) -> None:
    config = {"backends": [
        {"name": "one", "backend": "duckdb", "path": str(place / "one")}, {"name": "two", "backend": "memory"},
    ], "state": str(place / "state")}  # fmt: skip
    with fs.connect(config, clock=lambda: NOW) as store:
        store.apply([fs.FeatureView("w", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])])
        store.write("w", _rows({"a": [1]}), to="offline")
        (made,) = store.optimize()
        assert made.backend == "one"
        assert store.sorted_copies(["w", "w"]) == [fs.SortedCopy("w", "one", files=1, covered=1)]


def test_what_is_written_later_is_read_beside_the_copy(place: Path, read: list[list[Any]]) -> None:
    """P-4: and wins where it is greater; a second optimize takes it in."""
    with _opened(place) as store:
        (made,) = store.optimize("v")
        assert (made.view, made.backend, made.rows, made.keys, made.files) == ("v", "duckdb", 5, 2, 1)
        assert _answer(store, a=1, b=9) == [2, 20]
        store.write("v", _rows({"a": [99], "b": [0]}, start=1), to="offline")
        assert _answer(store, a=1, b=9, a2=1) == [99, 20, None]
        assert [type(part) for part in read[-1]] == [SortedRows, ParquetRows]
        assert store.optimize("v")[0].rows == 7
        assert _answer(store, a=1, b=9) == [99, 20]
        assert [type(part) for part in read[-1]] == [SortedRows]


@pytest.mark.parametrize("how", ["replaced", "rewritten in place", "removed"])
def test_a_copy_of_a_file_that_changed_is_not_used(place: Path, read: list[list[Any]], how: str) -> None:
    """P-10: a row that is gone answers no more, whatever was sorted before."""
    with _opened(place) as store:
        store.write("v", _rows({"a": [7]}, start=2), to="offline")
        store.optimize()
        other = _rows({"a": [4, 5, 6], "b": [40, 50]})
        if how == "replaced":
            _replace(place / "h.parquet", other)
        elif how == "rewritten in place":
            pq.write_table(other, place / "h.parquet")
        else:
            (place / "h.parquet").unlink()
            with pytest.raises(fs.BackendDataError):
                _answer(store, a=1)
            return
        assert _answer(store, a=1, b=9) == [5, 50]
        assert SortedRows not in [type(part) for part in read[-1]]


def test_another_definition_has_a_copy_of_its_own(place: Path, read: list[list[Any]]) -> None:
    """R-4: what was sorted as one dtype is not read as another."""
    with _opened(place) as store:
        store.optimize()
        source = fs.ParquetSource(str(place / "h.parquet"))
        changed = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Float64)], source=source)
        store.apply([changed], allow_breaking=True)
        assert _answer(store, a=1) == [2.0]
        assert [type(part) for part in read[-1]] == [ParquetRows]


def test_a_deleted_view_leaves_no_copy(place: Path) -> None:
    """Deletion is explicit, and of all rows that the store keeps (R-4)."""
    with _opened(place) as store:
        store.optimize()
        assert list((place / "store").rglob("rows.parquet"))
        store.delete("v")
        assert not list((place / "store").rglob("rows.parquet"))


def test_a_reader_that_began_before_finishes_and_old_copies_go(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers survive an optimize: of earlier copies the last one stays, others are removed."""
    with _opened(place) as store:
        store.optimize()
        engine = historical.together

        def optimized_meanwhile(*given: Any, **named: Any) -> Any:
            monkeypatch.setattr(historical, "together", engine)
            store.optimize()
            store.optimize()
            return engine(*given, **named)

        monkeypatch.setattr(historical, "together", optimized_meanwhile)
        assert _answer(store, a=1, b=9) == [2, 20]
        assert len(list((place / "store").rglob("rows.parquet"))) == 2


_KILLED = """
import os, signal, sys
import e2i_fs as fs
from e2i_fs import sorted_copies
real = sorted_copies.write_sorted
def killed(*given):
    real(*given)
    os.kill(os.getpid(), signal.SIGKILL)
sorted_copies.write_sorted = killed
fs.connect({"backend": "duckdb", "path": sys.argv[1]}).optimize("v")
"""


def test_a_killed_optimize_leaves_nothing_that_is_used(place: Path, read: list[list[Any]]) -> None:
    """O-7's like for copies: whole or not there; the next one clears away what was left and holds no lock."""
    with _opened(place) as store:
        done = subprocess.run([sys.executable, "-c", _KILLED, str(place / "store")], check=False)
        assert done.returncode == -signal.SIGKILL
        assert _answer(store, a=1) == [2]
        assert [type(part) for part in read[-1]] == [ParquetRows]
        store.optimize()
        assert _answer(store, a=1) == [2]
        assert [type(part) for part in read[-1]] == [SortedRows]
        home = next((place / "store").rglob("copy.json")).parent.parent
        assert sorted(e.name for e in os.scandir(home) if "-000000000001-" not in e.name) == [".lock"]


def test_what_a_removed_copy_was_made_of_is_not_taken_for_that_of_a_new_one(place: Path, read: list[list[Any]]) -> None:
    """Another process removes all copies and makes one anew, of more files: this one must not think that it is the old one."""
    with _opened(place) as store, _opened(place) as other:
        store.optimize()
        assert _answer(store, a=1) == [2]
        for copy in (place / "store" / ".e2i_fs" / "sorted" / "v").iterdir():
            if copy.is_dir():
                shutil.rmtree(copy)
        other.write("v", _rows({"a": [99]}, start=1), to="offline")
        other.optimize()
        assert _answer(store, a=1) == [99]
        assert [type(part) for part in read[-1]] == [SortedRows]


def test_a_damaged_copy_is_named_and_a_removed_one_is_done_without(place: Path) -> None:
    with _opened(place) as store:
        store.optimize()
        about = next((place / "store").rglob("copy.json"))
        shutil.rmtree(about.parent)
        assert _answer(store, a=1) == [2]
        store.optimize()
        about = next((place / "store").rglob("copy.json"))
        told = json.loads(about.read_text())
        about.write_text(json.dumps({"fingerprint": told["fingerprint"]}))
    with _opened(place) as store, pytest.raises(fs.BackendDataError, match="is damaged .* Remove the folder"):
        _answer(store, a=1)


def test_a_view_without_local_files_cannot_be_sorted(tmp_path: Path) -> None:
    view = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)], source=fs.PushSource("p"))
    with fs.connect({"backend": "duckdb", "path": str(tmp_path / "store")}) as store:
        store.apply([view])
        assert store.optimize() == []
        with pytest.raises(fs.UnsupportedError, match="'v' on 'duckdb' has no local Parquet files to sort"):
            store.optimize(["v"])
    with fs.connect({"backend": "memory"}) as store:
        store.apply([view])
        with pytest.raises(fs.UnsupportedError):
            store.optimize("v")


def test_the_command_tells_what_it_sorted(place: Path) -> None:
    """And `--json` gives the same as a document."""
    with _opened(place):
        pass
    (place / "e2i_fs.yaml").write_text("backend: duckdb\npath: store\n")
    run = [
        str(Path(sys.executable).with_name("e2i-fs")),
        "--config",
        str(place / "e2i_fs.yaml"),
        "--json",
        "optimize",
        "v",
    ]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    (one,) = json.loads(done.stdout)["optimized"]
    assert (one["view"], one["rows"], one["keys"], one["files"]) == ("v", 5, 2, 1)


@pytest.mark.rule("P-4", "R-2")
def test_a_view_deleted_and_made_anew_while_it_is_sorted_gets_no_rows_of_the_other_definition(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that sort at once have places of their own, whoever deletes the view in between."""
    table = pa.table(
        {"k": ["a"], "event_timestamp": pa.array([T0], pa.timestamp("us", "UTC")), "cost": [100], "x": [1]}
    )
    pq.write_table(table, place / "h.parquet")
    cheap = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)],
                           source=fs.ParquetSource(str(place / "h.parquet"), field_mapping={"cost": "x"}))  # fmt: skip
    with _opened(place) as mine, fs.connect({"backend": "duckdb", "path": str(place / "store")}) as other:
        dear, write = mine.get_feature_view("v"), sorted_copies.write_sorted

        def halfway(*given: Any) -> tuple[int, int]:
            made = write(*given)
            monkeypatch.setattr(sorted_copies, "write_sorted", write)
            other.delete("v")
            other.apply([cheap])
            assert _answer(other, a=1) == [100]
            with pytest.raises(fs.ThrottledError, match="another process"):  # it waits for its turn
                other.optimize("v")
            return made

        monkeypatch.setattr(sorted_copies, "write_sorted", halfway)
        monkeypatch.setattr(sorted_copies, "_PATIENCE", 0.05)
        with pytest.raises(fs.BackendUnavailableError, match="was deleted while it was sorted"):
            mine.optimize("v")
        assert not list((place / "store").rglob("rows.parquet"))
        assert _answer(mine, a=1) == [100]
        other.optimize("v")
        assert _answer(mine, a=1) == [100]
        mine.apply([dear], allow_breaking=True)
        assert _answer(mine, a=1) == [1]


@pytest.mark.rule("X-5")
@pytest.mark.parametrize("name", ["..", ".", ".part", "v.", "é" * 200])
def test_a_view_of_any_name_has_a_folder_of_its_own_and_its_deletion_takes_nothing_else(place: Path, name: str) -> None:
    with _opened(place) as store:
        odd = fs.FeatureView(name, entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)],
                             source=fs.ParquetSource(str(place / "h.parquet")))  # fmt: skip
        store.apply([odd])
        store.optimize("v")
        store.optimize(name)
        before = {path for path in (place / "store" / ".e2i_fs").rglob("*") if path.is_file()}
        store.delete(name)
        gone = before - {path for path in before if path.exists()}
        assert {path.name for path in gone} == {"begun", "copy.json", "keys.parquet", "rows.parquet"}
        (folder,) = {path.parent for path in gone}
        assert folder.parent.parent == place / "store" / ".e2i_fs" / "sorted"
        assert _answer(store, a=1) == [2]


@pytest.mark.parametrize("harm", ["rows gone", "keys gone", "keys cut short"])
def test_a_copy_whose_files_are_damaged_is_done_without_and_told(
    place: Path, harm: str, read: list[list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with _opened(place) as store:
        store.optimize("v")
        (keys,) = (place / "store").rglob("keys.parquet")
        harmed = keys.with_name("rows.parquet") if harm == "rows gone" else keys
        if harm == "keys cut short":
            harmed.write_bytes(harmed.read_bytes()[:-20])
        else:
            harmed.unlink()
        assert _answer(store, a=1, b=1) == [2, 20]
        assert not any(isinstance(part, SortedRows) for part in read[-1])
        assert "Run optimize again" in caplog.text
        store.optimize("v")
        assert _answer(store, a=1, b=1) == [2, 20]
        assert any(isinstance(part, SortedRows) for part in read[-1])


def test_a_copy_that_is_taken_away_is_not_told_as_damaged(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither while its files go one by one, nor when it was there a moment ago."""
    with _opened(place) as store:
        store.optimize()
        store.optimize()
        rmtree, halfway = shutil.rmtree, []

        def read_halfway(path: Any, **more: Any) -> None:
            for rows in Path(path).glob("rows.parquet"):
                rows.unlink()
                halfway.append(_answer(store, a=1))
            rmtree(path, **more)

        with monkeypatch.context() as patched:
            patched.setattr(sorted_copies.shutil, "rmtree", read_halfway)
            store.optimize()
        whole, left = sorted_copies.SortedCopies._whole, [True]

        def replaced_before(*given: Any) -> bool:
            if left:
                left.clear()
                store.optimize()
                store.optimize()
            return whole(*given)

        with monkeypatch.context() as patched:
            patched.setattr(sorted_copies.SortedCopies, "_whole", replaced_before)
            assert _answer(store, a=1) == [2]
        with monkeypatch.context() as patched:
            patched.setattr(sorted_copies.shutil, "rmtree", read_halfway)
            store._copies.drop("v")
        assert halfway == [[2]] * 3
        assert caplog.text == ""
        assert not list((place / "store").rglob("rows.parquet"))


def test_copies_that_are_replaced_at_each_try_are_done_without(
    place: Path, monkeypatch: pytest.MonkeyPatch, read: list[list[Any]]
) -> None:
    """X-6: what they are copies of stands, and is read by the last try."""
    with _opened(place) as store:
        store.optimize()
        engine = historical.together

        def replaced_before(*given: Any, **named: Any) -> Any:
            store.optimize()
            store.optimize()
            return engine(*given, **named)

        monkeypatch.setattr(historical, "together", replaced_before)
        assert _answer(store, a=1, b=9) == [2, 20]
        assert [type(part) for parts in read for part in parts] == [SortedRows, SortedRows, ParquetRows]


def test_a_copy_whose_removal_was_cut_short_goes_with_the_next(place: Path) -> None:
    with _opened(place) as store:
        store.optimize()
        (copy,) = (place / "store" / ".e2i_fs" / "sorted" / "v").glob("*-*")
        copy.rename(copy.with_name(f".gone-{copy.name}"))
        assert _answer(store, a=1) == [2]
        store.optimize()
        assert not list(copy.parent.glob(".gone-*"))
