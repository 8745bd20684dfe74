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
        """Rebuild lost rows of backends and replay missed writes, in order; return `CatchUp` by backend (X-4).

        This also happens by itself in the background, unless ``failover: {background: false}``. ``backend`` and
        ``views`` limit it, otherwise it covers all; ``timeout`` is in seconds for each backend. What stopped it, such
        as a backend that is down, is in ``CatchUp.error``. Raises `RequestError` for an unknown backend.

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     {name: (told.replayed, told.done) for name, told in store.catch_up().items()}
        {'primary': (0, True), 'standby': (0, True)}
        """
        names = self._router.names if backend is None else (self._backend_named(backend),)
        return dict(self._router.catch_up(names, views=self._views(views), limit=timeout, rebuild=False))

    def rebuild(self, backend: str, views: Sequence[str] | None = None, *, from_sources: bool = False) -> CatchUp:
        """Rebuild the rows of a backend from scratch, whatever its state; return a `CatchUp` (X-4).

        Afterwards it may answer without being marked degraded again. The rows are copied from a verified backend or, if
        there is none, taken from the journal, if that still has every write. ``from_sources=True`` is the last resort:
        it materialises, then repeats the writes that the journal still has. Rows that were only pushed and are no
        longer in the journal are lost. What stopped it is in ``CatchUp.error``.

        Raises `RequestError` for an unknown backend, and `UnsupportedError` when the store has one backend, or for
        ``from_sources`` when a verified backend could be copied instead; then nothing is done.

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
        """Declare a backend repaired by hand, so that it may answer again without being marked degraded (X-4).

        This is for a backend that cannot be rebuilt automatically. Repair it first (apply, materialise, write again
        what was only pushed): the store takes your word for it. So it does for an only backend that refuses to answer
        because it lost rows. ``views`` are names; all by default. Raises `RequestError` for an unknown backend, and
        `BackendError` when one that would say whether it lost rows (`KnowsLosses`) cannot be reached.

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     store.readmit("standby", ["hcp_stats"])
        """
        self._router.readmit(self._backend_named(backend), self._views(views))

    def isolate(self, backend: str) -> None:
        """Stop calling a backend until `release`, for example during maintenance (X-1).

        Writes made meanwhile are replayed to it afterwards. Raises `RequestError` for an unknown backend, and
        `UnsupportedError` when the store has only one.

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
        """Call a backend until `release` however often it fails: failures do not open its breaker (X-1).

        Its failures are still reported. Raises `RequestError` for an unknown backend.

        >>> from e2i_fs.testing import example_store
        >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
        >>> with example_store(two) as store:
        ...     store.observe("primary")
        ...     [(backend.name, backend.liveness) for backend in store.health()]
        [('primary', 'observe-only'), ('standby', 'closed')]
        """
        self._router.observe(self._backend_named(backend))

    def release(self, backend: str) -> None:
        """End `isolate` or `observe`: call the backend again, with its record of failures cleared (X-1).

        Raises `RequestError` for an unknown backend.

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
        """Return what the write journal holds, as a `JournalState` (X-5); all zero for a store with one backend.

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
        """Compare the answers of two backends for a sample of keys, online and in history; return a `Diff` (X-4, X-10).

        At most ``sample`` keys of each view are compared, drawn by ``seed``: the same seed draws the same keys. What
        cannot be compared is counted separately. Nothing is changed. Raises `RequestError` for an unknown backend, for
        twice the same one, or for a ``sample`` below 1.

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
        """Copy views' local Parquet files, sorted by key and time, to speed up retrieval; return `Optimized`.

        Retrieval then finds a row by bisection and reads little else, several times faster; the answers stay the same.
        Copies are kept beside the store's records, one for each view and backend, and take about as much space as the
        files. Files added later are read as well; once a copied file changes, the copy is not used until you run this
        again.

        ``views`` are names. By default every view with local files is sorted, on every backend that reads them. Raises
        `UnsupportedError` for a named view without local Parquet files, or when the store keeps its records in memory,
        `ThrottledError` while another process sorts the view, and `BackendUnavailableError` when the copy cannot be
        written.

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
        """Return whether retrieval reads the copies that `optimize` made: a `SortedCopy` for each.

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
