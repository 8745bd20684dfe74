"""The backends that we ship keep the contract: the conformance kit, as an author of a plugin runs it.

``pytest --e2i-fs-profile thorough tests/conformance`` looks harder. Feast is looked at with the profile quick unless another
than ci is asked for: each of its examples writes a registry.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2i_fs.testing.conformance import BackendConformance
from e2i_fs.testing.harness import Harness
from e2i_fs.testing.harnesses import MemoryHarness
from e2i_fs.testing.kit import PROFILES, Kit
from tests.servers import PostgresServer, RedisServer, running_postgres, running_redis


class TestMemory(BackendConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        return MemoryHarness(tmp_path)


class TestDuckDB(BackendConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        from e2i_fs_duckdb.conformance import DuckDBHarness

        return DuckDBHarness(tmp_path)


class OnFeast(BackendConformance):
    @pytest.fixture
    def kit(self, harness: Harness, request: pytest.FixtureRequest) -> Iterator[Kit]:
        asked, seed = request.config.getoption("e2i_fs_profile"), request.config.getoption("e2i_fs_seed")
        profile = "quick" if asked == "ci" else asked
        replay = f"pytest {request.node.nodeid!r} --e2i-fs-profile={asked} --e2i-fs-seed={seed}"
        with Kit(harness, profile=PROFILES[profile], seed=seed, test=request.node.originalname, replay=replay) as kit:
            yield kit


@pytest.fixture(scope="session")
def feast_installed() -> None:
    if importlib.util.find_spec("feast") is None:
        pytest.skip('needs Feast: pip install "e2i-fs[feast]"')


class TestFeastOnSqlite(OnFeast):
    @pytest.fixture
    def harness(self, tmp_path: Path, feast_installed: None) -> Harness:
        from e2i_fs_feast.conformance import FeastHarness

        return FeastHarness(tmp_path)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    if importlib.util.find_spec("redis") is None:
        pytest.skip('needs redis-py: pip install "e2i-fs[feast,redis]"')
    with running_redis() as server:
        yield server


class TestFeastOnRedis(OnFeast):
    @pytest.fixture
    def harness(self, tmp_path: Path, feast_installed: None, redis: RedisServer) -> Iterator[Harness]:
        from tests.conformance.harnesses import FeastOnRedis

        made = FeastOnRedis(tmp_path, redis)
        yield made
        made.mend()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    for package in ("psycopg", "adbc_driver_postgresql"):
        if importlib.util.find_spec(package) is None:
            pytest.skip('needs the drivers of PostgreSQL: pip install "e2i-fs[feast,postgres]"')
    # A server that would lose what it has just acknowledged, unless it is asked not to.
    with running_postgres(synchronous_commit="off") as server:
        yield server


class TestFeastOnPostgresAndRedis(OnFeast):
    """What E2I runs in production."""

    @pytest.fixture
    def harness(
        self, tmp_path: Path, feast_installed: None, redis: RedisServer, postgres: PostgresServer
    ) -> Iterator[Harness]:
        from tests.conformance.harnesses import FeastOnPostgres

        made = FeastOnPostgres(tmp_path, redis, postgres)
        yield made
        made.mend()
