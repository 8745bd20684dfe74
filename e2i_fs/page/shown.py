"""What the page asks of a store, and nothing more of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from e2i_fs.catalog import Catalog

if TYPE_CHECKING:
    from e2i_fs.failover.journal import JournalState
    from e2i_fs.ops.event_history import EventRecord
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.jobs import Jobs
    from e2i_fs.ops.materialize import MaterializationRun
    from e2i_fs.ops.statistics import FeatureStatistics, Where
    from e2i_fs.routing import BackendHealth

__all__ = ["Shown"]


class Shown(Protocol):
    """A store, as far as the page looks at it; `e2i_fs.store.Store` is one."""

    def catalog(self) -> Catalog:
        """Return all that is registered."""
        ...

    def freshness(self, views: Sequence[str] | None = None) -> Mapping[str, FreshnessReport]:
        """Return how old each view's newest row is."""
        ...

    def freshness_history(self, view: str | None = None, *, days: float = 7.0) -> Sequence[FreshnessReport]:
        """Return what was found at each check of the last ``days``."""
        ...

    def view_statistics(self, view: str, *, where: Where = "offline") -> Mapping[str, FeatureStatistics]:
        """Return the statistics of each feature of a view, offline or online."""
        ...

    def events(
        self, *, days: float = 7.0, kinds: Sequence[str] | None = None, limit: int = 1000
    ) -> Sequence[EventRecord]:
        """Return what happened in the last ``days``."""
        ...

    def health(self, deadline: float = 1.0) -> Sequence[BackendHealth]:
        """Ask each backend whether it is up."""
        ...

    def journal(self) -> JournalState:
        """Return what the journal holds."""
        ...

    def jobs(self) -> Jobs:
        """Return what does materialisation as jobs, and has kept their records."""
        ...

    def materialization_runs(self, view: str | None = None, limit: int = 100) -> Sequence[MaterializationRun]:
        """Return the records of past runs, the newest first."""
        ...
