"""What all tests share: the clock, and a store of each embedded backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from tests import kit


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(kit.NOW)


@pytest.fixture(params=["duckdb", "memory"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def store(backend: str, tmp_path: Path, clock: FakeClock) -> Iterator[fs.FeatureStore]:
    with fs.connect(kit.config(backend, tmp_path / "store"), clock=clock) as opened:
        yield opened
