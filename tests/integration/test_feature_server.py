"""`e2i-fs serve` as a real process: many connections, bodies that are too large, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest

pytest.importorskip("uvicorn")

import requests

import e2i_fs as fs
from tests.serving import ended, peak, served

T0 = datetime(2026, 3, 1, tzinfo=UTC).isoformat()
ASKED = {"features": ["stats:trips"], "entities": {"driver_id": [1, 2]}}


def waiting(columns):
    """Says that it has begun, and waits until somebody writes into the pipe that the row names."""
    with open(columns["pipe"][0] + ".begun", "w", encoding="utf-8"):
        pass
    with open(columns["pipe"][0], encoding="utf-8") as pipe:
        pipe.read()
    return {"done": [True]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "e2i_fs.yaml").write_text("backends: [{name: local, backend: duckdb, path: store}]\n", encoding="utf-8")
    pipe = fs.RequestSource("pipe", schema=[fs.Field("pipe", fs.String)])
    driver = fs.Entity("driver", join_keys={"driver_id": fs.Int64})
    with fs.connect(folder / "e2i_fs.yaml") as store:
        store.apply([
            fs.FeatureView("stats", entities=[driver], schema=[fs.Field("trips", fs.Int64)]),
            fs.on_demand_feature_view("hang", sources=[pipe], schema=[fs.Field("done", fs.Bool)])(waiting),
        ])  # fmt: skip
        store.write("stats", [{"driver_id": 1, "event_timestamp": datetime(2026, 3, 1, tzinfo=UTC), "trips": 7}])
    return folder


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    with served(project, "--max-body", "1000000") as (address, _):
        yield address


def test_a_body_of_100_mb_is_refused_before_it_has_come(address: str) -> None:
    """By what its head says at once; without that, where the limit is."""
    where = urlsplit(address)
    head = f"POST /push HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
    for more, chunks in (("Content-Length: 100000000\r\n\r\n", 0), ("Transfer-Encoding: chunked\r\n\r\n", 20)):
        with socket.create_connection((str(where.hostname), where.port or 0), timeout=30) as connection:
            connection.sendall((head + more).encode())
            for _ in range(chunks):
                try:
                    connection.sendall(b"%x\r\n" % 100_000 + b"x" * 100_000 + b"\r\n")
                except OSError:  # refused and closed meanwhile
                    break
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")
    assert requests.post(f"{address}/get-online-features", json=ASKED, timeout=30).status_code == 200


def test_what_is_no_http_is_no_matter(address: str) -> None:
    where = urlsplit(address)
    for sent in (
        b"\x16\x03\x01" + b"\xff" * 500,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((str(where.hostname), where.port or 0), timeout=30) as connection:
            try:
                connection.sendall(sent)
                assert not connection.recv(1 << 16).startswith(b"HTTP/1.1 5")
            except OSError:  # closed meanwhile
                pass
    assert requests.get(f"{address}/healthz", timeout=30).json() == {"live": True, "ready": True}


def test_a_thousand_connections_are_held_and_each_is_answered_with_what_it_asked_for(
    project: Path,
) -> None:
    """All at once, in bounded memory; and those that hold them longest give way to a newer one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1_200:
        pytest.skip("raise the limit of open files: ulimit -Hn 1200")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_200), hard))

    async def one(where: SplitResult, number: int, all_there: asyncio.Barrier) -> bytes:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        body = json.dumps({"features": ["stats:trips"], "entities": {"driver_id": [1, 1_000 + number]}}).encode()
        await all_there.wait()
        head = f"POST /get-online-features HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        told = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert told.startswith(b"http/1.1 200 ")
        answer = json.loads(await reader.readexactly(int(told.split(b"content-length:")[1].split(b"\r\n")[0])))
        await all_there.wait()  # nobody leaves before everybody is answered
        writer.close()
        keys, trips = (result["values"] for result in answer["results"])
        assert (keys, trips) == ([1, 1_000 + number], [7, None])
        return told

    async def everybody(where: SplitResult) -> int:
        all_there = asyncio.Barrier(1_000)
        return len(await asyncio.gather(*(one(where, n, all_there) for n in range(1_000))))

    with served(project, "--max-connections", "1000") as (address, process):
        before = peak(process.pid)
        assert asyncio.run(everybody(urlsplit(address))) == 1_000
        assert peak(process.pid) - before < 150_000_000
        assert requests.post(f"{address}/get-online-features", json=ASKED, timeout=30).status_code == 200


def test_told_to_stop_it_ends_what_it_began_takes_no_more_and_ends_well(project: Path, tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    os.mkfifo(f"{pipe}.begun")
    answers: list[requests.Response] = []
    asked = {"features": ["hang:done"], "entity_rows": [{"pipe": pipe}]}
    with served(project) as (address, process):
        told = requests.post(
            f"{address}/v1/views/stats/rows",
            json={"rows": [{"driver_id": 2, "event_timestamp": T0, "trips": 9}]},
            timeout=30,
        )
        assert told.json()["applied"] == ["local"]
        caller = threading.Thread(
            target=lambda: answers.append(requests.post(f"{address}/v1/online", json=asked, timeout=60))
        )
        caller.start()
        with open(f"{pipe}.begun", encoding="utf-8") as begun:
            begun.read()  # the request is under way
        process.send_signal(signal.SIGTERM)
        where = urlsplit(address)
        while True:  # until it takes no more
            try:
                socket.create_connection((str(where.hostname), where.port or 0), timeout=30).close()
            except OSError:
                break
        assert process.poll() is None
        with open(pipe, "w", encoding="utf-8") as leave:
            leave.write("go on")
        caller.join(60)
        ended(process)
    assert answers[0].json()["rows"] == [{"pipe": pipe, "done": True}]
    with fs.connect(project / "e2i_fs.yaml") as store:
        assert store.get_online_features(["stats:trips"], [{"driver_id": 2}]).to_dict()["trips"] == [9]


@pytest.mark.rule("X-5", "O-7")
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGKILL])
def test_a_write_that_was_acknowledged_is_there_however_the_server_ends(project: Path, told: signal.Signals) -> None:
    """Eight clients write without pause while the server is told to stop, or killed."""
    acknowledged: list[int] = []
    enough = threading.Event()
    numbers = iter(range(10_000 * told, 10_000 * (told + 1)))  # nobody else writes these

    def client(address: str) -> None:
        with requests.Session() as session:
            for number in numbers:
                columns = {"driver_id": [number], "event_timestamp": [T0], "trips": [number + 1]}
                body = {"feature_view_name": "stats", "df": columns}
                try:
                    answer = session.post(f"{address}/write-to-online-store", json=body, timeout=30)
                except requests.ConnectionError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(number)
                if len(acknowledged) >= 50:
                    enough.set()

    with served(project) as (address, process):
        clients = [threading.Thread(target=client, args=(address,)) for _ in range(8)]
        for each in clients:
            each.start()
        assert enough.wait(60)
        process.send_signal(told)
        for each in clients:
            each.join(60)
        assert process.wait(60) == (0 if told == signal.SIGTERM else -signal.SIGKILL)
    with fs.connect(project / "e2i_fs.yaml") as store:
        rows = [{"driver_id": number} for number in acknowledged]
        found = store.get_online_features(["stats:trips"], rows).to_dict()["trips"]
    assert found == [number + 1 for number in acknowledged]


def test_keys_of_the_environment_and_of_files_are_asked_for(project: Path, tmp_path: Path) -> None:
    file = tmp_path / "read"
    file.write_text("a-key-out-of-a-file\n", encoding="utf-8")
    env = {**os.environ, "E2I_FS_WRITE_KEYS": "a-key-of-the-environment"}
    with served(project, "--read-keys", str(file), env=env) as (address, _):
        rows = {"rows": [{"driver_id": 3, "event_timestamp": T0, "trips": 1}]}
        for key, read, write in (
            (None, 401, 401),
            ("a-key-out-of-a-file", 200, 403),
            ("a-key-of-the-environment", 200, 200),
        ):
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            got = [
                requests.post(f"{address}/{path}", json=body, headers=headers, timeout=30).status_code
                for path, body in (("get-online-features", ASKED), ("v1/views/stats/rows", rows))
            ]
            assert got == [read, write], key
