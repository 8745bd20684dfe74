"""What e2i_fs learns of this backend before it is opened. Imports neither feast nor pyarrow (G-1)."""

from __future__ import annotations

from collections.abc import Iterable

from e2i_fs.plugins import BackendSpec, hookimpl

__all__ = ["INSTALL", "e2i_fs_backends"]

INSTALL = 'pip install "e2i-fs[feast]"'


@hookimpl
def e2i_fs_backends() -> Iterable[BackendSpec]:
    """Offer the backend ``feast``. Its capabilities depend on the online store, so they are not given here."""
    yield BackendSpec(
        name="feast",
        api=1,
        factory="e2i_fs_feast:open_backend",
        capabilities=None,
        install_hint=INSTALL,
        summary=(
            "A Feast 0.67 repository, ours or an existing one: online in sqlite or redis, history in dask, postgres or spark; an "
            "existing one also in snowflake, bigquery, redshift, ray and others, untested"
        ),
        stores=(
            "sqlite",
            "redis",
            "dask",
            "postgres",
            "spark",
            "snowflake",
            "bigquery",
            "redshift",
            "trino",
            "athena",
            "ray",
        ),
        harness="e2i_fs_feast.conformance:FeastHarness",
        exchange="e2i_fs_feast.exchange:FeastExchange",
    )
