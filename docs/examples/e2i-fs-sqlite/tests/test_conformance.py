"""The contract of e2i_fs as tests of this backend: ``pytest``, or ``pytest -k test_p1`` for one rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2i_fs.testing import BackendConformance

from e2i_fs_sqlite.harness import SQLiteHarness


class TestSQLite(BackendConformance):
    """Every test of the kit."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> SQLiteHarness:
        """Return a new harness in an empty folder."""
        return SQLiteHarness(tmp_path)
