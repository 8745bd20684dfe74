"""The backend itself: a registry, segments, the user's own sources and online rows, under one folder."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from e2i_fs.arrow import pa
from e2i_fs.backend import Capabilities, Key, OnlineColumns, OnlineRow, ParquetRows, Position, ScanPart
from e2i_fs.batch import check_form
from e2i_fs.catalog import Catalog
from e2i_fs.errors import BackendUnavailableError, ConfigError
from e2i_fs.reading import source_parts
from e2i_fs.segments import Segments
from e2i_fs_duckdb.online import OnlineRows
from e2i_fs_duckdb.plugin import CAPABILITIES
from e2i_fs_duckdb.registry import Registry

__all__ = ["DuckDBBackend"]


class DuckDBBackend:
    """See `e2i_fs.backend.Backend` for what each method promises."""

    def __init__(self, path: str, *, project: str, online_size: int) -> None:
        folder = Path(path)
        if (folder / "applied_by_e2i_fs.py").is_file():
            raise ConfigError(f"The folder {folder} is a Feast repository that e2i_fs made; name another path.")
        try:
            (folder / "online").mkdir(parents=True, exist_ok=True)
            (folder / "history").mkdir(exist_ok=True)
        except OSError as error:
            raise BackendUnavailableError(
                f"The folder {folder} cannot be made or written: {error}. Make it writable, or choose another path."
            ) from error
        self._registry = Registry(folder, project)
        self._online = OnlineRows(folder / "online", online_size)
        self._segments = Segments(folder / "history", made=True)
        if not self._online.has_notes():
            self._note_batches(self._registry.storage_under(self._registry.catalog()))

    @property
    def capabilities(self) -> Capabilities:
        """Everything, and nothing that waits on a network."""
        return CAPABILITIES

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """Keep ``definitions`` in one SQLite transaction, then clear away the rows that nobody can read any more."""
        kept = self._registry.replace(definitions, expected=expected)
        if kept:
            for view, number in self._registry.dead_storage():
                self._online.drop(number)
                self._segments.drop(_folder(view, number))
                self._registry.bury(number)
        return kept

    def definitions(self) -> Catalog:
        """Return the kept catalogue; a few microseconds when no process changed it."""
        return self._registry.catalog()

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """Return the user's own source, read in place, and the segments."""
        number, catalog = self._generation(view)
        definition = catalog.view(view)
        join_keys, base = catalog.join_keys(view), catalog.bases[view]
        parts = source_parts(definition, join_keys, base, keys=keys, until_us=until_us)
        segments = self._segments.paths(_folder(view, number))
        if segments:
            # A segment written before a field, or the created time, was added lacks it.
            later = frozenset({*definition.features, definition.created_column or ""})
            parts.append(ParquetRows(segments, missing_ok=later))
        return parts

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """Add one segment."""
        while True:
            number = self._registry.storage(view)  # first: what is then found to fit was of this one, or a later one
            catalog = self._registry.catalog()
            check_form(rows, catalog.view(view), catalog.join_keys(view))
            try:
                added = self._segments.append(_folder(view, number), rows, batch_id=batch_id)
                break
            except BackendUnavailableError:
                # A deletion takes the folder away: then the view is unknown, or another one, whose folder is another.
                if self._registry.storage(view) == number:
                    raise
        # Noted also of a batch that is there already: who added it may have died before.
        self._note_batches({view: number})
        return added

    def _note_batches(self, storage: Mapping[str, int]) -> None:
        """Note beside the online rows how many batches history has, which is told with every online answer (X-7)."""
        folders = {number: _folder(view, number) for view, number in storage.items()}
        self._online.note_batches(folders, lambda number: self._segments.count(folders[number]))

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """Read from one snapshot."""
        return self._online.read(self._registry.storage(view), keys, at_us=at_us)

    def online_columns(
        self, definitions: Catalog, asked: Mapping[str, Sequence[Key]], *, at_us: int
    ) -> Mapping[str, OnlineColumns]:
        """Read from one snapshot; see `e2i_fs.backend.Columnar`."""
        return self._online.columns(self._registry.storage_under(definitions), asked, at_us=at_us)

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge in one transaction."""
        number = self._registry.storage(
            view
        )  # first, as in `append`: rows of a view that is made anew meanwhile go with it
        return self._online.write(number, self._registry.catalog().view(view), keys, rows, at_us=at_us)

    def position(self, view: str) -> Position:
        """Return how far the online rows are; batches in history count as writes too, so that their loss shows."""
        number = self._registry.storage(view)
        sequence, newest, rows = self._online.position(number)
        return Position(sequence + self._segments.count(_folder(view, number)), newest, rows)

    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        """Yield the segments; see `e2i_fs.backend.Copyable`."""
        return self._segments.batches(_folder(view, self._registry.storage(view)))

    def online_rows(self, view: str) -> Iterator[tuple[Sequence[Key], Sequence[OnlineRow], int]]:
        """Yield the online rows, of one snapshot; see `e2i_fs.backend.Copyable`."""
        yield from self._online.copied(self._registry.storage(view))

    def _generation(self, view: str) -> tuple[int, Catalog]:
        """Return where the rows of ``view`` lie, and the definitions that they are of: a view made anew lies elsewhere."""
        while True:
            number, catalog = self._registry.storage(view), self._registry.catalog()
            if self._registry.storage(view) == number:
                return number, catalog

    def ping(self, deadline: float) -> float:
        """Touch the registry and the online rows."""
        begun = time.perf_counter()
        self._registry.ping()
        self._online.position(0)
        return time.perf_counter() - begun

    def close(self) -> None:
        """Let go of both files."""
        self._online.close()
        self._registry.close()


@lru_cache(1024)
def _folder(view: str, number: int) -> str:
    return f"{urllib.parse.quote(view, safe='')[:150]}.{number}"
