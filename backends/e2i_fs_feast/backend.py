"""The backend: a Feast repository behind the nine methods of `e2i_fs.backend.Backend`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import pyarrow as pa

from e2i_fs.backend import Capabilities, Key, OnlineRow, ParquetRows, Position, ScanPart
from e2i_fs.batch import check_form
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, to_us
from e2i_fs.errors import BackendUnavailableError, UnsupportedError
from e2i_fs.forks import RenewedLock
from e2i_fs.frozen import FrozenMap
from e2i_fs.reading import source_parts, stored_source
from e2i_fs.segments import Segments
from e2i_fs.sources import ParquetSource, SQLSource
from e2i_fs_feast.adopt import adopt
from e2i_fs_feast.apply import apply_catalog, clean_up, prepare
from e2i_fs_feast.errors import driver_errors
from e2i_fs_feast.history import feast_rows
from e2i_fs_feast.online import Online
from e2i_fs_feast.options import Options
from e2i_fs_feast.postgres_segments import PostgresSegments, open_segments
from e2i_fs_feast.registry import Registered, Snapshot, snapshot
from e2i_fs_feast.repository import Repository, Signature
from e2i_fs_feast.state import State
from e2i_fs_feast.stores import open_online_store
from e2i_fs_feast.timeouts import DEFAULT_TIMEOUT, has_default_timeout

__all__ = ["FeastBackend"]

_log = logging.getLogger("e2i_fs.feast")
_SOURCES = frozenset({"parquet", "push"})
_WITH_POSTGRES = _SOURCES | {"sql"}
_SHORTEST = 0.1  # seconds: a write of some hundred keys is one command, and must not fail for being large
_CERTIFIED = ("sqlite", "redis")  # the online stores with which docs/certificates has a full certificate
_CERTIFIED_OFFLINE = (
    "dask",
    "file",
    "duckdb",
    "postgres",
    "spark",
)  # the offline stores, likewise; a warehouse is untested


class FeastBackend:
    """A Feast repository. Threads and processes may share it: what is shared is on disk or in the online store.

    ``skipped`` says what of an adopted repository has no neutral form, one sentence each.
    """

    def __init__(self, name: str, options: Options, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        with driver_errors(f"feast backend {name!r}: opening {options.folder}"):
            self.repository = Repository.open(options)
            self.store = open_online_store(self.repository, options)
            self.state = State(self.repository.own / "feast.db", partial(self.repository.lock, "state"))
            self.segments = open_segments(self.repository, options)
            self._adopt = partial(adopt, project=self.repository.config.project, folder=self.repository.folder)
            self._seen: tuple[Signature | None, Snapshot] | None = None
            self._reading = RenewedLock()
            self._closed = False
            prepare(self, options)
        self._online = (
            None if self.store is None else Online(self.store, self.state, self.snapshot, lambda: to_us(clock.now()))
        )

    @property
    def capabilities(self) -> Capabilities:
        """Parquet and push sources, with a PostgreSQL offline store SQL too; every dtype; local without Redis and PostgreSQL."""
        local = (self.store is None or self.store.local) and isinstance(self.segments, Segments)
        config = self.repository.config
        kind = getattr(config.online_store, "type", None)
        certified = kind in _CERTIFIED and config.offline_store.type in _CERTIFIED_OFFLINE
        return Capabilities(
            append=True, online=self.store is not None, sources=_sources(self.segments), local=local, persistent=True,
            certified="full" if certified else "none",
        )  # fmt: skip

    @property
    def skipped(self) -> tuple[str, ...]:
        """What of the repository has no neutral form."""
        return tuple(map(str, self.snapshot().skipped))

    @property
    def clock(self) -> Clock:
        """The one clock (T-5)."""
        return self._clock

    def snapshot(self) -> Snapshot:
        """Return the registry as it is now; it is read again only when the file is another."""
        self._check_open()
        with driver_errors(f"feast backend {self._name!r}: reading {self.repository.registry}"):
            seen, there = self._seen, self.repository.signature()
            if seen is not None and seen[0] == there:
                return seen[1]
            if seen is not None and there is None:
                # It was there: a folder that was moved or unmounted is no empty store.
                raise BackendUnavailableError(f"The Feast registry {self.repository.registry} is gone; restore it.")
            with self._reading:
                signature, registry = self.repository.read()
                if self._seen is None or self._seen[0] != signature:
                    previous = self._seen[1] if self._seen is not None else None
                    made = snapshot(registry, self.repository.config.project, self._adopt, previous)
                    if made.skipped and (self._seen is None or self._seen[1].skipped != made.skipped):
                        _log.warning(
                            "%s has what e2i_fs cannot serve:\n  - %s",
                            self.repository.folder,
                            "\n  - ".join(map(str, made.skipped)),
                        )
                    self._seen = (signature, made)
                return self._seen[1]

    def definitions(self) -> Catalog:
        """Return the kept catalogue as it is now (R-5)."""
        return self.snapshot().catalog

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """Replace the kept catalogue if it is still the ``expected`` one (R-1)."""
        self._check_open()
        with driver_errors(f"feast backend {self._name!r}: applying to {self.repository.registry}"):
            return apply_catalog(self, definitions, expected)

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """Return the files of the view's source and the segments written through e2i_fs, for the engine to read.

        Only where Feast's source is neither local Parquet nor PostgreSQL do the rows come through Feast's offline store. The
        hints reach PostgreSQL.
        """
        found = self._registered(view)
        with driver_errors(f"feast backend {self._name!r}: reading the history of {view!r}"):
            parts: list[ScanPart] = []
            if isinstance(stored_source(found.view), ParquetSource | SQLSource):
                parts += source_parts(found.view, found.join_keys, found.base, keys=keys, until_us=until_us)
            elif not found.ours:
                parts += feast_rows(found, self.repository.config, keys=keys, until_us=until_us)
            paths = self.segments.paths(found.history)
            if paths:
                later = frozenset({*found.view.features, found.view.created_column or ""})
                parts.append(ParquetRows(paths, FrozenMap(), later))
            return parts

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """Add checked rows as one segment, once for each ``batch_id`` (W-2)."""
        while True:
            found = self._registered(view)
            check_form(rows, found.view, found.join_keys)
            try:
                with driver_errors(f"feast backend {self._name!r}: adding to the history of {view!r}"):
                    return self.segments.append(found.history, rows, batch_id=batch_id)
            except BackendUnavailableError:
                # A deletion takes the folder away: then the view is unknown, or another one, whose folder is another.
                if self._registered(view).history == found.history:
                    raise

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """Return for each key the row that answers at ``at_us``, or None (O-2, O-5)."""
        found = self._registered(view)
        with driver_errors(f"feast backend {self._name!r}: reading {view!r} online"):
            return self._required().read(found, keys, at_us=at_us)

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge rows into the online state by the contract's order (O-1)."""
        self._registered(view)
        with driver_errors(f"feast backend {self._name!r}: writing {view!r} online"):
            return self._required().write(view, keys, rows, at_us=at_us)

    def position(self, view: str) -> Position:
        """Return how far the online state of ``view`` is.

        Of rows that Feast itself materialised, sqlite says how many and how new they are. For redis nothing is said:
        Feast records windows there, and a window's end is no event time (F-1).
        """
        found = self._registered(view)
        with driver_errors(f"feast backend {self._name!r}: asking how far {view!r} is"):
            return self._required().position(found)

    def lost(self, view: str) -> int:
        """Return the number of the loss of online rows that ``view`` has not recovered from; see `e2i_fs.backend.KnowsLosses`."""
        found = self._registered(view)
        with driver_errors(f"feast backend {self._name!r}: asking whether {view!r} has lost rows"):
            return self._required().lost(found)

    def recovered(self, view: str, loss: int, *, until_us: int | None = None) -> bool:
        """Answer for ``view`` again if its rows are back since ``loss``; see `e2i_fs.backend.KnowsLosses`."""
        found = self._registered(view)
        with driver_errors(f"feast backend {self._name!r}: ending the loss of rows of {view!r}"):
            return self._required().recovered(found, loss, until_us=until_us)

    def set_timeout(self, read: float, write: float) -> None:
        """Pass a deadline shorter than the default of half a second on to Redis; one that the configuration gives stays."""
        if self.store is not None and has_default_timeout(self.repository.config.online_store):
            self.store.set_timeout(min(DEFAULT_TIMEOUT, max(_SHORTEST, read)))

    def ping(self, deadline: float) -> float:
        """Ask the online store and look at the registry."""
        self._check_open()
        started = self._clock.monotonic()
        with driver_errors(f"feast backend {self._name!r}: ping"):
            if self.repository.signature() is None:
                raise BackendUnavailableError(
                    f"The Feast registry {self.repository.registry} is gone; restore it, or apply again."
                )
            if self.store is not None:
                self.store.ping(deadline)
            if isinstance(self.segments, PostgresSegments):
                self.segments.ping(deadline)
        return self._clock.monotonic() - started

    def close(self) -> None:
        """Let go of connections; harmless twice."""
        if not self._closed:
            self._closed = True
            with driver_errors(f"feast backend {self._name!r}: closing"):
                self.state.close()
                if self.store is not None:
                    self.store.close()

    # ---- for the modules of this package ------------------------------------------------------------------

    def forget(self) -> None:
        """Read the registry anew the next time, whatever its file looks like."""
        if self._seen is not None:
            self._seen = ((0, 0, 0), self._seen[1])

    def clean_up(self) -> None:
        """Remove online rows that a crash or an unreachable store left behind."""
        clean_up(self)

    def _registered(self, view: str) -> Registered:
        now = self.snapshot()
        return now.views[view] if view in now.views else now.views[now.catalog.view(view).name]

    def _required(self) -> Online:
        self._check_open()
        if self._online is None:
            kind = "none" if self.repository.config.online_store is None else self.repository.config.online_store.type
            raise UnsupportedError(
                f"Backend {self._name!r}: Feast online stores of type {kind!r} cannot compare before they write (O-1), "
                "so this one is not used. Use sqlite or redis."
            )
        return self._online

    def _check_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError(f"The backend {self._name!r} is closed; connect again.")


def _sources(segments: Segments | PostgresSegments) -> frozenset[str]:
    return _WITH_POSTGRES if isinstance(segments, PostgresSegments) else _SOURCES
