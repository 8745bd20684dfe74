"""The primary, and how it is really taken away: its server process is killed, or its folder is moved."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from e2i_fs.errors import BackendUnavailableError

__all__ = ["MovedFolder", "Primary", "RedisServer", "choose_primary", "missing_feast"]


class Primary(Protocol):
    """A backend of the demo, with the fault that can be done to it."""

    kind: str
    about: str
    fault: str
    cure: str

    def start(self) -> dict[str, Any]:
        """Get it going; return its entry in the configuration, without a name."""
        ...

    def take_away(self) -> None:
        """Do the fault."""
        ...

    def bring_back(self) -> None:
        """Undo the fault."""
        ...

    def stop(self) -> None:
        """End what `start` began."""
        ...


class MovedFolder:
    """Feast with a sqlite online store; the fault is that its folder is gone, as when a volume is unmounted."""

    kind = "feast"
    about = "Feast, online store sqlite"
    fault = "its folder is moved away"
    cure = "its folder is moved back"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._away = folder.with_name(folder.name + ".away")

    def start(self) -> dict[str, Any]:
        """Name the folder; Feast makes the rest."""
        return {"backend": "feast", "path": str(self._folder), "online_store": {"type": "sqlite"}}

    def take_away(self) -> None:
        """Move the folder."""
        self._folder.rename(self._away)

    def bring_back(self) -> None:
        """Move it back; whatever was made in its place goes."""
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._away.rename(self._folder)

    def stop(self) -> None:
        """Put the folder back if it is still away."""
        if self._away.exists():
            self.bring_back()


class RedisServer:
    """Feast with a Redis online store in a process of its own; the fault is SIGKILL, the cure a new process."""

    kind = "feast"
    about = "Feast, online store Redis"
    fault = "its Redis server is killed (SIGKILL)"
    cure = "its Redis server is started again"

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder = folder
        self._data = data
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, Any]:
        """Start a server on a free port that writes every change to disk, and wait until it listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._data.mkdir(parents=True, exist_ok=True)
        self.bring_back()
        online = {"type": "redis", "connection_string": f"127.0.0.1:{self._port}"}
        return {"backend": "feast", "path": str(self._folder), "online_store": online}

    def take_away(self) -> None:
        """Kill the server."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def bring_back(self) -> None:
        """Start a server on the same port with the same data."""
        server = shutil.which("redis-server")
        assert server is not None
        command = [server, "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._data.resolve())]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]
        with (self._data / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own words
        until = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise BackendUnavailableError(f"redis-server did not start; see {self._data / 'server.log'}.")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        """End the server."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def missing_feast() -> str | None:
    """Return why there is no Feast here, or None when there is."""
    return None if find_spec("feast") is not None else 'Feast is not installed (pip install "e2i-fs[feast]")'


def choose_primary(out: Path, online: str | None) -> Primary:
    """Return the primary with this online store: ``redis`` or ``sqlite``; None is Redis where there is one."""
    if online is None:
        online = "redis" if shutil.which("redis-server") and find_spec("redis") else "sqlite"
    if online == "redis":
        return RedisServer(out / "primary", out / "redis")
    return MovedFolder(out / "primary")
