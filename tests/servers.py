"""Real servers for tests, each in a folder of its own and on a free port; a test is skipped where there is no server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2i_fs.testing.servers import PostgresServer, RedisServer, find_postgres, find_redis

__all__ = ["PostgresServer", "RedisServer", "patient", "redis_server", "running_postgres", "running_redis"]


def patient(address: str) -> str:
    """Return Feast's connection string to a Redis for tests that are not about time: a busy machine may stop it for over half a second."""
    return f"{address},socket_timeout=20,socket_connect_timeout=20"


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Give a running Redis, or skip the test where there is no `redis-server`."""
    binary = find_redis()
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
    programs = find_postgres()
    if programs is None:
        pytest.skip("needs PostgreSQL's server programs: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="e2i_fs_pg_", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(programs, folder)
        server.start(**settings)
        try:
            yield server
        finally:
            server.kill()
