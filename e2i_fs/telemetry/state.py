"""What is read of a store when somebody collects: who is up, who is whole, how far behind, how old. Never for longer than allowed.

Each part is read in a thread of its own. One that hangs is left to itself: its numbers are missing, `e2i_fs.state.read` says
so, and no second thread is spent on it before the first has come back.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2i_fs.errors import E2IError
from e2i_fs.forks import renew_after_fork
from e2i_fs.pool import DaemonPool
from e2i_fs.telemetry import names
from e2i_fs.telemetry.measuring import Measurement
from e2i_fs.telemetry.names import Label, Metric

if TYPE_CHECKING:
    from e2i_fs.failover.journal import JournalState
    from e2i_fs.ops.freshness import FreshnessReport
    from e2i_fs.routing import BackendHealth
    from e2i_fs.telemetry.watched import WatchedStore

__all__ = ["State", "StateReader"]

_log = logging.getLogger("e2i_fs.telemetry")


@dataclass(frozen=True, slots=True)
class State:
    """A store at one moment. A part that could not be read in time is None; so is a view's freshness that could not be had."""

    backends: Sequence[str]
    health: Sequence[BackendHealth] | None
    journal: JournalState | None
    freshness: Mapping[str, FreshnessReport | None] | None

    def measured(self) -> Iterator[Measurement]:
        """Yield every number of it."""
        parts = {"health": self.health, "journal": self.journal, "freshness": self.freshness}
        for part, found in parts.items():
            yield Measurement(names.STATE_READ, float(found is not None), (part,))
        if self.health is None:  # who does not say in time that it is up is not
            for i, name in enumerate(self.backends):
                yield Measurement(names.BACKEND_UP, 0.0, (name, "standby" if i else "primary"))
        for backend in self.health or ():
            yield from _backend(backend)
        if self.journal is not None:
            yield Measurement(names.JOURNAL_SIZE, self.journal.bytes)
            yield Measurement(names.JOURNAL_LIMIT, self.journal.max_bytes)
        for view, report in (self.freshness or {}).items():
            yield from _freshness(view, report)


def _backend(backend: BackendHealth) -> Iterator[Measurement]:
    name = backend.name
    yield Measurement(names.BACKEND_UP, float(backend.up), (name, backend.role))
    if backend.latency is not None:
        yield Measurement(names.PING_DURATION, backend.latency, (name,))
    yield from _one_of(names.LIVENESS, names.LIVE, backend.liveness, name)
    yield Measurement(names.HEDGED, backend.hedged, (name,))
    for view, parity in backend.parity.items():
        yield from _one_of(names.PARITY, names.SAME, parity, name, view)
    for view in {**backend.parity, **backend.missed}:
        yield Measurement(names.JOURNAL_LAG, backend.missed.get(view, 0), (name, view))
    for result in names.RESULT.values:
        yield Measurement(names.SHADOW, backend.shadow.get(result, 0), (name, result))


def _freshness(view: str, report: FreshnessReport | None) -> Iterator[Measurement]:
    # A check that errors has failed (F-2): it is no sign of being fresh.
    yield from _one_of(names.FRESHNESS, names.AGE_STATUS, "UNKNOWN" if report is None else report.status.value, view)
    if report is not None and report.age is not None:
        yield Measurement(names.VIEW_AGE, report.age.total_seconds(), (view,))
    if report is not None and report.max_staleness is not None:
        yield Measurement(names.VIEW_LIMIT, report.max_staleness.total_seconds(), (view,))


def _one_of(metric: Metric, label: Label, state: str, *labels: str) -> Iterator[Measurement]:
    """Yield 1 for the state that it is in, and 0 for each other that there is."""
    for each in label.values:
        yield Measurement(metric, float(each == state), (*labels, each))


class StateReader:
    """Reads the state of one store, in at most ``deadline`` seconds; from several threads at once too."""

    def __init__(self, store: WatchedStore, deadline: float) -> None:
        self._names = store.backend_names
        self._deadline = deadline
        each = deadline / (len(self._names) + 1)
        self._parts: dict[str, Callable[[], Any]] = {
            "health": lambda: store.health(each),
            "journal": store.journal,
            "freshness": lambda: _freshness_of(store),
        }
        self._pools = {part: DaemonPool(f"e2i_fs telemetry {part}", 1) for part in self._parts}
        self._closed = False
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin anew in a forked child: what was under way is the parent's."""
        self._under_way: dict[str, concurrent.futures.Future[Any]] = {}
        self._lock = threading.Lock()

    def read(self) -> State | None:
        """Return the state now; None once it is closed."""
        with self._lock:
            if self._closed:
                return None
            for part, work in self._parts.items():
                before = self._under_way.get(part)
                if before is None or before.done():  # else it is waited for, by as many as ask
                    self._under_way[part] = self._pools[part].submit(work)
            begun = dict(self._under_way)
        concurrent.futures.wait(begun.values(), self._deadline)
        return State(self._names, *(_got(part, begun[part]) for part in self._parts))

    def close(self) -> None:
        """Read no more; a part that hangs ends when it does."""
        with self._lock:
            self._closed = True
            for pool in self._pools.values():
                pool.close()


def _got(part: str, future: concurrent.futures.Future[Any]) -> Any:
    """Return what a part gave; None of one that has given nothing yet, or that failed: `e2i_fs.state.read` tells."""
    if not future.done():
        return None
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, E2IError):  # a defect, in a thread whose caller only collects numbers
        _log.error("Reading the %s of a store for telemetry failed", part, exc_info=error)
    return None


def _freshness_of(store: WatchedStore) -> dict[str, FreshnessReport | None]:
    """Return the freshness of each online view, None where it cannot be told; observers are not told of it."""
    found: dict[str, FreshnessReport | None] = {}
    for view in store.list_feature_views():
        if view.online:
            try:
                found[view.name] = store.freshness([view.name], tell=False)[view.name]
            except E2IError:
                found[view.name] = None
    return found
