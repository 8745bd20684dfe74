"""What lets an online read do without a look into SQLite and into the history's folder: both are told beside the rows, and never late."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import pytest
from e2i_fs_duckdb import environments, online
from e2i_fs_duckdb.backend import DuckDBBackend
from e2i_fs_duckdb.registry import Registry

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.catalog import Catalog
from tests.integration import two_processes as pair


def catalog(*names: str) -> Catalog:
    views = [
        fs.FeatureView(
            name, entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", fs.Int64)], source=fs.PushSource("p")
        )
        for name in names
    ]
    return Catalog().planned(views, "/")[0]


def in_a_child(work: Any) -> int:
    """Run ``work`` in a forked child that ends without tidying up; return its exit code."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


@pytest.mark.rule("R-5")
@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
def test_definitions_of_a_writer_that_died_at_its_commit_are_neither_hidden_nor_made_up(
    tmp_path: Path, moment: str
) -> None:
    mine = Registry(tmp_path, "p")
    mine.replace(catalog("a"), expected=Catalog().revision)
    assert list(mine.catalog().views) == ["a"]

    def dies() -> None:
        other = Registry(tmp_path, "p")
        changing = other._mark.changing

        @contextmanager
        def change() -> Any:
            with changing():
                if moment == "after the commit":
                    yield
                os._exit(9)

        other._mark.changing = change  # type: ignore[method-assign]
        other.replace(catalog("a", "b"), expected=catalog("a").revision)

    assert in_a_child(dies) == 9
    expected = ["a", "b"] if moment == "after the commit" else ["a"]
    assert list(mine.catalog().views) == expected
    assert mine._mark.now() is None  # nobody could say that the change was over; so each read looks for itself
    assert in_a_child(lambda: _add(tmp_path, *expected, "c")) == 0
    assert list(mine.catalog().views) == [*expected, "c"]
    assert mine._mark.now() is not None
    mine.close()


def _add(folder: Path, *names: str) -> None:
    other = Registry(folder, "p")
    kept = other.replace(catalog(*names), expected=other.catalog().revision)
    os._exit(0 if kept else 1)


@pytest.mark.rule("R-5")
def test_while_nothing_changes_sqlite_is_not_asked_and_a_change_elsewhere_is_seen_at_once(tmp_path: Path) -> None:
    mine, other = Registry(tmp_path, "p"), Registry(tmp_path, "p")
    mine.replace(catalog("a"), expected=Catalog().revision)
    first = mine.catalog()
    asked: list[str] = []
    mine._db.set_trace_callback(asked.append)
    assert mine.catalog() is first
    assert asked == []
    other.replace(catalog("a", "b"), expected=first.revision)
    assert list(mine.catalog().views) == ["a", "b"]
    mine.close()
    with pytest.raises(fs.BackendUnavailableError, match="closed"):
        mine.catalog()
    other.close()


def open_one(folder: Path) -> DuckDBBackend:
    return DuckDBBackend(str(folder), project="p", online_size=2**24)


def told(backend: DuckDBBackend, view: str = "v") -> int:
    """Return the sequence that an online read tells."""
    return backend.online_columns(backend.definitions(), {view: [("a",)]}, at_us=1)[view].sequence


@pytest.mark.rule("X-4", "X-7")
def test_an_online_read_tells_the_batches_that_any_process_added_to_history(tmp_path: Path) -> None:
    mine, other = open_one(tmp_path), open_one(tmp_path)
    mine.apply(Catalog().planned([pair.view()], "/")[0], expected=Catalog().revision)
    assert told(mine) == 0
    for number in range(3):
        assert (mine, other)[number % 2].append("v", pair.batch(number), batch_id=str(number))
        assert told(mine) == told(other) == mine.position("v").sequence == number + 1
    assert not other.append("v", pair.batch(0), batch_id="0")
    assert told(mine) == 3
    mine.close()
    other.close()


@pytest.mark.rule("X-4", "X-7")
def test_a_batch_whose_writer_died_before_noting_it_is_told_once_it_is_repeated(tmp_path: Path) -> None:
    mine = open_one(tmp_path)
    mine.apply(Catalog().planned([pair.view()], "/")[0], expected=Catalog().revision)

    def dies() -> None:
        other = open_one(tmp_path)
        other._note_batches = lambda storage: os._exit(9)  # type: ignore[method-assign]
        other.append("v", pair.batch(1), batch_id="1")

    assert in_a_child(dies) == 9
    assert told(mine) == 0  # never more than is there
    assert not mine.append("v", pair.batch(1), batch_id="1")
    assert told(mine) == mine.position("v").sequence == 1
    mine.close()


@pytest.mark.rule("X-4", "X-7")
def test_a_store_of_before_batches_were_noted_is_counted_when_it_is_opened(tmp_path: Path) -> None:
    mine = open_one(tmp_path)
    mine.apply(Catalog().planned([pair.view()], "/")[0], expected=Catalog().revision)
    mine.append("v", pair.batch(1), batch_id="1")
    mine.append("v", pair.batch(2), batch_id="2")
    mine.close()
    with lmdb.open(str(tmp_path / "online"), map_size=2**24) as env, env.begin(write=True) as transaction:
        transaction.delete(b"n")
        transaction.put(b"m\0\0\0\1", bytes.fromhex("9305c000"))  # as they were: five writes, no batches
    again = open_one(tmp_path)
    assert told(again) == again.position("v").sequence == 7
    again.close()


@pytest.mark.rule("R-5")
def test_a_forked_child_opens_a_store_that_its_parent_has_open(tmp_path: Path) -> None:
    mine = open_one(tmp_path)
    mine.apply(Catalog().planned([pair.view()], "/")[0], expected=Catalog().revision)

    def adds() -> None:
        other = open_one(tmp_path)
        os._exit(0 if other.append("v", pair.batch(1), batch_id="1") else 1)

    assert in_a_child(adds) == 0
    assert told(mine) == 1
    mine.close()


@pytest.mark.rule("O-7")
def test_a_fork_amid_a_transaction_of_its_own_thread_goes_on_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "_LOOKS", 2)
    monkeypatch.setattr(online, "_PIECE", 1)
    mine = open_one(tmp_path)
    mine.apply(Catalog().planned([pair.view()], "/")[0], expected=Catalog().revision)
    mine.online_write("v", [("a",), ("b",)], [OnlineRow(0, None, {}), OnlineRow(0, None, {})], at_us=1)
    under_way = mine.online_rows("v")
    next(under_way)
    assert in_a_child(lambda: os._exit(0 if told(mine) == 1 else 1)) == 0
    assert [keys for keys, _, _ in under_way] == [[("b",)]]
    assert told(mine) == 1
    mine.close()


@pytest.mark.rule("X-9")
def test_online_rows_that_were_taken_away_before_a_fork_are_not_taken_for_none_on_either_side(tmp_path: Path) -> None:
    mine = open_one(tmp_path)
    mine.apply(Catalog().planned([pair.view()], "/")[0], expected=Catalog().revision)
    shutil.rmtree(tmp_path / "online")

    def reads() -> None:
        try:
            told(mine)
        except fs.BackendUnavailableError as error:
            os._exit(0 if "replaced" in str(error) else 2)
        os._exit(1)

    assert in_a_child(reads) == 0
    with pytest.raises(fs.BackendUnavailableError, match="replaced"):
        told(mine)
    mine.close()


@pytest.mark.rule("X-4")
def test_history_that_was_lost_shows_in_the_position(tmp_path: Path) -> None:
    mine = open_one(tmp_path)
    mine.apply(Catalog().planned([pair.view()], "/")[0], expected=Catalog().revision)
    mine.append("v", pair.batch(1), batch_id="1")
    (folder,) = (tmp_path / "history").iterdir()
    shutil.rmtree(folder)
    assert mine.position("v").sequence == 0
    mine.close()
