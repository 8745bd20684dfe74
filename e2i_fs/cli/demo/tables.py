"""Where the rows of the sources lie: the files as they were generated, or tables in PostgreSQL filled from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from e2i_fs.cli.demo.repository import feature_repo

__all__ = ["CONNECTION", "VARIABLE", "Files", "PostgresTables", "Tables"]

VARIABLE = "E2I_FS_DEMO_POSTGRES"
CONNECTION = f"${{{VARIABLE}}}"
"""What the definitions say of where the database is; a password is in the variable, and in no definition."""


class Tables(Protocol):
    """Brings a folder of generated files to where stores read rows, and defines the features over them."""

    def bring(self, folder: Path, progress: Callable[[str], None]) -> None:
        """Put the rows of the files in ``folder`` where they will be read."""
        ...

    def definitions(self, folder: Path) -> list[Any]:
        """Return the E2I definitions over the rows that were brought from ``folder``."""
        ...


class Files:
    """The rows are read where they were generated."""

    def bring(self, folder: Path, progress: Callable[[str], None]) -> None:
        """Nothing: they are there."""

    def definitions(self, folder: Path) -> list[Any]:
        """Return the definitions over Parquet files."""
        found: list[Any] = feature_repo().definitions(folder.resolve())
        return found


class PostgresTables:
    """Each folder becomes a schema: ``name`` the first one, ``name_FOLDER`` the others."""

    def __init__(self, name: str, address: str) -> None:
        self._name = name
        self._address = address
        self.schemas: dict[Path, str] = {}

    def bring(self, folder: Path, progress: Callable[[str], None]) -> None:
        """Fill tables from the files that are in ``folder``."""
        postgres = feature_repo("postgres")
        schema = f"{self._name}_{folder.name}" if self.schemas else self._name
        self.schemas[folder.resolve()] = schema
        tables = [table for table in postgres.KEYS if (folder / f"{table}.parquet").is_file()]
        postgres.load(
            folder, self._address, schema=schema, tables=tables, progress=lambda t: progress(f"table {schema}.{t}")
        )

    def definitions(self, folder: Path) -> list[Any]:
        """Return the definitions over the tables."""
        found: list[Any] = feature_repo().definitions(postgres=CONNECTION, schema=self.schemas[folder.resolve()])
        return found
