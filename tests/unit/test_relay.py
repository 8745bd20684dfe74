"""The relay before a server that must not be touched: cut for real, mended on the same port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from e2i_fs.testing.relay import Relay


class Echo:
    """A server that sends back what it gets."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._send_back, args=(client,), daemon=True).start()

    def _send_back(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while data := client.recv(65_536):
                client.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Echo(listener)


@pytest.fixture
def relay(echo: Echo) -> Iterator[Relay]:
    with Relay(*echo.listener.getsockname()) as relay:
        yield relay


def said(client: socket.socket, words: bytes) -> bytes:
    client.sendall(words)
    found = b""
    while len(found) < len(words):
        got = client.recv(65_536)
        if not got:
            return found
        found += got
    return found


def reach(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), 5)


def test_what_is_sent_comes_whole_in_order_and_from_several_at_once(relay: Relay) -> None:
    words = bytes(range(256)) * 4096
    with reach(relay) as one, reach(relay) as other:
        sending = threading.Thread(target=lambda: one.sendall(words))
        sending.start()
        found = b""
        while len(found) < len(words):
            found += one.recv(65_536)
        sending.join()
        assert found == words
        assert said(other, b"still here") == b"still here"


def test_a_cut_ends_every_connection_and_refuses_new_ones_until_it_is_mended_on_the_same_port(relay: Relay) -> None:
    port = relay.port
    with reach(relay) as one, reach(relay) as other:
        assert said(one, b"a") == said(other, b"a") == b"a"
        relay.cut()
        for client in (one, other):
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        reach(relay)
    relay.mend()
    relay.mend()
    assert relay.port == port
    with reach(relay) as again:
        assert said(again, b"back") == b"back"


def test_a_client_that_leaves_is_seen_by_the_server_and_a_server_that_is_away_by_the_client(echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Relay(*listener.getsockname()) as relay:
        with reach(relay):
            there, _ = listener.accept()
        with there:
            assert there.recv(1) == b""
        listener.close()
        with reach(relay) as client, suppress(ConnectionResetError):
            assert client.recv(1) == b"", "nobody is behind it"


def test_it_leads_to_a_unix_socket_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have some hundred characters only
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()
        Echo(listener)
        if len(str(tmp_path / "s").encode()) > 100:
            pytest.skip("the path of the temporary folder is too long for a unix socket: set TMPDIR to a shorter one")
        with Relay(str(tmp_path / "s")) as relay, reach(relay) as client:
            assert said(client, b"hello") == b"hello"


def test_closed_twice_is_closed_and_leaves_no_thread(echo: Echo) -> None:
    relay = Relay(*echo.listener.getsockname())
    relay.close()
    relay.close()
    assert not [t for t in threading.enumerate() if t.name == "e2i_fs relay"]
