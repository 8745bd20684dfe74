"""The primary, and how it is really taken away: its server process is killed, or its folder is moved."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from e2i_fs.errors import UnsupportedError
from e2i_fs.testing.servers import RedisServer, find_redis

__all__ = ["MovedFolder", "OnRedis", "Primary", "choose_primary", "missing_feast"]


class Primary(Protocol):
    """A backend of the demo, with the fault that can be done to it."""

    kind: str
    about: str
    fault: str
    cure: str

    def start(self, out: Path) -> dict[str, Any]:
        """Get it going in the folder ``out``; return its entry in the configuration, without a name."""
        ...

    def another(self, folder: Path) -> dict[str, Any]:
        """Return the entry of a second store of this kind, which is asked for history alone."""
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

    def __init__(self) -> None:
        self._folder = self._away = Path()

    def start(self, out: Path) -> dict[str, Any]:
        """Name the folder; Feast makes the rest."""
        self._folder = out / "primary"
        self._away = out / "primary.away"
        return {"backend": "feast", "path": str(self._folder), "online_store": {"type": "sqlite"}}

    def another(self, folder: Path) -> dict[str, Any]:
        """Name another folder."""
        return {"backend": "feast", "path": str(folder)}

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
        if self._away.is_dir() and self._away != self._folder:
            self.bring_back()


class OnRedis:
    """Feast with a Redis online store in a process of its own; the fault is SIGKILL, the cure a new process."""

    kind = "feast"
    about = "Feast, online store Redis"
    fault = "its Redis server is killed (SIGKILL)"
    cure = "its Redis server is started again"

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._server: RedisServer | None = None

    def start(self, out: Path) -> dict[str, Any]:
        """Start a server on a free port that writes every change to disk, and wait until it answers."""
        data = out / "redis"
        data.mkdir(parents=True, exist_ok=True)
        self._server = RedisServer(self._binary, data)
        self._server.start()
        online = {"type": "redis", "connection_string": f"127.0.0.1:{self._server.port}"}
        return {"backend": "feast", "path": str(out / "primary"), "online_store": online}

    def another(self, folder: Path) -> dict[str, Any]:
        """Return a Feast that needs no server, for history is read without one."""
        return {"backend": "feast", "path": str(folder)}

    def take_away(self) -> None:
        """Kill the server."""
        self._running.kill()

    def bring_back(self) -> None:
        """Start a server on the same port with the same data."""
        self._running.start()

    @property
    def _running(self) -> RedisServer:
        assert self._server is not None, "start first"
        return self._server

    def stop(self) -> None:
        """End the server, if it was started."""
        if self._server is not None:
            self._server.kill()


def missing_feast() -> str | None:
    """Return why there is no Feast here, or None when there is."""
    return None if find_spec("feast") is not None else 'Feast is not installed (pip install "e2i-fs[feast]")'


def choose_primary(online: str | None) -> Primary:
    """Return the primary with this online store: ``redis`` or ``sqlite``; None is Redis where there is one."""
    binary = find_redis()
    if online is None:
        online = "redis" if binary and find_spec("redis") else "sqlite"
    if online == "sqlite":
        return MovedFolder()
    if binary is None:
        raise UnsupportedError("--primary redis: there is no redis-server here (apt-get install redis-server).")
    return OnRedis(binary)
