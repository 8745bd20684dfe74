"""The contract of e2i_fs as tests of this backend: ``pytest``, or ``pytest -k test_p1`` for one rule.

``--e2i-fs-profile=thorough`` looks much harder, ``--e2i-fs-profile=quick`` less; ``--e2i-fs-seed=7`` looks elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from e2i_fs.testing import BackendConformance

from e2i_fs_acme.harness import AcmeHarness


class TestAcme(BackendConformance):
    """Every test of the kit."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> AcmeHarness:
        """Return a new harness in an empty folder."""
        return AcmeHarness(tmp_path)
