"""The E2I tables in PostgreSQL, as in production: filled from the files that `feature_repo.generate` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow.parquet as pq

__all__ = ["KEYS", "load"]

KEYS: Mapping[str, tuple[str, ...]] = {
    "business_metrics": ("hcp_id", "brand_id"),
    "business_metrics_by_territory": ("territory_id", "brand_id"),
    "hcp_profiles": ("hcp_id",),
    "patient_journeys": ("patient_id", "brand_id"),
    "triggers": ("trigger_id",),
    "territory_metrics": ("territory_id",),
}
"""The tables, and the join keys by which each is asked: they are indexed with the event time."""


def load(
    folder: Path,
    address: str,
    *,
    schema: str | None = None,
    tables: Iterable[str] = tuple(KEYS),
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Make the six tables in the database at ``address`` anew, from the files in ``folder``; return their rows.

    They lie in ``schema``, which is made if it is not there, or where the database puts tables by itself. ``tables``
    names fewer of them. All or none: it is one transaction. Needs ``pip install "e2i-fs[postgres]"``.
    """
    import adbc_driver_postgresql.dbapi as postgres

    rows = {}
    within = f'"{schema}".' if schema else ""
    with postgres.connect(address) as connection, connection.cursor() as cursor:
        if schema:
            cursor.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        for table in tables:
            progress(table)
            content = pq.read_table(folder / f"{table}.parquet")
            cursor.adbc_ingest(table, content, mode="replace", db_schema_name=schema)
            columns = ", ".join((*KEYS[table], "event_timestamp"))
            cursor.execute(f"CREATE INDEX ON {within}{table} ({columns})")
            rows[table] = content.num_rows
        connection.commit()
    return rows
