"""Feast on Spark and Redis keeps the contract: the groups that ask for history; the certificate has them all.

A query costs Spark some tenths of a second however small it is, so each property looks at few worlds here. The whole kit, with
the profile ci, is in docs/certificates/feast-spark-redis.md.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2i_fs.testing.conformance.historical import HistoricalTests
from e2i_fs.testing.conformance.temporal import TemporalTests
from e2i_fs.testing.harness import Harness
from e2i_fs.testing.kit import PROFILES, Kit
from tests.servers import RedisServer, running_redis


@pytest.fixture(scope="session")
def redis_beside_spark() -> Iterator[RedisServer]:
    for package, extra in (("feast", "feast"), ("redis", "redis"), ("pyspark", "spark")):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'needs {package}: pip install "e2i-fs[{extra}]"')
    if shutil.which("java") is None:
        pytest.skip("needs a Java 17 runtime: apt-get install openjdk-17-jre-headless")
    with running_redis() as server:
        yield server


class TestFeastOnSparkAndRedis(TemporalTests, HistoricalTests):
    @pytest.fixture
    def harness(self, tmp_path: Path, redis_beside_spark: RedisServer) -> Iterator[Harness]:
        from tests.conformance.harnesses import FeastOnSpark

        made = FeastOnSpark(tmp_path, redis_beside_spark)
        yield made
        made.mend()

    @pytest.fixture
    def kit(self, harness: Harness, request: pytest.FixtureRequest) -> Iterator[Kit]:
        asked, seed = request.config.getoption("e2i_fs_profile"), request.config.getoption("e2i_fs_seed")
        profile = replace(PROFILES["quick"], examples=2) if asked == "ci" else PROFILES[asked]
        replay = f"pytest {request.node.nodeid!r} --e2i-fs-profile={asked} --e2i-fs-seed={seed}"
        with Kit(harness, profile=profile, seed=seed, test=request.node.originalname, replay=replay) as kit:
            yield kit
