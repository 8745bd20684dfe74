"""The entry point of the in-memory backend. It imports nothing heavy (G-1)."""

from __future__ import annotations

from collections.abc import Iterable

from e2i_fs.backend import Capabilities
from e2i_fs.plugins import BackendSpec, hookimpl

CAPABILITIES = Capabilities(
    sources=frozenset({"parquet", "csv", "duckdb", "sql", "push"}),
    local=True,
    persistent=False,
    copyable=True,
    certified="full",
)


@hookimpl
def e2i_fs_backends() -> Iterable[BackendSpec]:
    """Offer the backend ``memory``."""
    return [
        BackendSpec(
            name="memory",
            api=1,
            factory="e2i_fs.testing.memory:open_backend",
            capabilities=CAPABILITIES,
            install_hint="pip install e2i-fs",
            summary="Everything in one process's memory, in plain Python: for unit tests, and the reference of the others.",
            harness="e2i_fs.testing.harnesses:MemoryHarness",
        )
    ]
