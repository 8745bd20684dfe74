"""E2I's production shape: the tables in PostgreSQL, Feast before it with Redis online, DuckDB over the same tables beside it.

Whatever the demo makes on the two servers bears a name of its own, and goes when it ends.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from e2i_fs.cli.demo.given import GivenRedis
from e2i_fs.cli.demo.servers import Server, postgres_of, redis_of
from e2i_fs.cli.demo.tables import VARIABLE, PostgresTables
from e2i_fs.errors import BackendUnavailableError, RequestError, UnsupportedError
from e2i_fs.sql.expanding import read_address

__all__ = ["Production", "production"]

_NEEDED = {
    "feast": "feast", "redis": "redis", "psycopg": "postgres", "adbc_driver_postgresql": "postgres",
}  # fmt: skip


class Production:
    """The two servers, checked, and what of them is the demo's: schemas and keys with ``project`` in their names.

    It is the demo's primary too: Feast over both, whose fault is that Redis is taken away.
    """

    kind = "feast"
    about = "Feast, tables in PostgreSQL, online store Redis"

    def __init__(self, database: Server, online: Server) -> None:
        self.database = database
        self.online = online
        self.project = f"e2i_fs_demo_{secrets.token_hex(4)}"
        self.tables = PostgresTables(self.project, database.address)

    @property
    def options(self) -> str:
        """The options of the command that led here, without users and passwords."""
        postgres = "" if self.database.ours else f" --postgres postgresql://{self.database.shown}"
        redis = "" if self.online.ours else f" --redis {self.online.shown}"
        return f" --production{postgres}{redis}"

    @property
    def described(self) -> dict[str, Any]:
        """Where it was, for ``--json``: no user, no password."""
        return {
            "postgres": self.database.shown, "redis": self.online.shown, "schema": self.project,
            "faults": [self.database.fault, self.online.fault],
        }  # fmt: skip

    # ---- as the demo's primary ---------------------------------------------------------------------------

    @property
    def fault(self) -> str:
        """What is done to Redis."""
        return self.online.fault

    @property
    def cure(self) -> str:
        """How it is undone."""
        return self.online.cure

    def start(self, out: Path) -> dict[str, Any]:
        """Return the entry of the configuration: everything is running."""
        return self._entry(out / "primary", self.project)

    def another(self, folder: Path) -> dict[str, Any]:
        """Return the entry of a second store of this kind."""
        return self._entry(folder, f"{folder.name}_{self.project}")

    def _entry(self, folder: Path, project: str) -> dict[str, Any]:
        return {
            "backend": "feast", "path": str(folder), "project": project,
            "offline_store": {**self.database.settings, "db_schema": self.project},
            "online_store": dict(self.online.settings),
        }  # fmt: skip

    def take_away(self) -> None:
        """Take Redis away."""
        self.online.take_away()

    def bring_back(self) -> None:
        """Bring Redis back."""
        self.online.bring_back()

    def stop(self) -> None:
        """Do nothing: whoever opened the servers closes them."""

    # ---- what is on the servers --------------------------------------------------------------------------

    def claim_database(self) -> None:
        """Make the demo's schema in PostgreSQL, or raise an error that says what to do."""
        import psycopg

        try:
            with psycopg.connect(self.database.address, connect_timeout=10) as connection:
                connection.execute(f'CREATE SCHEMA "{self.project}"')
        except psycopg.errors.InsufficientPrivilege as error:
            raise RequestError(
                f"The PostgreSQL at {self.database.shown} lets this user make no schema ({_line(error)}). GRANT CREATE ON "
                "DATABASE to it, or give another user."
            ) from error
        except psycopg.Error as error:
            said = read_address(self.database.address).without_secrets(_line(error))
            raise BackendUnavailableError(
                f"The PostgreSQL at {self.database.shown} cannot be used: {said}. Are user, password and database right?"
            ) from None

    def claim_online(self) -> None:
        """Raise an error that says what to do unless Redis answers and is empty."""
        import redis

        try:
            with GivenRedis.read(self.online.address).client() as client:
                there = client.dbsize()
        except TypeError as error:
            raise RequestError(f"--redis has a key that redis-py does not know: {error}.") from error
        except redis.exceptions.RedisError as error:
            raise BackendUnavailableError(
                f"The Redis at {self.online.shown} cannot be used: {_line(error)}. Are password and TLS settings right? "
                "It is reached by a relay on 127.0.0.1."
            ) from error
        if there:
            left = len(self._keys(b"*e2i_fs_demo_*"))
            theirs = f", {left:,} of them of a demo that runs or was killed" if left else ""
            raise RequestError(
                f"The Redis at {self.online.shown} holds {there:,} key{'s' if there > 1 else ''}{theirs}, and the demo takes an empty one only. Give "
                "another, or another of its databases: --redis host:port,db=1"
            )

    def history_rows(self) -> int:
        """Return how many batches of written rows PostgreSQL keeps, counted in its table and not through the store."""
        found = self._asked("SELECT to_regclass(%s)", f'"{self.project}".e2i_fs_history')
        if found is None:
            return 0
        return int(
            self._asked(f'SELECT count(*) FROM "{self.project}".e2i_fs_history WHERE project = %s', self.project)
        )

    def left(self) -> tuple[int, int]:
        """Return how many schemas and keys of this demo there are."""
        schemas = self._asked("SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, %s)", self.project)
        return int(schemas), len(self._keys(b"*" + self.project.encode()))

    def clear(self) -> None:
        """Remove what the demo made on both servers, and nothing else; harmless twice."""
        self._clear_database()
        self._clear_online()

    def leave(self) -> None:
        """Remove what is left on servers that go on, whatever happened; those of the demo go with their folders."""
        import psycopg
        import redis

        for server, clear in ((self.database, self._clear_database), (self.online, self._clear_online)):
            if server.ours:
                continue
            server.bring_back()
            try:
                clear()
            except (psycopg.Error, redis.exceptions.RedisError) as error:
                raise BackendUnavailableError(
                    f"The {server.what} at {server.shown} could not be cleared ({type(error).__name__}). What is left of the "
                    f"demo there has {self.project} in its name: schemas that begin with it, keys that end with it."
                ) from None

    def _clear_database(self) -> None:
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.database.address, connect_timeout=10) as connection:
            mine = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"
            for (schema,) in connection.execute(mine, (self.project,)).fetchall():
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))

    def _clear_online(self) -> None:
        keys = self._keys(b"*" + self.project.encode())
        with GivenRedis.read(self.online.address).client() as client:
            for first in range(0, len(keys), 1000):
                client.delete(*keys[first : first + 1000])

    def _asked(self, question: str, value: str) -> Any:
        import psycopg

        with psycopg.connect(self.database.address, connect_timeout=10) as connection:
            row = connection.execute(question, (value,)).fetchone()
        assert row is not None
        return row[0]

    def _keys(self, pattern: bytes) -> list[bytes]:
        with GivenRedis.read(self.online.address).client() as client:
            return list(client.scan_iter(match=pattern, count=1000))


@contextmanager
def production(postgres: str | None, redis: str | None) -> Iterator[Production]:
    """Give the servers, those of the addresses or new ones, and leave them as they were.

    Raises before anything is made: `UnsupportedError` with what to install, `RequestError` for addresses that are none
    and a Redis that holds something, `BackendUnavailableError` for a server that does not answer.
    """
    missing = dict.fromkeys(extra for module, extra in _NEEDED.items() if find_spec(module) is None)
    if missing:
        raise UnsupportedError(
            f'The demo in production\'s shape needs Feast and drivers: pip install "e2i-fs[{",".join(["demo", *missing])}]"'
        )
    with postgres_of(postgres) as database, redis_of(redis) as online:
        made = Production(database, online)
        made.claim_online()
        made.claim_database()
        with _told_in_the_environment(database.address):
            try:
                yield made
            finally:
                made.leave()


@contextmanager
def _told_in_the_environment(address: str) -> Iterator[None]:
    """Let the definitions' variable stand for ``address``, and for what it stood for before at the end."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = address
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
