"""What a store does over and over: it materialises, by itself or as jobs, and looks how fresh its views are."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from e2i_fs.backend import Backend, Position
from e2i_fs.cached import cached
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock
from e2i_fs.config import Config
from e2i_fs.entries import Perform
from e2i_fs.errors import UnknownFeatureError
from e2i_fs.ops.ledger import Ledger
from e2i_fs.question import PlainQuestion
from e2i_fs.routing import Router, loss_of
from e2i_fs.telemetry.events import Event

if TYPE_CHECKING:
    from e2i_fs.entries import Progress
    from e2i_fs.ops.checks import Checks
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.ops.job_records import JobRecords
    from e2i_fs.ops.jobs import Job, Jobs
    from e2i_fs.ops.materialize import MaterializationReport, MaterializationRun
    from e2i_fs.ops.runs import Runner
    from e2i_fs.ops.settings import MaterializationConfig

__all__ = ["Running"]


class Running(ABC):
    """The part of `e2i_fs.store.Store` that is about materialising and freshness."""

    _clock: Clock
    _config: Config
    _ledger: Ledger
    _perform: Perform

    @property
    @abstractmethod
    def _router(self) -> Router:
        """The way to the backends."""

    @abstractmethod
    def _named(self, catalog: Catalog, views: Sequence[str] | None) -> list[str]:
        """Return the names of views; of None all that are online."""

    @abstractmethod
    def _checks(self, look: Callable[[str], FreshnessReport], settings: MaterializationConfig) -> Checks:
        """Return what makes freshness checks, and keeps a record of them."""

    @abstractmethod
    def emit(self, make: Callable[[datetime], Event]) -> None:
        """Tell every observer."""

    @cached
    def _runs(self) -> Runner:
        from e2i_fs.ops.runs import Runner

        return Runner(lambda: self._router, self._config, self._ledger, self._perform, self._clock, self.emit)

    def materialize(
        self,
        start: datetime | None,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        progress: Progress | None = None,
        batch: timedelta | None = None,
        timeout: float | None = None,
        dry_run: bool = False,
    ) -> MaterializationReport:
        """Copy the newest row of each key with ``start <= event time <= end`` from history to online; return a report.

        ``start=None`` means from the beginning; ``end`` is at most now, and now by default. ``views`` are names; all
        online views by default. The report has one `MaterializationRun` per view and backend, each recorded (W-4).
        After a run from the beginning up to now, online and historical-at-now agree (O-6). ``batch`` reads the window
        in pieces of that length; a run that failed is resumed by the next. ``timeout`` limits the run of one view, in
        seconds. ``progress(view, done, total)`` is called with numbers of rows. ``dry_run=True`` only counts the rows
        to read and to write.

        Raises `RequestError` for an empty window or a ``batch`` that is not positive, `UnknownFeatureError` for an
        unknown view, `UnsupportedError` for one that is not online, `RunOverlapError` when another run of the view has
        been going on for a minute, and `RunTimeoutError` after ``timeout`` (W-4). Raises `BackendError` or
        `FailoverError` only when no backend could do it; a backend that failed while another succeeded is in the
        report's ``failed``.

        >>> from datetime import datetime
        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     report = store.materialize(None, datetime(2024, 3, 6))
        ...     [(run.view, run.outcome, run.rows_written) for run in report.runs]
        [('hcp_stats', 'succeeded', 1)]
        """
        from e2i_fs.ops.runs import Wanted

        wanted = Wanted("full", self._named(self._router.catalog(), views), start, end, batch, timeout, progress)
        return self._runs.preview(wanted) if dry_run else self._runs.run(wanted)

    def materialize_incremental(
        self,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        progress: Progress | None = None,
        timeout: float | None = None,
        dry_run: bool = False,
    ) -> MaterializationReport:
        """Copy to online whatever arrived since the last run, late rows included (W-3); return a report of the runs.

        The other arguments and the errors are those of `materialize`.

        >>> from datetime import datetime
        >>> from e2i_fs.testing import example_store
        >>> late = {"hcp_id": "hcp_2", "event_timestamp": datetime(2024, 3, 9), "created_at": datetime(2024, 3, 10),
        ...         "trx_count": 8, "engagement": 0.1, "converted": None}
        >>> with example_store() as store:
        ...     _ = store.materialize_incremental()
        ...     _ = store.push("crm", [late], to="offline")
        ...     _ = store.materialize_incremental()
        ...     store.get_online_features(["hcp_stats:trx_count"], [{"hcp_id": "hcp_2"}]).to_dict()
        {'hcp_id': ['hcp_2'], 'trx_count': [8]}
        """
        from e2i_fs.ops.runs import Wanted

        chosen = self._named(self._router.catalog(), views)
        wanted = Wanted("incremental", chosen, None, end, timeout=timeout, progress=progress)
        return self._runs.preview(wanted) if dry_run else self._runs.run(wanted)

    def jobs(
        self,
        settings: MaterializationConfig | str | Mapping[str, Any] | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        again: Callable[[Job, float], None] | None = None,
    ) -> Jobs:
        """Return `Jobs`, to materialise with time limits, retries, batches and records, by ``settings``.

        ``settings`` is the path of a materialisation.yaml, a mapping or a `MaterializationConfig`; None uses the
        configuration's ``materialisation``. ``sleep(seconds)`` waits between two tries. Before each retry
        ``again(job, seconds)`` is called, if given, with the `Job` as its last try left it and the seconds to wait.
        Raises `ConfigError` for an unknown key or view.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     report = store.jobs({"full": {"lookback_days": 3}}).incremental()
        >>> [(job.view, job.outcome) for job in report.jobs]
        [('hcp_stats', 'succeeded')]
        """
        from e2i_fs.ops.jobs import Jobs
        from e2i_fs.ops.settings import load_settings

        chosen = load_settings(self._config.materialisation if settings is None else settings, self._config.base)
        chosen.check_views(self._router.catalog().views, "materialisation")

        def views(names: Sequence[str] | None) -> list[str]:
            return self._named(self._router.catalog(), names)

        checks = self._checks(lambda view: self._freshness_of(view, chosen), chosen)
        return Jobs(self._runs, views, chosen, self._job_records, self._clock, sleep, checks=checks, again=again)

    @cached
    def _job_records(self) -> JobRecords:
        from e2i_fs.ops.job_records import JobRecords

        return JobRecords(self._ledger.records)

    def materialization_runs(self, view: str | None = None, limit: int = 100) -> list[MaterializationRun]:
        """Return the records of past runs, the newest first, at most ``limit``: of one view, or of all (W-4).

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     _ = store.materialize_incremental()
        ...     [(run.view, run.mode, run.outcome) for run in store.materialization_runs()]
        [('hcp_stats', 'incremental', 'succeeded')]
        """
        return self._runs.records(view, limit)

    def freshness(self, views: Sequence[str] | None = None, *, tell: bool = True) -> dict[str, FreshnessReport]:
        """Return a `FreshnessReport` by view name, for each online view or for those named (F-1 to F-3).

        Each check is reported to observers as an event; pass ``tell=False`` to skip that, for example in a polling
        loop. A view that is deleted meanwhile is left out. Raises `UnknownFeatureError` for an unknown view that was
        named, and `BackendError` or `FailoverError` when no backend can answer.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     _ = store.materialize_incremental()
        ...     report = store.freshness()["hcp_stats"]
        >>> print(report.status, report.age, report.max_staleness)
        STALE 2 days, 12:00:00 2 days, 0:00:00
        """
        from e2i_fs.ops.freshness import told

        reports = {}
        for name in self._named(self._router.catalog(), views):
            try:
                reports[name] = self._freshness_of(name, tell=tell)
            except UnknownFeatureError:
                if views is not None:
                    raise  # else it was deleted since, and nobody has named it
        if tell:
            told(reports.values(), self.emit)
        return reports

    def _freshness_of(
        self, view: str, settings: MaterializationConfig | None = None, *, tell: bool = True
    ) -> FreshnessReport:
        from e2i_fs.ops.freshness import report_of

        def position(backend: Backend, _: Catalog, views: list[str]) -> tuple[Position, bool]:
            return backend.position(views[0]), bool(loss_of(backend, views[0]))

        question = PlainQuestion(
            "online", lambda catalog: [catalog.view(view).name], lambda views: views, position, told=tell
        )
        answered = self._router.ask(question)
        limit, settings = answered.catalog.views[view].max_staleness, settings or self._config.materialisation
        warning = None
        if settings is not None:
            limit, warning = settings.max_staleness(view, limit), settings.warning(view, limit)
        known, lost = answered.value
        return report_of(view, known, limit, self._clock.now(), answered.provenance, warning=warning, lost=lost)
