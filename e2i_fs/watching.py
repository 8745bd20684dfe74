"""What a store remembers of itself: what happened to it, and how fresh its views were."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from e2i_fs.cached import cached
from e2i_fs.clock import Clock
from e2i_fs.ops.ledger import Ledger
from e2i_fs.ops.periods import since_us
from e2i_fs.plugins import Plugins

if TYPE_CHECKING:
    from e2i_fs.ops.checks import Checks
    from e2i_fs.ops.event_history import EventRecord
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.freshness_history import FreshnessHistory
    from e2i_fs.ops.settings import MaterializationConfig
    from e2i_fs.telemetry.events import Event

__all__ = ["Watching"]


class Watching(ABC):
    """The part of `e2i_fs.store.Store` that looks back."""

    _clock: Clock
    _ledger: Ledger
    _plugins: Plugins

    @abstractmethod
    def emit(self, make: Callable[[datetime], Event]) -> None:
        """Tell every observer."""

    @cached
    def _freshness_history(self) -> FreshnessHistory:
        from e2i_fs.ops.freshness_history import FreshnessHistory

        return FreshnessHistory(self._ledger.records)

    def _checks(self, look: Callable[[str], FreshnessReport], settings: MaterializationConfig) -> Checks:
        """Return what makes freshness checks by ``settings``, with ``look``, and keeps a record of them."""
        from e2i_fs.ops.checks import Checks
        from e2i_fs.ops.freshness import told

        def tell(reports: Iterable[FreshnessReport]) -> None:
            told(reports, self.emit)

        keep = timedelta(days=settings.freshness.history_days)
        return Checks(look, tell, self._freshness_history, keep, self._clock)

    def freshness_history(self, view: str | None = None, *, days: float = 7.0) -> list[FreshnessReport]:
        """Return the freshness checks of the last ``days``, the oldest first: of one view, or of all (F-3).

        `Jobs.check_freshness` records its checks, whichever process runs it, and so does each job that succeeds; a
        plain `Store.freshness` does not. A check that failed appears as UNKNOWN with its ``error``. The records of a
        view that is no longer registered stay until they are ``freshness.history_days`` old. Raises `RequestError`
        unless ``days`` is a number above 0 and at most 36,500.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     _ = store.jobs().check_freshness()
        ...     [(report.view, str(report.status)) for report in store.freshness_history()]
        [('hcp_stats', 'UNKNOWN')]
        """
        return self._freshness_history.since(since_us(self._clock.now(), days), view)

    def events(self, *, days: float = 7.0, kinds: Sequence[str] | None = None, limit: int = 1000) -> list[EventRecord]:
        """Return what happened in the last ``days``, in any process: at most ``limit`` `EventRecord`, newest first.

        ``kind`` and ``about`` of each say what it was. Recorded are applied changes, jobs that ended, runs that failed,
        stale views, failovers, changes of breakers and parity, replayed writes and leakage found, but not reads and
        writes. ``kinds`` keeps only these event names. The same event repeated within one minute is one record with a
        ``count``. Events of another process appear within a few seconds (F-3). Raises `RequestError` for an unknown
        kind, with the nearest names, or for ``days`` or ``limit`` out of range.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     [(event.kind, event.count) for event in store.events()]
        [('Applied', 1)]
        """
        from e2i_fs.ops.event_history import EventHistory

        self._plugins.flush()
        return EventHistory(self._ledger.records).since(since_us(self._clock.now(), days), kinds, limit)
