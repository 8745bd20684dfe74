"""Which sources an agent may name: what is registered, what is only written, and files of folders that were allowed.

A definition is planned by opening its source, so that naming a source is reading it. Databases are therefore never
named by an agent, only used again by the view that has them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from e2i_fs.agents.mcp.refusals import ForbiddenSourceError
from e2i_fs.catalog import Catalog
from e2i_fs.sources import CSVSource, DuckDBSource, ParquetSource, PushSource, Source

__all__ = ["SourceRules"]


@dataclass(frozen=True, slots=True)
class SourceRules:
    """``folders`` may be read from; relative paths are taken from ``base``, the configuration's folder (T-4)."""

    folders: tuple[str, ...]
    base: str

    def check(self, catalog: Catalog, source: Source) -> None:
        """Raise `ForbiddenSourceError` unless an agent may name this source."""
        stored = source.batch_source if isinstance(source, PushSource) else source
        if stored is None or self._registered(catalog, source, stored):
            return
        paths = stored.paths if isinstance(stored, ParquetSource | CSVSource) else ()
        if paths and all(self._inside(path) for path in paths):
            return
        raise ForbiddenSourceError(
            f"The source {source.where()!r} is not registered, and not in a folder that this server may read from. "
            "Nothing was opened.",
            fix='Use the source of a registered view ({"type": "registered", "view": ...}), or none and write the rows; '
            "whoever runs the server can allow a folder with --allow-sources.",
        )

    def _registered(self, catalog: Catalog, source: Source, stored: Source) -> bool:
        """Return whether a view has this very source: of two files of one relative path, only the one from here."""
        match stored:
            case ParquetSource() | CSVSource():
                paths = stored.paths
            case DuckDBSource():
                paths = (stored.path,)
            case _:
                paths = ()
        anywhere = all(map(os.path.isabs, paths))
        return any(
            view.source == source and (anywhere or catalog.bases.get(name) == self.base)
            for name, view in catalog.views.items()
        )

    def _inside(self, path: str) -> bool:
        # Nothing that leads out of the folder by its spelling or by a link, and no address.
        if "://" in path or ".." in _parts(path) or path.startswith("~"):
            return False
        whole = os.path.realpath(os.path.join(self.base, path))
        return any(_within(whole, os.path.realpath(os.path.join(self.base, folder))) for folder in self.folders)


def _parts(path: str) -> Sequence[str]:
    return path.replace("\\", "/").split("/")


def _within(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
