"""All groups in the one class that authors subclass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2i_fs.testing.conformance.core import CoreTests
from e2i_fs.testing.conformance.errors import ErrorsTests
from e2i_fs.testing.conformance.failover import FailoverTests
from e2i_fs.testing.conformance.historical import HistoricalTests
from e2i_fs.testing.conformance.online import OnlineTests
from e2i_fs.testing.conformance.temporal import TemporalTests
from e2i_fs.testing.findings import HarnessError
from e2i_fs.testing.harness import Harness
from e2i_fs.testing.kit import PROFILES, Kit

__all__ = ["BackendConformance", "group_of", "test_names"]


class BackendConformance(CoreTests, OnlineTests, HistoricalTests, TemporalTests, ErrorsTests, FailoverTests):
    """Every rule that a backend must keep, as pytest tests.

    Subclass it with a ``harness`` fixture, in a file that pytest collects. ``pytest --e2i-fs-profile`` chooses how
    thoroughly to test, and ``--e2i-fs-seed`` the first seed. A failure raises `Finding`.

    >>> import pytest
    >>> import e2i_fs as fs
    >>> from e2i_fs.testing import BackendConformance, Harness
    >>> class DuckDBHarness(Harness):
    ...     def open(self) -> fs.FeatureStore:
    ...         return fs.connect({"backend": "duckdb", "path": str(self.path / "store")}, clock=self.clock)
    >>> class TestDuckDB(BackendConformance):
    ...     @pytest.fixture
    ...     def harness(self, tmp_path):
    ...         return DuckDBHarness(tmp_path)
    >>> len([name for name in dir(TestDuckDB) if name.startswith("test_")]) > 50  # what pytest runs of it
    True
    """

    @pytest.fixture
    def harness(self, tmp_path: Any) -> Harness:
        """Return the harness of the backend under test; override this fixture."""
        raise HarnessError(f"{type(self).__name__} needs a fixture `harness` that returns your Harness(tmp_path).")

    @pytest.fixture
    def kit(self, harness: Harness, request: pytest.FixtureRequest) -> Iterator[Kit]:
        """Return the kit that a test works with; it is closed after the test."""
        profile, seed = request.config.getoption("e2i_fs_profile"), request.config.getoption("e2i_fs_seed")
        replay = f"pytest {request.node.nodeid!r} --e2i-fs-profile={profile} --e2i-fs-seed={seed}"
        with Kit(harness, profile=PROFILES[profile], seed=seed, test=request.node.originalname, replay=replay) as kit:
            yield kit


def test_names() -> list[str]:
    """Return the names of all tests, group by group."""
    return [name for cls in reversed(BackendConformance.__mro__) for name in vars(cls) if name.startswith("test_")]


def group_of(test: str) -> str:
    """Return the group of a test, by its name."""
    found: str = next(cls.group for cls in BackendConformance.__mro__ if test in vars(cls) and hasattr(cls, "group"))
    return found
