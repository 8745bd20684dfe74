"""Connections of the feature server over sockets: clients that are slow, silent, gone, or want too much at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import e2i_fs as fs
from e2i_fs.errors import ConfigError
from e2i_fs.server import connections, files
from e2i_fs.server.files import connections_that_fit
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW, at, view
from tests.server_words import service
from tests.serving import served_here

ASKED = json.dumps({"features": ["hcp_stats:trx_count"], "entities": {"hcp_id": ["h"]}}).encode()
HEAD = b"POST /get-online-features HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(ASKED) + ASKED
LIVE = b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fs.FeatureStore]:
    lists = fs.FeatureView("lists", entities=[fs.Entity("e")], schema=[fs.Field("x", fs.Array(fs.Int64))])
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as opened:
        opened.apply([view(tmp_path_factory.mktemp("connections"), [("h", at(700), 7)]), lists])
        opened.write("lists", [{"e": "a", "event_timestamp": at(1), "x": list(range(10**6))}])
        opened.materialize(None)
        yield opened


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the parsers that uvicorn has."""
    name: str = request.param
    if name == "httptools":
        pytest.importorskip("httptools", reason="pip install httptools")
    else:
        monkeypatch.setattr(connections, "_fast", lambda: False)
    return name


@contextmanager
def opened(address: str) -> Iterator[socket.socket]:
    where = urlsplit(address)
    with socket.create_connection((str(where.hostname), where.port or 0), timeout=20) as connection:
        yield connection


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer, and no more than it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = connection.recv(1)
        assert more, head
        head += more
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(head.split(b" ", 2)[1]), body


def ends(connection: socket.socket) -> bool:
    """Read until the server has closed the connection."""
    try:
        while connection.recv(1 << 20):
            pass
    except ConnectionError:
        pass
    return True


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(store: fs.FeatureStore, parser: str) -> None:
    with served_here(service(store, max_head_seconds=0.2)) as address, opened(address) as slow:
        slow.settimeout(0.01)
        for sent in range(2_000):
            try:
                slow.sendall(LIVE[sent : sent + 1] if sent < 20 else b"a")
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            raise AssertionError("held for ever")
        assert sent >= 2


def test_a_connection_that_says_nothing_is_closed_and_one_that_waited_between_requests_too(
    store: fs.FeatureStore, parser: str
) -> None:
    with (
        served_here(service(store, max_idle_seconds=0.2)) as address,
        opened(address) as silent,
        opened(address) as asked,
    ):
        asked.sendall(REQUEST)
        assert answer(asked)[0] == 200
        assert ends(silent)
        assert ends(asked)


def test_when_there_are_as_many_connections_as_may_be_the_one_idle_longest_goes(
    store: fs.FeatureStore, parser: str
) -> None:
    with served_here(service(store), connections=2) as address, opened(address) as first, opened(address) as second:
        for connection in (second, first):  # the second is idle longer then
            connection.sendall(REQUEST)
            assert answer(connection)[0] == 200
        with opened(address) as third:
            third.sendall(REQUEST)
            assert answer(third)[0] == 200
            assert ends(second)
            first.sendall(REQUEST)
            assert answer(first)[0] == 200


def test_when_all_connections_are_at_work_another_is_told_to_come_later(store: fs.FeatureStore, parser: str) -> None:
    with served_here(service(store), connections=1) as address, opened(address) as working:
        working.sendall(HEAD + b"Content-Length: 100000\r\n\r\n{")
        while True:  # until the first is known to be at work, the second takes its place
            with opened(address) as other:
                other.sendall(LIVE)
                status, body = answer(other)
            if status == 503:
                break
        assert json.loads(body)["error"]["type"] == "BusyError"


ENDLESS = {
    "address": b"GET /" + b"a" * 400_000 + b" HTTP/1.1\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nX: " + b"a" * 400_000,
    "headers": b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000,
    "trailers": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n" + b"X: a\r\n" * 100_000,
}


def test_a_head_without_an_end_is_refused_where_the_limit_is(store: fs.FeatureStore, parser: str) -> None:
    with served_here(service(store)) as address:
        for what, sent in ENDLESS.items():
            with opened(address) as connection:
                try:
                    connection.sendall(sent)
                    told = connection.recv(1 << 16)
                except ConnectionError:
                    continue
                assert told[9:12] in (b"", b"400", b"431"), what
                assert ends(connection)


def test_pipelined_requests_are_answered_in_order_and_a_flood_of_them_is_cut_off(
    store: fs.FeatureStore, parser: str
) -> None:
    with served_here(service(store)) as address:
        with opened(address) as connection:
            connection.sendall((LIVE + REQUEST) * 10)
            bodies = [answer(connection) for _ in range(20)]
            assert {status for status, _ in bodies} == {200}
            assert [b"results" in body for _, body in bodies] == [False, True] * 10
        if parser == "httptools":  # h11 reads one at a time
            with opened(address) as connection:
                try:
                    for _ in range(50):
                        connection.sendall(LIVE * 5_000)
                except ConnectionError:
                    pass
                assert ends(connection)


def test_an_answer_that_is_not_taken_does_not_hold_its_connection_for_ever(store: fs.FeatureStore, parser: str) -> None:
    body = json.dumps({"features": ["lists:x"], "entities": {"e": ["a"]}}).encode()
    sent = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    limits = {"max_unread_seconds": 0.2, "max_idle_seconds": 1.5, "max_cells": 10**6}
    with served_here(service(store, **limits)) as address, opened(address) as never:
        never.sendall(sent)
        head = never.recv(1024)
        assert head.startswith(b"HTTP/1.1 200 ")  # the answer has begun
        with opened(address) as silent:
            assert ends(silent)  # by then more time has gone than an answer has
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        came = 0
        try:
            while more := never.recv(1 << 20):
                came += len(more)
        except ConnectionError:
            pass
        assert came < length - 1024  # it ends before its end


def test_a_client_that_leaves_in_the_middle_of_its_answer_or_its_body_is_no_matter(
    store: fs.FeatureStore, parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"features": ["lists:x"], "entities": {"e": ["a"]}}).encode()
    with served_here(service(store, max_cells=10**6)) as address:
        for sent in (
            HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,
            HEAD + b"Content-Length: 1000\r\n\r\n{",
            REQUEST[:-1],
        ):
            with opened(address) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # ends with a reset
                connection.sendall(sent)
                if sent.endswith(body):
                    assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        with opened(address) as connection:
            connection.sendall(REQUEST)
            assert answer(connection)[0] == 200
    assert not caplog.records


SMUGGLED = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding that is none": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 4\r\n\r\nabcd",
    "a length with a sign": b"Content-Length: +4\r\n\r\nabcd",
    "a length in hex": b"Content-Length: 0x4\r\n\r\nabcd",
    "a chunk of no size": b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
}


def test_what_two_servers_may_read_as_two_requests_is_not_read_as_any(store: fs.FeatureStore, parser: str) -> None:
    """Whatever follows is never answered: the connection ends."""
    with served_here(service(store)) as address:
        for what, sent in SMUGGLED.items():
            with opened(address) as connection:
                connection.sendall(HEAD + sent + LIVE)
                told = b""
                while more := connection.recv(1 << 16):
                    told += more
                assert told[9:10] == b"4", what
                assert b'"live":true' not in told, what


def test_the_store_keeps_files_of_its_own_and_too_few_are_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held: dict[str, Any] = {}
    monkeypatch.setattr(files.resource, "setrlimit", lambda _, limits: held.update(set=limits))
    for (soft, hard), wanted, fit in (
        ((256, 1024), 10_000, 768),
        ((1024, -1), 10_000, 10_000),
        ((-1, -1), 500, 500),
    ):
        monkeypatch.setattr(files.resource, "getrlimit", lambda _, limits=(soft, hard): limits)
        assert connections_that_fit(wanted) == fit
    assert held["set"] == (65_536, -1)
    assert "takes 768 connections at a time and not 10000" in caplog.text
    monkeypatch.setattr(files.resource, "getrlimit", lambda _: (256, 300))
    with pytest.raises(ConfigError, match="ulimit -n 10256"):
        connections_that_fit(10_000)


def test_paths_are_what_they_are_however_they_are_written(store: fs.FeatureStore, tmp_path: Path) -> None:
    """No file is served; dots, encoded or not, lead nowhere."""
    with served_here(service(store)) as address:
        for path in (b"/../etc/passwd", b"/v1/catalogue/..%2f..%2fetc%2fpasswd", b"//etc/passwd", b"/static/%2e%2e/x"):
            with opened(address) as connection:
                connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                status, body = answer(connection)
                assert (status, b"root:" in body) == (404, False)
