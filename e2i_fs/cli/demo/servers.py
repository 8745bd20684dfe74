"""The servers of production, and how each is really taken away.

One that the demo started is killed. One that somebody else runs is not touched: the demo reaches it by a relay of its own,
and cuts that.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2i_fs.cli.demo.given import GivenPostgres, GivenRedis
from e2i_fs.errors import BackendUnavailableError, UnsupportedError
from e2i_fs.testing.relay import Relay
from e2i_fs.testing.servers import PostgresServer, RedisServer, find_postgres, find_redis

__all__ = ["Server", "postgres_of", "redis_of"]

_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server, with the fault that can be done to it. ``settings`` are Feast's of the store that it is.

    ``address`` is how it is reached, a URI or Feast's connection string; ``shown`` is where it is, without a password.
    """

    what: str
    shown: str
    ours: bool
    address: str
    settings: Mapping[str, Any]
    take_away: Callable[[], None]
    bring_back: Callable[[], None]

    @property
    def fault(self) -> str:
        """What `take_away` does."""
        return (
            f"its {self.what} server is killed (SIGKILL)" if self.ours else f"the connection to its {self.what} is cut"
        )

    @property
    def cure(self) -> str:
        """What `bring_back` does."""
        return (
            f"its {self.what} server is started again" if self.ours else f"the connection to its {self.what} is mended"
        )

    @property
    def about(self) -> str:
        """Where it is and whose, for people."""
        whose = "started for this demo" if self.ours else "yours: reached by a relay, which is cut; nothing is killed"
        return f"{self.shown} ({whose})"


@contextmanager
def postgres_of(given: str | None) -> Iterator[Server]:
    """Give the PostgreSQL at the URI ``given``, or one that is started here and ends here."""
    if given is not None:
        parts = GivenPostgres.read(given)
        _knock("PostgreSQL", parts.shown, parts.target)
        with Relay(*parts.target) as relay:
            yield Server(
                "PostgreSQL", parts.shown, False, parts.uri("127.0.0.1", relay.port),
                parts.settings("127.0.0.1", relay.port), relay.cut, relay.mend,
            )  # fmt: skip
        return
    programs = find_postgres()
    if programs is None:
        raise UnsupportedError(
            "The demo in production's shape needs PostgreSQL's server programs: apt-get install postgresql. "
            "Or name one that runs: --postgres postgresql://user@host/database"
        )
    with tempfile.TemporaryDirectory(prefix="e2i_fs_demo_pg_", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(programs, folder)
        server.start()
        try:
            shown = f"127.0.0.1:{server.port}/{server.database}"
            yield Server("PostgreSQL", shown, True, server.address, server.settings, server.kill, server.start)
        finally:
            server.kill()


@contextmanager
def redis_of(given: str | None) -> Iterator[Server]:
    """Give the Redis at the Feast connection string ``given``, or one that is started here and ends here."""
    if given is not None:
        parts = GivenRedis.read(given)
        _knock("Redis", parts.shown, parts.target)
        with Relay(*parts.target) as relay:
            address = parts.address("127.0.0.1", relay.port)
            yield Server("Redis", parts.shown, False, address, _redis(address), relay.cut, relay.mend)
        return
    binary = find_redis()
    if binary is None:
        raise UnsupportedError(
            "The demo in production's shape needs redis-server: apt-get install redis-server. "
            "Or name one that runs: --redis host:6379"
        )
    with tempfile.TemporaryDirectory(prefix="e2i_fs_demo_redis_", ignore_cleanup_errors=True) as folder:
        server = RedisServer(binary, folder)
        server.start()
        try:
            address = f"127.0.0.1:{server.port}"
            yield Server("Redis", address, True, address, _redis(address), server.kill, server.start)
        finally:
            server.kill()


def _redis(address: str) -> dict[str, Any]:
    return {"type": "redis", "connection_string": address}


def _knock(what: str, shown: str, target: tuple[str, int]) -> None:
    """Raise `BackendUnavailableError` unless somebody listens: behind a relay that could not be told so well."""
    try:
        if target[0].startswith("/"):
            with socket.socket(socket.AF_UNIX) as knocking:
                knocking.connect(target[0])
        else:
            socket.create_connection(target, _PATIENCE).close()
    except OSError as error:
        raise BackendUnavailableError(f"Nobody answers as {what} at {shown}: {error}. Is it running?") from error
