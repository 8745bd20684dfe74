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
from pathlib import Path
from typing import Any

import pytest

__all__ = ["PostgresServer", "RedisServer", "redis_server", "running_postgres", "running_redis"]


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


class PostgresServer:
    """A real PostgreSQL with a data folder of its own; ``address`` is a URI of its database ``postgres``, user ``e2i``.

    Nothing is synced to disk and anybody on this machine may enter, so it is for tests alone.
    """

    database = "postgres"
    user = "e2i"

    def __init__(self, programs: Path, folder: str) -> None:
        self._programs = programs
        self._folder = folder
        # PostgreSQL refuses to run as root.
        self._as: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY} if os.geteuid() == 0 else {}
        if self._as:
            os.chown(folder, _NOBODY, _NOBODY)
        self.port = _free_port()
        self.address = f"postgresql://{self.user}@127.0.0.1:{self.port}/{self.database}"
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", self._data, "-U", self.user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    @property
    def settings(self) -> dict[str, Any]:
        """What Feast is told as its offline store."""
        return {
            "type": "postgres", "host": "127.0.0.1", "port": self.port, "database": self.database, "user": self.user,
            "password": "", "sslmode": "disable",
        }  # fmt: skip

    @property
    def _data(self) -> str:
        return os.path.join(self._folder, "data")

    def start(self, **settings: str) -> None:
        """Start it on the same port with what it had kept, and wait until it takes connections."""
        given = {
            "port": str(self.port),
            "unix_socket_directories": self._folder,
            "listen_addresses": "127.0.0.1",
            "fsync": "off",
            "full_page_writes": "off",
            "autovacuum": "off",
            "shared_buffers": "16MB",
            **settings,
        }
        command = [str(self._programs / "postgres"), "-D", self._data]
        for key, value in given.items():
            command += ["-c", f"{key}={value}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, cwd=self._folder, **quiet, **self._as)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            assert self._process.poll() is None, f"postgres ended with {self._process.returncode}"
        raise AssertionError("postgres did not answer within 30 s")

    def execute(self, *statements: str, at: str = "") -> None:
        """Run statements, each in a transaction of its own, as the owner; in the database with the address ``at``."""
        words = [word for statement in statements for word in ("-c", statement)]
        self._run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", at or self.address, *words)

    def make(self, database: str) -> str:
        """Make an empty database and return its address."""
        self.execute(f'CREATE DATABASE "{database}"')
        return self.address.removesuffix(self.database) + database

    def kill(self) -> None:
        """Take it away without warning, its processes for each connection too."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it, so that connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        children = subprocess.run(["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=False)
        for pid in [self._process.pid, *map(int, children.stdout.split())]:
            os.kill(pid, number)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *words],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


_NOBODY = 65534


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


@contextmanager
def running_postgres(**settings: str) -> Iterator[PostgresServer]:
    """Give a running PostgreSQL, or skip the test where its programs are missing."""
    found = shutil.which("postgres") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None)
    if found is None:
        pytest.skip("needs PostgreSQL's server programs: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="e2i_fs_pg_", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(found).resolve().parent, folder)
        server.start(**settings)
        try:
            yield server
        finally:
            server.kill()
