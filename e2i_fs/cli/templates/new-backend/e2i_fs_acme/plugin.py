"""The plugin: a name, and where the backend is. Whoever lists backends imports this, so nothing heavy here (G-1)."""

from __future__ import annotations

from collections.abc import Iterable

from e2i_fs import BackendSpec, Capabilities, hookimpl

CAPABILITIES = Capabilities(
    # Kinds of source that `scan` reads where they lie. `source_parts` of the core knows all of these.
    sources=frozenset({"parquet", "csv", "duckdb", "sql", "push"}),
    # No call waits on a network. Say False once one does: then the core calls you in a thread that it can leave.
    local=True,
    # What was written is gone when the last handle is closed. Say True with the first method that keeps something for
    # good: then the tests open the store again and expect all of it. What `Database` still stands in for is kept as
    # long as the process then, so that they pass while the rest is still to do.
    persistent=False,
)


@hookimpl
def e2i_fs_backends() -> Iterable[BackendSpec]:
    """Offer the backend."""
    return [
        BackendSpec(
            name="acme",
            api=1,
            factory="e2i_fs_acme.backend:open_backend",
            capabilities=CAPABILITIES,
            install_hint="pip install e2i-fs-acme",
            summary="One line for `e2i-fs doctor`: where rows are kept, and what that is good for.",
            harness="e2i_fs_acme.harness:AcmeHarness",
        )
    ]
