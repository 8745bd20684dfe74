"""The plugin module: names the DuckDB backend and imports nothing of it (G-1)."""

from __future__ import annotations

from collections.abc import Iterable

from e2i_fs.backend import Capabilities
from e2i_fs.plugins import BackendSpec, hookimpl

__all__ = ["CAPABILITIES", "e2i_fs_backends"]

CAPABILITIES = Capabilities(
    sources=frozenset({"parquet", "csv", "duckdb", "sql", "push"}),
    local=True,
    copyable=True,
    columnar=True,
    certified="full",
)


@hookimpl
def e2i_fs_backends() -> Iterable[BackendSpec]:
    """Offer the embedded default."""
    yield BackendSpec(
        name="duckdb",
        api=1,
        factory="e2i_fs_duckdb:open_backend",
        capabilities=CAPABILITIES,
        install_hint="pip install e2i-fs",
        summary="Embedded: history in Parquet read by DuckDB, online rows in LMDB, definitions in SQLite.",
        harness="e2i_fs_duckdb.conformance:DuckDBHarness",
    )
