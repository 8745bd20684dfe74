"""What all tests share: the clock, and a store of each embedded backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

import e2i_fs as fs
from e2i_fs.testing.clock import FakeClock
from tests import kit

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("thorough", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


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
