"""The embedded backend with several processes, real kills and real forks on one folder."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from tests.integration import two_processes as pair

SECONDS = 30


def run(role: str, folder: Path, until: float) -> subprocess.Popen[str]:
    command = [sys.executable, pair.__file__, role, str(folder), str(until)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.rule("O-7")
def test_one_process_materialises_while_another_reads_and_no_row_is_torn(tmp_path: Path) -> None:
    with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store:
        store.apply([pair.view()])
    until = time.time() + SECONDS
    writer, reader = run("materialize", tmp_path, until), run("read", tmp_path, until)
    written, problems = writer.communicate(timeout=SECONDS + 60)
    read, more = reader.communicate(timeout=60)
    assert (writer.returncode, reader.returncode) == (0, 0), problems + more
    batches, _, last = map(int, written.split())
    reads, torn, seen = map(int, read.split())
    assert torn == 0
    assert batches >= 10
    assert reads >= 100
    assert 0 < seen <= last  # the reader saw the writer's work while both ran


def hammer(folder: str, start: int) -> None:
    with fs.connect({"backend": "duckdb", "path": folder}) as store:
        for number in range(start, start + 1_000_000):
            store.write("v", pair.batch(number), idempotency_key=str(number))


@pytest.mark.rule("O-7")
def test_a_process_killed_while_it_writes_leaves_each_row_old_or_new(tmp_path: Path) -> None:
    with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store:
        store.apply([pair.view()])
    chance = random.Random(7)
    spawn = multiprocessing.get_context("spawn")
    start = newest = 0
    for _ in range(4):
        process = spawn.Process(target=hammer, args=(str(tmp_path), start))
        process.start()
        with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store:
            ask = [{"hcp_id": k} for k in pair.KEYS]
            deadline = time.time() + 60
            moved = chance.randrange(3, 12)
            while time.time() < deadline:  # until it has written a few batches, whatever the machine's speed
                rows = store.get_online_features(["v:*"], ask).to_dict()["f0"]
                if rows[0] is not None and rows[0] >= start + moved:
                    break
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store:
            answer = store.get_online_features(["v:*"], ask).to_dict()
            rows = set(zip(*(answer[f"f{i}"] for i in range(pair.WIDTH)), strict=True))
            assert len(rows) == 1, "rows of two batches"
            (row,) = rows
            assert len(set(row)) == 1, "a row of two batches"
            assert row[0] >= newest, "an acknowledged batch was lost"
            newest = row[0]
            # History holds whole batches only, and every batch that is online: it is appended first.
            asked = pa.table({"hcp_id": pair.KEYS, "event_timestamp": [fs_now()] * len(pair.KEYS)})
            past = store.get_historical_features(asked, ["v:*"]).to_arrow().to_pydict()
            offline = set(zip(*(past[f"f{i}"] for i in range(pair.WIDTH)), strict=True))
            assert len(offline) == 1
            assert next(iter(offline))[0] in (newest, newest + 1)
            start = newest + 2


def fs_now() -> object:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def in_a_child(store: fs.FeatureStore, queue: multiprocessing.Queue[object]) -> None:
    store.write("v", pair.batch(5))
    queue.put(store.get_online_features(["v:f0"], [{"hcp_id": "hcp_1"}]).to_dict()["f0"])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_uses_the_store_without_harming_its_parent(tmp_path: Path) -> None:
    with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store:
        store.apply([pair.view()])
        store.write("v", pair.batch(1))
        fork = multiprocessing.get_context("fork")
        queue = fork.Queue()
        child = fork.Process(target=in_a_child, args=(store, queue))
        child.start()
        assert queue.get(timeout=60) == [5]
        child.join()
        store.write("v", pair.batch(7))
        assert store.get_online_features(["v:f0"], [{"hcp_id": "hcp_1"}]).to_dict()["f0"] == [7]


@pytest.mark.rule("R-5")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_amid_an_apply_keeps_nobody_from_the_next_one(tmp_path: Path) -> None:
    from e2i_fs_duckdb.mark import ChangeMark

    mark = ChangeMark(tmp_path / "definitions.changed")
    end, ended = os.pipe()
    with mark.changing():
        child = os.fork()
        if child == 0:
            os.close(ended)
            os.read(end, 1)  # and lives on
            os._exit(0)
    again = threading.Thread(target=lambda: mark.changing().__enter__(), daemon=True)
    again.start()
    again.join(20)
    waits = again.is_alive()
    os.close(ended)
    os.waitpid(child, 0)
    assert not waits


_FORKED_IN_C = """
import ctypes, os, sys
import e2i_fs as fs
from tests.integration import two_processes as pair

def read(store):
    return store.get_online_features(["v:f0"], [{"hcp_id": "hcp_1"}]).to_dict()["f0"]

with fs.connect({"backend": "duckdb", "path": sys.argv[1]}) as store:
    store.apply([pair.view()])
    store.write("v", pair.batch(1))
    assert read(store) == [1]
    child = ctypes.PyDLL(None).fork()  # as a server written in C does it: Python is not told
    if child == 0:
        try:
            assert read(store) == [1]
            environment = store._router._backend._online._env
            with environment.transaction() as transaction:
                assert str(os.getpid()) in environment._opened.env.readers(), "it reads under its parent's number"
            store.write("v", pair.batch(5))
            os._exit(0 if read(store) == [5] else 3)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(4)
    _, ended = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(ended), read(store))
"""


def test_a_child_that_a_server_in_c_has_forked_uses_the_store_too(tmp_path: Path) -> None:
    """LMDB keeps who reads by the number of the process: a child under its parent's could be given pages that were written anew."""
    command = [sys.executable, "-c", _FORKED_IN_C, str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=root)
    assert done.stdout == "0 [5]\n", done.stderr


def test_two_stores_of_one_process_share_a_folder(tmp_path: Path) -> None:
    config = {"backend": "duckdb", "path": str(tmp_path)}
    with fs.connect(config) as one, fs.connect(config) as two:
        one.apply([pair.view()])
        two.write("v", pair.batch(3))
        assert one.get_online_features(["v:f0"], [{"hcp_id": "hcp_1"}]).to_dict()["f0"] == [3]
        two.close()
        assert one.get_online_features(["v:f0"], [{"hcp_id": "hcp_1"}]).to_dict()["f0"] == [3]


def apply_one(folder: str, number: int) -> None:
    with fs.connect({"backend": "duckdb", "path": folder}) as store:
        store.apply([fs.FeatureView(f"v{number}", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Int64)])])


@pytest.mark.rule("R-1")
def test_eight_processes_that_apply_at_once_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=apply_one, args=(str(tmp_path), n)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    with fs.connect({"backend": "duckdb", "path": str(tmp_path)}) as store:
        assert [v.name for v in store.list_feature_views()] == [f"v{n}" for n in range(8)]


def test_a_store_closed_while_another_thread_reads_lets_it_end_and_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB ends the process when its environment is closed under a transaction."""
    from e2i_fs_duckdb import environments, online

    from e2i_fs.backend import OnlineRow

    monkeypatch.setattr(online, "_PIECE", 1)
    view = pair.view()
    rows = online.OnlineRows(tmp_path, 2**24)
    rows.write(1, view, [(i,) for i in range(3)], [OnlineRow(0, None, {})] * 3, at_us=10)
    under_way = rows.copied(1)
    next(under_way)
    rows.close()
    assert [keys for keys, _, _ in under_way] == [[(1,)], [(2,)]]
    with pytest.raises(fs.BackendUnavailableError, match="closed"):
        rows.read(1, [(0,)], at_us=10)
    assert not [path for _, path in environments._shared.open if path.startswith(str(tmp_path))]
    online.OnlineRows(tmp_path, 2**24).close()


@pytest.mark.rule("O-7")
def test_a_child_forked_while_other_threads_read_and_write_goes_on_using_the_store(tmp_path: Path) -> None:
    """The threads are not in the child, nor is anybody there who would let go of their locks and end their transactions."""
    store = fs.connect({"backend": "duckdb", "path": str(tmp_path)})
    store.apply([pair.view()])
    store.write("v", pair.batch(0), to="online")
    done, problems = threading.Event(), []

    def repeat(work: Callable[[int], Any]) -> None:
        try:
            for number in itertools.count(1):
                if done.is_set():
                    return
                work(number)
        except BaseException as error:
            problems.append(error)

    def read(_: int) -> Any:
        return store.get_online_features(["v:*"], [{"hcp_id": key} for key in pair.KEYS])

    def write(number: int) -> Any:
        return store.write("v", pair.batch(number), to="online")

    def goes_on() -> None:
        read(0)
        store.write("v", pair.batch(10**6), to="online")
        os._exit(0)

    read(0)  # what the first read imports and makes is there
    threads = [threading.Thread(target=repeat, args=(work,)) for work in (read, read, write)]
    for thread in threads:
        thread.start()
    children = []
    try:
        for _ in range(12):
            child = multiprocessing.get_context("fork").Process(target=goes_on)
            child.start()
            child.join(SECONDS)
            children.append(child.exitcode)
            if child.is_alive():
                child.kill()
                break
    finally:
        done.set()
        for thread in threads:
            thread.join()
        store.close()
    assert problems == []
    assert children == [0] * 12
