"""The plugin: a name, and where the backend is. Whoever lists backends imports this, so nothing heavy here (G-1)."""

from __future__ import annotations

from collections.abc import Iterable

from e2i_fs import BackendSpec, Capabilities, hookimpl

CAPABILITIES = Capabilities(
    sources=frozenset({"parquet", "csv", "duckdb", "sql", "push"}),
    local=True,  # a file: no call waits on a network
    persistent=True,
)


@hookimpl
def e2i_fs_backends() -> Iterable[BackendSpec]:
    """Offer the backend."""
    return [
        BackendSpec(
            name="sqlite",
            api=1,
            factory="e2i_fs_sqlite.backend:open_backend",
            capabilities=CAPABILITIES,
            install_hint="pip install e2i-fs-sqlite",
            summary="Everything in one SQLite file, for several processes of one machine.",
            harness="e2i_fs_sqlite.harness:SQLiteHarness",
        )
    ]
