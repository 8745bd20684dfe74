"""Materialising views of a store: each on every backend that takes it, each run recorded and told of (W-3, W-4)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from e2i_fs.clock import Clock, from_us, to_us
from e2i_fs.config import Config
from e2i_fs.entries import Entry, Live, Perform, Progress
from e2i_fs.errors import E2IError, RequestError, UnsupportedError
from e2i_fs.ops.ledger import Ledger
from e2i_fs.ops.materialize import MaterializationReport, MaterializationRun, preview_view, run_of
from e2i_fs.pit.times import moment_to_us
from e2i_fs.telemetry.events import Event, Materialized

if TYPE_CHECKING:
    from e2i_fs.routing import Router

__all__ = ["Runner", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be materialised: of each of ``views`` the rows from ``start`` (None: the first) to ``end`` (None: now).

    ``batch`` cuts the window into pieces of so long, ``timeout`` is how many seconds a run may take, ``job`` the job
    that it belongs to.
    """

    mode: str
    views: Sequence[str]
    start: datetime | None = None
    end: datetime | None = None
    batch: timedelta | None = None
    timeout: float | None = None
    progress: Progress | None = None
    job: str | None = None


class Runner:
    """Does runs for one store."""

    def __init__(
        self, router: Callable[[], Router], config: Config, ledger: Ledger, perform: Perform, clock: Clock,
        emit: Callable[[Callable[[datetime], Event]], None],
    ) -> None:  # fmt: skip
        self._router = router
        self._config = config
        self._ledger = ledger
        self._perform = perform
        self._clock = clock
        self.emit = emit

    def run(self, wanted: Wanted) -> MaterializationReport:
        """Do it; a backend that could not is told of in the report. Raises when no backend could."""
        router, (start_us, end_us), batch_us = self._router(), self._window(wanted), _batch_us(wanted.batch)
        runs: list[MaterializationRun] = []
        # A later run of the same kind does all that an earlier one would have done.
        kind = f"materialize:{start_us}" if wanted.end is None else f"materialize:{start_us}:{end_us}"
        details = {"mode": wanted.mode, "start_us": start_us, "end_us": end_us}
        if batch_us is not None:
            details["batch_us"] = batch_us
        for name in self._online(wanted.views):
            until = None if wanted.timeout is None else self._clock.monotonic() + wanted.timeout
            live = Live(wanted.progress, until, wanted.timeout or 0.0, wanted.job)
            entry = Entry(name, kind, uuid.uuid4().hex, "", details, live=live)
            for outcome in router.write(entry, self._perform):
                run = _told(
                    outcome.backend,
                    outcome.value,
                    outcome.error,
                    name,
                    wanted.mode,
                    (start_us, end_us),
                    self._clock.now(),
                )
                runs.append(run)
                self.emit(lambda at, r=run: Materialized(at, r.view, r.backend, r.rows_written, r.outcome))  # type: ignore[misc]
        return MaterializationReport(tuple(runs))

    def preview(self, wanted: Wanted) -> MaterializationReport:
        """Say what each backend would read and write now; nothing is changed."""
        router, within, batch_us = self._router(), self._window(wanted), _batch_us(wanted.batch)

        def previews() -> Iterator[MaterializationRun]:
            for view in self._online(wanted.views):
                for name in router.names:
                    try:
                        backend = router.backend(name)
                        planned = preview_view(
                            backend, name, backend.definitions(), view, mode=wanted.mode, start_us=within[0],
                            end_us=within[1], ledger=self._ledger, clock=self._clock, batch_us=batch_us,
                        )  # fmt: skip
                        yield planned
                    except E2IError as error:
                        if len(router.names) == 1:
                            raise
                        yield _told(name, None, error, view, wanted.mode, within, self._clock.now())

        return MaterializationReport(tuple(previews()))

    def records(self, view: str | None, limit: int, *, job: str | None = None) -> list[MaterializationRun]:
        """Return the records of past runs, newest first, of one job if it is named."""
        self._router()  # a closed store says so
        return [run_of(record) for record in self._ledger.runs(view, limit, job=job)]

    def moment(self, given: datetime | None, what: str) -> datetime | None:
        """Return a time as an aware one in UTC, by the store's rule for naive ones (T-1)."""
        return None if given is None else from_us(moment_to_us(given, what, reject_naive=self._config.reject_naive))

    def _online(self, views: Sequence[str]) -> Sequence[str]:
        catalog = self._router().catalog()
        for name in views:
            if not catalog.views[name].online:
                raise UnsupportedError(f"View {name!r} is not online (online=False), so it cannot be materialised.")
        return views

    def _window(self, wanted: Wanted) -> tuple[int | None, int]:
        """Return the window in microseconds; an end later than now is now. Raises when it is empty."""
        now_us, reject = to_us(self._clock.now()), self._config.reject_naive
        start_us = None if wanted.start is None else moment_to_us(wanted.start, "start", reject_naive=reject)
        end_us = now_us if wanted.end is None else min(now_us, moment_to_us(wanted.end, "end", reject_naive=reject))
        if start_us is not None and start_us > end_us:
            raise RequestError(
                f"The window is empty: start {from_us(start_us).isoformat()} is after end {from_us(end_us).isoformat()} "
                "(an end later than now is now)."
            )
        return start_us, end_us


def _batch_us(batch: timedelta | None) -> int | None:
    if batch is None:
        return None
    if not isinstance(batch, timedelta) or batch <= timedelta(0):
        raise RequestError(f"batch is {batch!r}; give a positive timedelta, such as timedelta(days=1).")
    return batch // timedelta(microseconds=1)


def _told(
    backend: str, value: Any, error: Exception | None, view: str, mode: str, within: tuple[int | None, int], at: datetime
) -> MaterializationRun:  # fmt: skip
    """Return the record of what became of a run on one backend, the record of a failure if it could not do it."""
    if error is None:
        done: MaterializationRun = value
        return done
    start_us, end_us = within
    return MaterializationRun(
        "", backend, view, mode, None if start_us is None else from_us(start_us), from_us(end_us), "failed",
        0, 0, None, at, timedelta(0), f"{type(error).__name__}: {error}",
    )  # fmt: skip
