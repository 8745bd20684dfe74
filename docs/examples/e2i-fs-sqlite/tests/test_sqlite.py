"""What the kit cannot know of this backend: its file, its processes, its errors."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import e2i_fs as fs
import pytest

T0 = datetime(2024, 3, 9, tzinfo=UTC)
VIEW = fs.FeatureView("visits", entities=[fs.Entity("hcp_id")], schema=[fs.Field("count", fs.Int64)])
FORK = "fork" in multiprocessing.get_all_start_methods()


def opened(folder: Path) -> Any:
    return fs.connect({"backend": "sqlite", "path": str(folder)}, clock=lambda: T0)


def written(store: fs.FeatureStore, key: str, minutes: int) -> None:
    at = [T0 - timedelta(minutes=minutes)]
    store.write("visits", {"hcp_id": [key], "event_timestamp": at, "count": [minutes]}, to="both")


def read(store: fs.FeatureStore, *keys: str) -> list[int | None]:
    answer = store.get_online_features(["visits:count"], [{"hcp_id": key} for key in keys])
    counts: list[int | None] = answer.to_dict()["count"]
    return counts


def write_many(folder: str, key: str) -> None:
    with opened(Path(folder)) as store:
        for minutes in (20, 10, 15):
            written(store, key, minutes)
            written(store, "shared", minutes + int(key))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.apply([VIEW])
        workers = [subprocess.Popen([sys.executable, __file__, tmp_path, key]) for key in ("1", "2", "3")]
        assert [worker.wait(60) for worker in workers] == [0, 0, 0]
        assert read(store, "1", "2", "3", "shared") == [10, 10, 10, 11]
    with closing(sqlite3.connect(tmp_path / "features.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM history").fetchone() == (18,)
        assert db.execute("SELECT writes, keys FROM progress").fetchone() == (36, 4)


@pytest.mark.skipif(not FORK, reason="needs fork, which this platform does not have")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_a_connection_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.apply([VIEW])
        child = multiprocessing.get_context("fork").Process(target=written, args=(store, "child", 5))
        child.start()
        child.join(60)
        written(store, "parent", 6)
        assert (child.exitcode, read(store, "child", "parent")) == (0, [5, 6])


def test_a_file_that_is_no_database_is_damaged_not_unavailable(tmp_path: Path) -> None:
    (tmp_path / "features.sqlite").write_bytes(b"not a database at all, but long enough to look for a header" * 20)
    with pytest.raises(fs.BackendDataError, match="restore the file") as caught:
        opened(tmp_path)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


def test_a_damaged_row_and_damaged_definitions_are_named(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.apply([VIEW])
        written(store, "a", 5)
        with closing(sqlite3.connect(tmp_path / "features.sqlite")) as db, db:
            db.execute("UPDATE online SET body = x'c1'")
        with pytest.raises(fs.BackendDataError, match="cannot be decoded"):
            read(store, "a")
        with closing(sqlite3.connect(tmp_path / "features.sqlite")) as db, db:
            db.execute("UPDATE catalog SET revision = 'another', body = ?", (json.dumps({"format": 1}),))
        with pytest.raises(fs.BackendDataError, match="definitions .* are damaged"):
            store.list_feature_views()


def test_a_file_that_another_program_holds_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("e2i_fs_sqlite.database.PATIENCE", 0.05)
    with opened(tmp_path) as store:
        store.apply([VIEW])
        with closing(sqlite3.connect(tmp_path / "features.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(fs.BackendUnavailableError, match="locked"):
                written(store, "a", 5)
            other.execute("ROLLBACK")
        written(store, "a", 5)
        assert read(store, "a") == [5]


@pytest.mark.parametrize("options", [{}, {"path": ""}, {"path": "x", "pth": 1}])
def test_options_that_it_cannot_use_are_named(options: dict[str, object]) -> None:
    with pytest.raises(fs.ConfigError, match="path"):
        fs.connect({"backend": "sqlite", **options})


if __name__ == "__main__":
    write_many(*sys.argv[1:])
