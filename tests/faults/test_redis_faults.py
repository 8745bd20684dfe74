"""Feast on a real Redis before DuckDB, and what really happens to Redis: frozen, full, unreachable, dead with the standby."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import e2i_fs as fs
from benchmarks import kills, outage
from tests.servers import RedisServer, running_redis

DEADLINE = 0.25
MARGIN = 0.25  # what a loaded machine may take on top to wake a thread
VIEW = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Int64)])

pytestmark = [
    pytest.mark.rule("X-3", "X-8"),
    pytest.mark.skipif(
        importlib.util.find_spec("feast") is None, reason='needs Feast: pip install "e2i-fs[feast,redis]"'
    ),
]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def connect(folder: Path, address: str, **failover: Any) -> Any:
    online = {"type": "redis", "connection_string": address}
    backends = [
        {"name": "primary", "backend": "feast", "path": str(folder / "feast"), "online_store": online},
        {"name": "standby", "backend": "duckdb", "path": str(folder / "duckdb")},
    ]
    return fs.connect({"backends": backends, "failover": {"deadline": DEADLINE, "shadow_rate": 0, **failover}})


def rows(*values: int, text: str | None = None) -> pa.Table:
    when = datetime.now(UTC) - timedelta(seconds=1)
    times = pa.array([when] * len(values), pa.timestamp("us", "UTC"))
    columns = {"k": [f"k{v}" for v in values], "event_timestamp": times, "x": pa.array(values, pa.int64())}
    return pa.table(columns if text is None else columns | {"text": [text] * len(values)})


def read(store: Any, *values: int) -> tuple[list[Any], str, bool]:
    answer = store.get_online_features(["v:x"], [{"k": f"k{v}"} for v in values])
    return answer.to_dict()["x"], answer.provenance.served_by, answer.provenance.degraded


def served_by(store: Any, name: str, *values: int) -> None:
    """Read until ``name`` answers; every answer on the way is right and unmarked."""
    until = time.monotonic() + 30
    while True:
        found, by, degraded = read(store, *values)
        assert (found, degraded) == (list(values), False)
        if by == name:
            return
        assert time.monotonic() < until, f"{name} does not answer"


def test_a_frozen_redis_costs_a_caller_the_deadline_and_then_nothing(redis: RedisServer, tmp_path: Path) -> None:
    """10,000 lookups while it is frozen: each answered in time, and no more threads than the pool's."""
    with connect(tmp_path, redis.address, workers=8) as store:
        store.apply([VIEW])
        store.write("v", rows(1, 2))
        assert read(store, 1, 2) == ([1, 2], "primary", False)
        before = threading.active_count()
        redis.freeze()
        try:
            slow, most = 0, 0
            for _ in range(10_000):
                begun = time.monotonic()
                assert read(store, 1, 2) == ([1, 2], "standby", False)
                took = time.monotonic() - begun
                assert took < DEADLINE + MARGIN
                slow += took > DEADLINE / 2
                most = max(most, threading.active_count())
            assert most <= before + 8 + 1  # the pool's, and the one that recovers
            assert slow < 100, "the breaker does not keep calls from a backend that hangs"
        finally:
            redis.thaw()
        served_by(store, "primary", 1, 2)


def test_a_full_redis_takes_no_write_and_gets_it_when_there_is_room(redis: RedisServer, tmp_path: Path) -> None:
    view = fs.FeatureView("v", entities=[fs.Entity("k")], schema=[*VIEW.schema, fs.Field("text", fs.String)])
    with connect(tmp_path, redis.address) as store:
        store.apply([view])
        store.write("v", rows(1, text="a"))
        _redis(redis, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        _redis(redis, "CONFIG", "SET", "maxmemory", "1")
        receipt = store.write("v", rows(2, text="b" * 1000))
        assert receipt.applied == ("standby",) and "primary" in receipt.missed
        assert read(store, 1, 2) == ([1, 2], "standby", False)
        _redis(redis, "CONFIG", "SET", "maxmemory", "0")
        served_by(store, "primary", 1, 2)


def _redis(server: RedisServer, *words: str) -> None:
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
        assert connection.recv(100).startswith(b"+OK")


class Wire:
    """A TCP proxy whose wire can be cut without closing anything: what is sent is lost, as in a network that drops packets."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self._target = (host, int(port))
        self.cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"localhost:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                if not self.cut.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            one.close()


@pytest.mark.rule("X-4", "X-5")
def test_a_network_that_drops_everything_is_an_outage_like_another(redis: RedisServer, tmp_path: Path) -> None:
    wire = Wire(redis.address)
    with connect(tmp_path, wire.address, write_deadline=2.0) as store:
        store.apply([VIEW])
        store.write("v", rows(1))
        wire.cut.set()
        begun = time.monotonic()
        assert read(store, 1) == ([1], "standby", False)
        assert time.monotonic() - begun < DEADLINE + MARGIN
        assert store.write("v", rows(2)).applied == ("standby",)
        assert read(store, 1, 2) == ([1, 2], "standby", False)
        wire.cut.clear()
        served_by(store, "primary", 1, 2)
    wire.close()


@pytest.mark.rule("X-9")
def test_with_both_down_the_error_names_both_and_when_to_retry_within_the_deadline(
    redis: RedisServer, tmp_path: Path
) -> None:
    with connect(tmp_path, redis.address) as store:
        store.apply([VIEW])
        store.write("v", rows(1))
        redis.freeze()
        (tmp_path / "duckdb").rename(tmp_path / "away")
        try:
            for _ in range(7):  # also when the breakers are open
                begun = time.monotonic()
                with pytest.raises(fs.NoEligibleBackendError) as caught:
                    read(store, 1)
                assert time.monotonic() - begun < DEADLINE + MARGIN
                assert [a.backend for a in caught.value.attempts] == ["primary", "standby"]
            assert caught.value.retry_after > 0
            assert "Try again in" in str(caught.value)
        finally:
            redis.thaw()
            (tmp_path / "away").rename(tmp_path / "duckdb")


@pytest.mark.rule("X-3", "X-4", "X-7")
def test_under_load_no_outage_of_redis_costs_a_request_or_a_wrong_answer(redis: RedisServer, tmp_path: Path) -> None:
    """A short form of ``python -m benchmarks.outage``, which says the times."""
    numbers = outage.run(seconds=14, readers=2, redis=redis, folder=str(tmp_path))
    assert (numbers["failed"], numbers["wrong_unmarked"]) == (0, 0), numbers
    assert numbers["wrong_in_the_end"] == {"primary": 0, "standby": 0}
    assert numbers["caught_up"] == {"primary": True, "standby": True}
    assert numbers["requests"] > 500 and numbers["fail_backs"] > 0


@pytest.mark.rule("X-5")
def test_a_process_killed_anywhere_loses_no_acknowledged_write(tmp_path: Path) -> None:
    """A short form of ``python -m benchmarks.kills``."""
    numbers = kills.run(runs=8, seed=7, folder=tmp_path)
    assert (numbers["lost"], numbers["made_up"], numbers["differing"]) == ([], [], []), numbers
    assert numbers["acknowledged"] > 8 and all(numbers["caught_up"].values())
