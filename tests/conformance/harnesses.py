"""The harnesses that need servers: Feast on a real Redis, on a real PostgreSQL and Redis, on Spark and Redis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2i_fs_feast.conformance import FeastHarness

from tests.servers import PostgresServer, RedisServer, patient

__all__ = ["SPARK", "FeastOnPostgres", "FeastOnRedis", "FeastOnSpark"]

SPARK: Mapping[str, str] = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.default.parallelism": "1",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.catalogImplementation": "in-memory",
}
"""A Spark in this process, tuned for small data: of the 0.3 s that a small query takes, most is planning."""


class FeastOnRedis(FeastHarness):
    """Feast with its online rows in ``server``. Its outage is both: the server killed, and the repository taken away."""

    def __init__(self, path: Path | str, server: RedisServer, options: Mapping[str, Any] | None = None) -> None:
        online = {"type": "redis", "connection_string": patient(server.address)}
        super().__init__(path, {"online_store": online, **(options or {})})
        self._server = server
        self._down = False

    def break_(self) -> None:
        """Kill the server and move the folder."""
        super().break_()
        self._server.kill()
        self._down = True

    def heal(self) -> None:
        """Start it again, with what it had saved, and move the folder back."""
        super().heal()
        self._server.start()
        self._down = False

    def mend(self) -> None:
        """Heal it if a test that failed left it broken, for the next one to have a server."""
        if self._down:
            self.heal()


class FeastOnPostgres(FeastOnRedis):
    """Feast with its history in one server and its online rows in another. Its outage is all of them, and the repository."""

    def __init__(self, path: Path | str, server: RedisServer, postgres: PostgresServer) -> None:
        super().__init__(path, server, {"offline_store": postgres.settings})
        self._postgres_server = postgres

    def break_(self) -> None:
        """Kill both servers and move the folder."""
        super().break_()
        self._postgres_server.kill()

    def heal(self) -> None:
        """Start them again, with what they had saved, and move the folder back."""
        self._postgres_server.start()
        super().heal()


class FeastOnSpark(FeastOnRedis):
    """Feast with its history searched by Spark and its online rows in a Redis. Its outage is the server's, and the repository's."""

    patience = 120.0  # the first question starts a JVM

    def __init__(self, path: Path | str, server: RedisServer) -> None:
        super().__init__(path, server, {"offline_store": {"type": "spark", "spark_conf": dict(SPARK)}})
