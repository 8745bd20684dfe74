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
    def label(self) -> str:  # type: ignore[override]
        """The name in the certificate: ``feast+sqlite``."""
        return f"{self.backend}+{self.online_store}"

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
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / f"{uuid.uuid4().hex}.parquet")

    def raw_read(self, view: str) -> pa.Table:
        """See `Harness`."""
        tables = [pq.read_table(file) for file in sorted(self._segments(view).glob("*.parquet"))]
        return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})
