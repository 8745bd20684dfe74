"""What really happens to disks: full, read-only, and a folder that somebody moves away."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs

VIEW = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])

Mount = Callable[[str, str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small tmpfs of the given name and size."""
    made: list[Path] = []

    def mount(name: str, size: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        done = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
        if done.returncode:
            pytest.skip(f"needs the right to mount a small tmpfs (run as root): {done.stderr.decode().strip()}")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["mount", *words], capture_output=True, check=False)


def _remount(folder: Path, how: str) -> None:
    done = _mount("-o", f"remount,{how}", str(folder))
    assert done.returncode == 0, done.stderr


def _fill(folder: Path) -> Path:
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"\0" * 65_536)
            file.flush()
    return filler


def rows(*values: int) -> pa.Table:
    when = datetime.now(UTC) - timedelta(seconds=1)
    times = pa.array([when] * len(values), pa.timestamp("us", "UTC"))
    return pa.table({"k": [f"k{v}" for v in values], "event_timestamp": times, "x": pa.array(values, pa.int64())})


def read(store: Any, *values: int) -> tuple[list[Any], str, bool]:
    answer = store.get_online_features(["v:x"], [{"k": f"k{v}"} for v in values])
    return answer.to_dict()["x"], answer.provenance.served_by, answer.provenance.degraded


def connect(primary: dict[str, Any], standby: Path, state: Path) -> Any:
    backends = [{"name": "primary", **primary}, {"name": "standby", "backend": "duckdb", "path": str(standby)}]
    failover = {"shadow_rate": 0, "background": False}
    return fs.connect({"backends": backends, "state": str(state), "failover": failover})


@pytest.mark.rule("X-5", "X-8")
def test_a_full_disk_refuses_a_write_whole_and_keeps_what_was_there(mount: Mount, tmp_path: Path) -> None:
    small = mount("small", "24m")
    duckdb = {"backend": "duckdb", "path": str(small / "primary"), "online_size": 8_000_000}
    with connect(duckdb, tmp_path / "standby", tmp_path / "state") as store:
        store.apply([VIEW])
        store.write("v", rows(1))
        filler = _fill(small)
        receipt = store.write("v", rows(*range(2, 2_000)))
        assert "standby" in receipt.applied
        assert read(store, 1, 1_500)[0] == [1, 1_500]
        filler.unlink()
        assert store.catch_up("primary")["primary"].done
        assert read(store, 1, 1_500) == ([1, 1_500], "primary", False)


@pytest.mark.rule("X-5")
def test_records_that_cannot_be_written_refuse_a_write_before_any_backend_has_it(mount: Mount, tmp_path: Path) -> None:
    small = mount("state", "4m")
    with connect({"backend": "duckdb", "path": str(tmp_path / "primary")}, tmp_path / "standby", small / "s") as store:
        store.apply([VIEW])
        store.write("v", rows(1))
        filler = _fill(small)
        with pytest.raises(fs.BackendUnavailableError, match=r"records in .* cannot be written: .*full"):
            store.write("v", rows(*range(2, 60_000)))
        assert read(store, 1, 2)[0] == [1, None]
        filler.unlink()
        assert store.write("v", rows(2)).applied == ("primary", "standby")
        assert read(store, 1, 2) == ([1, 2], "primary", False)


@pytest.mark.rule("X-3", "X-5")
@pytest.mark.parametrize(
    "primary",
    [
        {"backend": "duckdb"},
        pytest.param(
            {"backend": "feast", "online_store": {"type": "sqlite"}},
            marks=pytest.mark.skipif(
                importlib.util.find_spec("feast") is None, reason='needs Feast: pip install "e2i-fs[feast]"'
            ),
        ),
    ],
    ids=["duckdb", "feast-sqlite"],
)
def test_a_primary_whose_files_are_read_only_takes_no_write_and_gets_it_later(
    primary: dict[str, Any], mount: Mount, tmp_path: Path
) -> None:
    """As after a restart with a volume that was mounted read-only."""
    small = mount("volume", "256m")
    given = {"online_size": 8_000_000} if primary["backend"] == "duckdb" else {}
    where = ({**primary, **given, "path": str(small / "primary")}, tmp_path / "standby", tmp_path / "state")
    with connect(*where) as store:
        store.apply([VIEW])
        store.write("v", rows(1))
        assert read(store, 1) == ([1], "primary", False)
    _remount(small, "ro")
    with connect(*where) as store:
        assert read(store, 1)[::2] == ([1], False)
        assert store.write("v", rows(2)).applied == ("standby",)
        assert read(store, 1, 2) == ([1, 2], "standby", False)
    _remount(small, "rw")
    with connect(*where) as store:
        assert store.catch_up("primary")["primary"].done
        assert read(store, 1, 2) == ([1, 2], "primary", False)


@pytest.mark.rule("X-5")
def test_records_on_a_read_only_disk_are_named_at_connect(mount: Mount, tmp_path: Path) -> None:
    small = mount("state", "4m")
    where = ({"backend": "duckdb", "path": str(tmp_path / "primary")}, tmp_path / "standby", small / "s")
    with connect(*where) as store:
        store.apply([VIEW])
        store.write("v", rows(1))
    _remount(small, "ro")
    with pytest.raises(fs.BackendUnavailableError, match=str(small / "s")) as caught:
        connect(*where)
    assert "writable" in str(caught.value)
    _remount(small, "rw")
    with connect(*where) as store:
        assert read(store, 1) == ([1], "primary", False)


@pytest.mark.rule("X-3", "X-5")
def test_records_that_were_moved_away_take_no_write_and_give_no_unmarked_answer(tmp_path: Path) -> None:
    """What is noted in a file that nobody else can find would be forgotten: another process could answer without it."""
    state = tmp_path / "state"
    where = ({"backend": "duckdb", "path": str(tmp_path / "primary")}, tmp_path / "standby", state)
    with connect(*where) as store:
        store.apply([VIEW])
        store.write("v", rows(1))
        state.rename(tmp_path / "away")
        with pytest.raises(fs.BackendUnavailableError, match="moved or removed"):
            store.write("v", rows(2))
        for _ in range(7):  # it is held against no backend
            with pytest.raises(fs.BackendUnavailableError, match="moved or removed"):
                read(store, 1)
        (tmp_path / "away").rename(state)
        assert store.write("v", rows(2)).applied == ("primary", "standby")
        assert read(store, 1, 2) == ([1, 2], "primary", False)
