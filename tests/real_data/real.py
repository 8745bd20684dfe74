"""Real data as oracle rows and as a feature view."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def path(name: str) -> Path:
    """Return the file, or skip where the shared data is absent."""
    found = DATA / name
    if not found.exists():
        pytest.skip(f"needs {name} in {DATA}: the real data sets that lie beside the project")
    return found
