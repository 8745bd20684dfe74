"""Real servers, each in a folder of its own and on a free port: started, killed, frozen. For tests and for the demo.

What a backend does when its server is away is seen on a server that is away, not on a mock of one. Neither class
needs more than the server's own programs; `find_redis` and `find_postgres` say where they are, or None.

Nothing is protected: anybody on this machine may enter, and PostgreSQL syncs nothing to disk.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2i_fs.errors import BackendUnavailableError, UnsupportedError

__all__ = ["PostgresServer", "RedisServer", "find_postgres", "find_redis"]

_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
)
"""Where packages put PostgreSQL's programs without putting them on the PATH."""
_NOBODY = 65534


def find_redis() -> str | None:
    """Return the path of ``redis-server``, or None when there is none on the PATH."""
    return shutil.which("redis-server")


def find_postgres() -> Path | None:
    """Return the folder with PostgreSQL's server programs, of the newest version that is installed, or None."""
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = [folder for place in _PLACES for folder in Path("/").glob(place[1:]) if (folder / "postgres").is_file()]
    return max(found, key=_version) if found else None


def _version(folder: Path) -> tuple[int, ...]:
    """Return the numbers in a path, so that 16 is newer than 9.6."""
    words = "".join(c if c.isdigit() else " " for c in str(folder)).split()
    return tuple(map(int, words))


class RedisServer:
    """A real ``redis-server`` process that writes every change to disk. ``address`` is a Feast connection string.

    ``folder`` must exist; the log is in it.
    """

    def __init__(self, binary: str, folder: str | os.PathLike[str]) -> None:
        self._binary = binary
        self._folder = Path(folder).absolute()
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"localhost:{self.port}"

    def start(self, *arguments: str) -> None:
        """Start it, on the same port and with what it had saved, and wait until it answers."""
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", *arguments]
        self._process = _started(command, self._folder)
        _wait(self._process, self._answers, "redis-server", self._folder)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self) -> None:
        """Take it away without warning (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def empty(self) -> None:
        """Remove what it had saved, so that it starts empty the next time."""
        assert self._process is None
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def keep(self) -> None:
        """Put aside what it has saved until now: a backup."""
        shutil.copytree(self._folder / "appendonlydir", self._folder / "kept")

    def go_back(self) -> None:
        """Let it start the next time with what was put aside, as from an older snapshot."""
        self.empty()
        shutil.move(self._folder / "kept", self._folder / "appendonlydir")

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

    ``programs`` is the folder with its programs (`find_postgres`); ``folder`` must exist and, as PostgreSQL refuses to run
    as root, be reachable for everybody when root starts it.
    """

    database = "postgres"
    user = "e2i"

    def __init__(self, programs: Path, folder: str | os.PathLike[str]) -> None:
        self._programs = programs
        self._folder = Path(folder).absolute()
        self._as: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY} if os.geteuid() == 0 else {}
        if self._as:
            os.chown(self._folder, _NOBODY, _NOBODY)
        self.port = _free_port()
        self.address = f"postgresql://{self.user}@127.0.0.1:{self.port}/{self.database}"
        self._process: subprocess.Popen[bytes] | None = None
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", self.user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    @property
    def settings(self) -> dict[str, Any]:
        """What Feast is told as its offline store."""
        return {
            "type": "postgres", "host": "127.0.0.1", "port": self.port, "database": self.database, "user": self.user,
            "password": "", "sslmode": "disable",
        }  # fmt: skip

    def start(self, **settings: str) -> None:
        """Start it on the same port with what it had kept, and wait until it takes connections."""
        given = {
            "port": str(self.port),
            "unix_socket_directories": "",
            "listen_addresses": "127.0.0.1",
            "fsync": "off",
            "full_page_writes": "off",
            "autovacuum": "off",
            "shared_buffers": "16MB",
            **settings,
        }
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        for key, value in given.items():
            command += ["-c", f"{key}={value}"]
        self._process = _started(command, self._folder, **self._as)
        _wait(self._process, self._answers, "postgres", self._folder)

    def _answers(self) -> bool:
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user]
        return subprocess.run(ready, check=False).returncode == 0  # noqa: S603 - our own words

    def execute(self, *statements: str, at: str = "") -> None:
        """Run statements, each in a transaction of its own, as the owner; in the database with the address ``at``."""
        words = [word for statement in statements for word in ("-c", statement)]
        self._run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", at or self.address, *words)

    def make(self, database: str) -> str:
        """Make an empty database and return its address."""
        self.execute(f'CREATE DATABASE "{database}"')
        return self.address.removesuffix(self.database) + database

    def kill(self) -> None:
        """Take it away without warning (SIGKILL), its processes for each connection too."""
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
        pgrep = shutil.which("pgrep")
        if pgrep is None:
            raise UnsupportedError("PostgreSQL's processes are found by pgrep: apt-get install procps")
        children = subprocess.run(  # noqa: S603 - our own words
            [pgrep, "-P", str(self._process.pid)], capture_output=True, text=True, check=False
        )
        for pid in [self._process.pid, *map(int, children.stdout.split())]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # it ended by itself since it was listed
                continue

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), *words]
        done = subprocess.run(  # noqa: S603 - our own words
            command, cwd=self._folder, capture_output=True, text=True, check=False, **self._as
        )
        if done.returncode != 0:
            raise BackendUnavailableError(f"{program} ended with {done.returncode}: {done.stderr.strip()}")


def _started(command: list[str], folder: Path, **more: Any) -> subprocess.Popen[bytes]:
    with (folder / "server.log").open("ab") as log:
        # In a session of its own, so that Ctrl-C ends whoever started it, and not the server under its feet.
        return subprocess.Popen(  # noqa: S603 - our own words
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True, **more
        )


def _wait(process: subprocess.Popen[bytes], answers: Callable[[], bool], name: str, folder: Path) -> None:
    deadline = time.monotonic() + 30
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            how = "did not answer within 30 s" if process.poll() is None else f"ended with {process.returncode}"
            log = (folder / "server.log").read_text(errors="replace").strip()
            process.kill()
            process.wait()
            raise BackendUnavailableError(f"{name} {how}. Its log ends: {log[-600:]}")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
