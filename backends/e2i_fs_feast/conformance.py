"""The harness of this backend for the conformance kit: `e2i-fs certify feast`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from e2i_fs.testing.harnesses import FolderHarness
from e2i_fs_feast.importing import import_feast
from e2i_fs_feast.plugin import INSTALL
from e2i_fs_feast.postgres_table import CREATE, TABLE

__all__ = ["FeastHarness"]


class FeastHarness(FolderHarness):
    """A Feast repository of its own, in a project of its own, on the online store that ``options`` name.

    Rows are written and read past it as any user of Feast would: the files of the view's source. An outage is the
    folder moved away; on another online store than sqlite that is not its outage, and nothing is offered unless a
    subclass writes `break_` and `heal`. A Redis is given by its ``connection_string`` and keeps some keys.
    """

    backend = "feast"

    def __init__(self, path: Path | str, options: Mapping[str, Any] | None = None) -> None:
        given = {"project": f"kit_{uuid.uuid4().hex[:12]}"} | dict(options or {})
        super().__init__(path, given)

    @property
    def online_store(self) -> str:
        """The type of the online store."""
        given = self.options.get("online_store") or "sqlite"
        return str(given.get("type") if isinstance(given, Mapping) else given)

    @property
    def offline_store(self) -> Mapping[str, Any]:
        """The settings of the offline store; {} for Feast's default."""
        given = self.options.get("offline_store") or {}
        return given if isinstance(given, Mapping) else {"type": given}

    @property
    def label(self) -> str:  # type: ignore[override]
        """The name in the certificate: ``feast+sqlite``, ``feast+postgres+redis``, ``feast+spark+redis``."""
        kind = self.offline_store.get("type")
        offline = f"{kind}+" if kind in ("postgres", "spark") else ""
        return f"{self.backend}+{offline}{self.online_store}"

    def offers(self, method: str) -> bool:
        """See `Harness`."""
        elsewhere = self.online_store != "sqlite" and getattr(type(self), method) is getattr(
            FolderHarness, method, None
        )
        return super().offers(method) and not elsewhere

    def _segments(self, view: str) -> Path:
        import_feast(INSTALL)
        from feast import FeatureStore

        source = FeatureStore(repo_path=str(self.store_folder)).get_feature_view(view).batch_source
        return self.store_folder / str(source.path)

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """See `Harness`."""
        folder = self._segments(view)
        if self.offline_store.get("type") == "postgres":
            sink = pa.BufferOutputStream()
            pq.write_table(rows, sink)
            given = (self.options["project"], folder.name, uuid.uuid4().hex, sink.getvalue().to_pybytes())
            with self._postgres() as connection:
                connection.execute(
                    f"INSERT INTO {TABLE} (project, name, batch, content, rows) VALUES (%s, %s, %s, 'raw', %s)", given
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / f"{uuid.uuid4().hex}.parquet")

    def raw_read(self, view: str) -> pa.Table:
        """See `Harness`."""
        if self.offline_store.get("type") == "postgres":
            asked = (self.options["project"], self._segments(view).name)
            with self._postgres() as connection:
                found = connection.execute(
                    f"SELECT rows FROM {TABLE} WHERE project = %s AND name = %s ORDER BY batch", asked
                ).fetchall()
            kept = [pq.ParquetFile(pa.BufferReader(rows)).read() for (rows,) in found]
            return pa.concat_tables(kept, promote_options="default") if kept else pa.table({})
        tables = [pq.read_table(file) for file in sorted(self._segments(view).glob("*.parquet"))]
        return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})

    def _postgres(self) -> Any:
        """Return a connection of its own to the database of the offline store; the table is made if no batch has come yet."""
        import psycopg

        given = self.offline_store
        connection = psycopg.connect(
            host=given["host"], port=given.get("port", 5432), dbname=given["database"], user=given["user"],
            password=given["password"], sslmode=given.get("sslmode", "require"),
            options=f"-csearch_path={given.get('db_schema', 'public')} -csynchronous_commit=on",
        )  # fmt: skip
        connection.execute(CREATE)
        connection.commit()
        return connection
