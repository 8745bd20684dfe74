"""What operators do with the backends of a store: bring them up to date, rebuild, spare, watch and compare them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from e2i_fs.cached import cached
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock
from e2i_fs.config import Config
from e2i_fs.errors import RequestError, did_you_mean
from e2i_fs.routing import Router

if TYPE_CHECKING:
    from e2i_fs.failover.differences import Diff
    from e2i_fs.failover.journal import JournalState
    from e2i_fs.failover.replay import CatchUp
    from e2i_fs.sorted_copies import Files, Optimized, SortedCopies, SortedCopy

__all__ = ["Operating"]


class Operating(ABC):
    """The part of `e2i_fs.store.Store` that is about its backends."""

    _clock: Clock
    _config: Config

    @cached
    def _copies(self) -> SortedCopies:
        from e2i_fs.sorted_copies import SortedCopies

        return SortedCopies.below(self._config.state)

    @property
    @abstractmethod
    def _router(self) -> Router:
        """The way to the backends."""

    def _named(self, catalog: Catalog, views: Sequence[str] | None) -> list[str]:
        """Return the names of views; of None all that are online."""
        if views is None:
            return [name for name, view in sorted(catalog.views.items()) if view.online]
        return [catalog.view(name).name for name in ([views] if isinstance(views, str) else views)]

    def catch_up(
        self, backend: str | None = None, views: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> dict[str, CatchUp]:
        """Make anew what backends lost and replay what they missed, in order; return a `CatchUp` for each (X-4).

        It happens by itself in the background, unless ``failover: {background: false}``. ``timeout`` in seconds.

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     {name: (told.replayed, told.done) for name, told in store.catch_up().items()}
        {'primary': (0, True), 'standby': (0, True)}
        """
        names = self._router.names if backend is None else (self._backend_named(backend),)
        return dict(self._router.catch_up(names, views=self._views(views), limit=timeout, rebuild=False))

    def rebuild(self, backend: str, views: Sequence[str] | None = None, *, from_sources: bool = False) -> CatchUp:
        """Make the rows of a backend anew, whatever is known of them, and let it answer unmarked again; return a `CatchUp`.

        From the journal where that has every write, else as a copy of a verified backend. ``from_sources`` is the last
        resort: it materialises, and does the writes that are kept; rows that were only pushed, and are kept no longer, are lost.

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     told = store.rebuild("standby")
        >>> told.rebuilt, told.done
        (('hcp_stats',), True)
        """
        name = self._backend_named(backend)
        chosen = self._views(views)
        return self._router.rebuild(
            name, list(self._router.catalog().views) if chosen is None else chosen, from_sources=from_sources
        )

    def readmit(self, backend: str, views: Sequence[str] | None = None) -> None:
        """Say that a backend was made whole by hand, so that it may answer unmarked again (X-4).

        For a backend that cannot be rebuilt by itself: make it whole first (apply, materialise, write again what only
        was pushed), for the store takes your word. All views, unless named.

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     store.readmit("standby", ["hcp_stats"])
        """
        self._router.readmit(self._backend_named(backend), self._views(views))

    def isolate(self, backend: str) -> None:
        """Call a backend no more until `release`: for maintenance, say. What is written meanwhile it gets by replay (X-1).

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     store.isolate("primary")
        ...     print(store.get_online_features("hcp_model", [{"hcp_id": "hcp_1"}]).provenance.served_by)
        ...     store.release("primary")
        ...     print(store.get_online_features("hcp_model", [{"hcp_id": "hcp_1"}]).provenance.served_by)
        standby
        primary
        """
        self._router.isolate(self._backend_named(backend))

    def observe(self, backend: str) -> None:
        """Call a backend whatever happens, until `release`: its failures are told, and do not open its breaker (X-1).

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     store.observe("primary")
        ...     [(backend.name, backend.liveness) for backend in store.health()]
        [('primary', 'observe-only'), ('standby', 'closed')]
        """
        self._router.observe(self._backend_named(backend))

    def release(self, backend: str) -> None:
        """End `isolate` and `observe`: the backend is called again, with a clean record of failures.

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     store.observe("primary")
        ...     store.release("primary")
        ...     store.health()[0].liveness
        'closed'
        """
        self._router.release(self._backend_named(backend))

    def journal(self) -> JournalState:
        """Return what the journal holds, as a `JournalState` (X-5).

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     told = store.journal()
        >>> told.entries, told.missed
        (1, {})
        """
        return self._router.journal_state()

    def diff(
        self, backend: str, other: str, views: Sequence[str] | None = None, *, sample: int = 100, seed: int = 0
    ) -> Diff:
        """Ask two backends the same of a sample of keys, online and in history, and compare; return a `Diff` (X-4, X-10).

        At most ``sample`` keys of each view, drawn by ``seed``. What cannot be compared is counted apart. Nothing is changed.

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     found = store.diff("primary", "standby")
        >>> found.same, found.mismatched
        (True, 0)
        """
        from e2i_fs.failover.diff import compared

        names = self._backend_named(backend), self._backend_named(other)
        return compared(self._router, *names, self._views(views), sample=sample, seed=seed, clock=self._clock)

    def optimize(self, views: str | Sequence[str] | None = None) -> list[Optimized]:
        """Sort the local Parquet files of views by key and time, into a copy beside the store's records; return `Optimized`.

        Retrieval then finds a row by bisection and reads little else, several times faster; an answer is the same as without.
        A copy stands for its files while these are unchanged. What is written later is read beside it, and a file that changes
        ends its use, until it is made again. It takes about the room of the files. Without ``views`` all are sorted that have
        local files, on every backend that reads them; a view that has none is an `UnsupportedError` when named.

        >>> import tempfile
        >>> import e2i_fs as fs
        >>> with fs.connect({"backend": "duckdb", "path": tempfile.mkdtemp()}) as store:
        ...     store.optimize()
        []
        """
        return [
            self._copies.make(files, backend=backend, limits=self._config.engine)
            for backend, files in self._files_of(views)
            if views is not None or files.files
        ]

    def sorted_copies(self, views: str | Sequence[str] | None = None) -> list[SortedCopy]:
        """Return whether retrieval reads the copies that `optimize` made: a `SortedCopy` for each view that has one, by backend.

        >>> import tempfile
        >>> import e2i_fs as fs
        >>> with fs.connect({"backend": "duckdb", "path": tempfile.mkdtemp()}) as store:
        ...     store.sorted_copies()
        []
        """
        copies = self._copies
        found = self._files_of(views, copies.has_any)
        return [copies.state(files, backend) for backend, files in found if files.files]

    def _files_of(
        self, views: str | Sequence[str] | None, wanted: Callable[[str, str], bool] | None = None
    ) -> Iterator[tuple[str, Files]]:
        """Yield the local files of views on each backend; of those only whose name and fingerprint are ``wanted``."""
        from e2i_fs.sorted_copies import Files

        for name in self._router.names:
            backend = self._router.backend(name)
            catalog = backend.definitions()
            for view in sorted(catalog.views) if views is None else dict.fromkeys(self._named(catalog, views)):
                definition, fingerprint = catalog.view(view), catalog.fingerprint(view)
                if wanted is not None and not wanted(view, fingerprint):
                    continue
                native = backend.capabilities.point_in_time
                parts = () if native else backend.scan(view, list(definition.features))
                yield name, Files.among(definition, fingerprint, catalog.join_keys(view), parts)

    def _backend_named(self, backend: str) -> str:
        if backend not in self._router.names:
            raise RequestError(f"Unknown backend {backend!r}.{did_you_mean(backend, self._router.names)}")
        return backend

    def _views(self, views: Sequence[str] | None) -> list[str] | None:
        return None if views is None else self._named(self._router.catalog(), views)
