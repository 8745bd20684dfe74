"""Real servers for tests, each in a folder of its own and on a free port: started, killed, frozen."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["RedisServer", "redis_server", "running_redis"]


class RedisServer:
    """A real `redis-server` process. ``address`` is a Feast connection string."""

    def __init__(self, binary: str, folder: str) -> None:
        self._binary = binary
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"localhost:{self._port}"

    def start(self, *arguments: str) -> None:
        """Start it, on the same port and with what it had saved, and wait until it answers."""
        command = [self._binary, "--port", str(self._port), "--bind", "127.0.0.1", "--dir", self._folder, *arguments]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self._port), 0.2) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            assert self._process.poll() is None, f"redis-server ended with {self._process.returncode}"
        raise AssertionError("redis-server did not answer within 20 s")

    def kill(self) -> None:
        """Take it away without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def empty(self) -> None:
        """Remove what it had saved, so that it starts empty the next time."""
        assert self._process is None
        shutil.rmtree(os.path.join(self._folder, "appendonlydir"), ignore_errors=True)

    def keep(self) -> None:
        """Put aside what it has saved until now: a backup."""
        shutil.copytree(os.path.join(self._folder, "appendonlydir"), os.path.join(self._folder, "kept"))

    def go_back(self) -> None:
        """Let it start the next time with what was put aside, as from an older snapshot."""
        self.empty()
        shutil.move(os.path.join(self._folder, "kept"), os.path.join(self._folder, "appendonlydir"))

    def freeze(self) -> None:
        """Stop it so that its connections stay open and nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Give a running Redis, or skip the test where there is no `redis-server`."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="e2i_fs_redis_") as folder:
        server = RedisServer(binary, folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def redis_server() -> Iterator[str]:
    """Give the address of a running Redis."""
    with running_redis() as server:
        yield server.address
