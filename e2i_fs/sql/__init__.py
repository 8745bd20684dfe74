"""Sources that speak SQL, read in place: databases through ADBC, and DuckDB files."""

from __future__ import annotations

__all__: list[str] = []
