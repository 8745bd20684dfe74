"""Backends in memory whose rows lie on a `Disk`, where another handle finds them: stores that survive their process."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from typing import Any

from e2i_fs.backend import Capabilities
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock
from e2i_fs.errors import BackendUnavailableError
from e2i_fs.testing.memory import MemoryBackend, _Kept
from e2i_fs.testing.native import NativeMemoryBackend

__all__ = ["Disk", "Kept", "KeptNative"]


class Disk:
    """What outlives the handles of one store: definitions and rows, whatever a test notes, and whether it is away."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.catalog = Catalog()
        self.views: defaultdict[str, Any] = defaultdict(_Kept)
        self.notes: dict[Any, Any] = {}
        self.away = False

    def copy(self) -> Disk:
        """Return another disk with what is on this one now: a snapshot, or a backup."""
        made = Disk()
        with self.lock:
            made.catalog = self.catalog
            for view, kept in self.views.items():
                made.views[view] = _Kept(dict(kept.batches), dict(kept.online), kept.sequence)
        return made

    def lose_online(self) -> None:
        """Lose what is online and the count of writes, and keep history and definitions: a Redis started empty."""
        with self.lock:
            for view, kept in self.views.items():
                self.views[view] = _Kept(kept.batches)

    def lose_everything(self) -> None:
        """Lose all rows and definitions."""
        with self.lock:
            self.views.clear()
            self.catalog = Catalog()


class Kept(MemoryBackend):
    """`MemoryBackend` whose rows lie on a `Disk`, where another handle finds them: a store like those on disk."""

    def __init__(self, name: str, clock: Clock, disk: Disk | None = None) -> None:
        self.disk = Disk()
        super().__init__(name, clock)
        self.disk = disk or self.disk
        self._lock = self.disk.lock
        self._views = self.disk.views

    @property
    def _catalog(self) -> Catalog:
        return self.disk.catalog

    @_catalog.setter
    def _catalog(self, catalog: Catalog) -> None:
        self.disk.catalog = catalog

    @property
    def capabilities(self) -> Capabilities:
        """Those of the backend below, and ``persistent``."""
        return replace(super().capabilities, persistent=True)

    def close(self) -> None:
        """Let go of this handle, and keep everything."""
        self._closed = True

    def _check_open(self) -> None:
        if self.disk.away:
            raise BackendUnavailableError("The store is away. Wait until it is back.")
        super()._check_open()


class KeptNative(Kept, NativeMemoryBackend):
    """`NativeMemoryBackend` whose rows lie on a `Disk`."""
