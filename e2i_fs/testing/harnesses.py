"""Harnesses that are ready: any installed backend by its configuration, and the one in memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import e2i_fs
from e2i_fs.testing.findings import HarnessError
from e2i_fs.testing.harness import Harness
from e2i_fs.testing.memory import MemoryBackend

if TYPE_CHECKING:
    from e2i_fs.store import Store

__all__ = ["ConfiguredHarness", "FolderHarness", "MemoryHarness"]


class ConfiguredHarness(Harness):
    """Opens ``backend`` as `e2i_fs.connect` does, with ``options``; nothing is reached past the API.

    ``path`` and ``state`` are folders of the harness's own unless the options name others; an option that is None is
    left out, so ``{"path": None}`` is for a backend that takes no path.
    """

    backend = ""

    def __init__(self, path: Path | str, options: Mapping[str, Any] | None = None, *, backend: str = "") -> None:
        super().__init__(path)
        self.backend = backend or self.backend
        self.options = dict(options or {})
        self.store_folder = self.path / "store"

    def configuration(self) -> dict[str, Any]:
        """Return what `open` gives to `e2i_fs.connect`."""
        own = {"backend": self.backend, "path": str(self.store_folder), "state": str(self.path / "state")}
        return {key: value for key, value in (own | self.options).items() if value is not None}

    def open(self) -> Store:
        """See `Harness`."""
        return e2i_fs.connect(self.configuration(), clock=self.clock)


class FolderHarness(ConfiguredHarness):
    """A backend that keeps all in its folder: the folder moved away is its outage.

    A file stands in its place meanwhile, so that no handle makes a new folder there.
    """

    def break_(self) -> None:
        """Move the folder away."""
        self.store_folder.rename(self._away)
        self.store_folder.write_text("taken away by the conformance kit")

    def heal(self) -> None:
        """Move it back."""
        self.store_folder.unlink()
        self._away.rename(self.store_folder)

    @property
    def _away(self) -> Path:
        return self.path / "store-taken-away"


class MemoryHarness(Harness):
    """The backend ``memory``: what each handle wrote is in that handle alone.

    So `raw_write` goes into every open handle, `raw_read` reads the one opened last, and an outage shuts them all.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._opened: list[MemoryBackend] = []
        self._shut: list[MemoryBackend] = []
        self._numbers = itertools.count()

    def open(self) -> Store:
        """See `Harness`."""
        store = e2i_fs.connect({"backend": "memory"}, clock=self.clock)
        backend = store._router.backend("memory")
        if not isinstance(backend, MemoryBackend):
            raise HarnessError(f"connect opened {backend!r} for memory.")
        self._opened.append(backend)
        if self._shut:
            self._close(backend)
        return store

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """See `Harness`."""
        number = next(self._numbers)
        for backend in self._opened:
            backend._views[view].batches[f"written past the API, {number}"] = rows

    def raw_read(self, view: str) -> pa.Table:
        """See `Harness`."""
        batches = list(self._opened[-1]._views[view].batches.values())
        return pa.concat_tables(batches, promote_options="default") if batches else pa.table({})

    def break_(self) -> None:
        """Shut every handle that is open."""
        for backend in self._opened:
            if not backend._closed:
                self._close(backend)

    def _close(self, backend: MemoryBackend) -> None:
        backend._closed = True
        self._shut.append(backend)

    def heal(self) -> None:
        """Open them again."""
        for backend in self._shut:
            backend._closed = False
        self._shut = []
