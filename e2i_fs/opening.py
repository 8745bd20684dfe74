"""Opening a store: configuration, plugins, records, and the way to the backends."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from e2i_fs.backend import Backend
from e2i_fs.clock import Clock, as_clock
from e2i_fs.config import BackendConfig, Config, TelemetryConfig, load_config
from e2i_fs.ops.event_recorder import EventRecorder
from e2i_fs.ops.ledger import Ledger
from e2i_fs.plugins import Plugins
from e2i_fs.routing import Router, Single
from e2i_fs.store import Store

if TYPE_CHECKING:
    from e2i_fs.telemetry.setup import Telemetry
    from e2i_fs.telemetry.spans import Spans

__all__ = ["connect"]


def connect(
    config: str | os.PathLike[str] | Mapping[str, Any] | Config,
    *,
    clock: Clock | Callable[[], datetime] | None = None,
    plugins: Sequence[object] = (),
) -> Store:
    """Open a feature store; use it as a context manager, or call `Store.close`.

    ``config`` is the path of a YAML file, a mapping, or the result of `load_config`. ``clock`` replaces the machine's
    clock: a `Clock`, or a function that returns the present moment (T-5). ``plugins`` are plugin modules or objects in
    addition to the installed ones. Raises `ConfigError` (`UnknownBackendError`, `PluginLoadError`,
    `DuplicateBackendError`) for a configuration that cannot be used, and `BackendError` when the only backend cannot be
    opened.

    >>> from e2i_fs import connect
    >>> import tempfile
    >>> with connect({"backend": "duckdb", "path": tempfile.mkdtemp()}) as store:
    ...     store.list_feature_views()
    []
    """
    checked = load_config(config)
    timer = as_clock(clock)
    telemetry = None if checked.telemetry is None else _telemetry(checked.telemetry)
    found = Plugins(plugins if telemetry is None else [*plugins, *telemetry.observers])
    for backend in checked.backends:
        found.spec(backend.kind)  # a backend that is not installed fails here, whatever its place
    ledger = Ledger(checked.state)
    found.listen(EventRecorder(ledger.records, timer))
    try:
        if checked.alerts is not None:
            from e2i_fs.alerts.delivery import Alerts

            found.listen(Alerts(checked.alerts, checked.project, ledger.records, timer))
        router = _router(checked, found, ledger, timer, None if telemetry is None else telemetry.spans)
    except BaseException:
        found.close()
        ledger.close()
        raise
    if not found.has_observers and telemetry is None:
        return Store(router, checked, found, ledger, timer)
    from e2i_fs.telemetry.watched import WatchedStore

    return WatchedStore.opened(router, checked, found, ledger, timer, telemetry)


def _telemetry(config: TelemetryConfig) -> Telemetry:
    from e2i_fs.telemetry.setup import Telemetry

    return Telemetry.of(config)


def _router(config: Config, plugins: Plugins, ledger: Ledger, clock: Clock, spans: Spans | None) -> Router:
    def opener(backend: BackendConfig) -> Callable[[], Backend]:
        return lambda: plugins.open(
            backend.kind, name=backend.name, options=backend.options, clock=clock, base=config.base
        )

    (only, *others) = config.backends
    if not others and not _others_took_part(ledger, only.name):
        return Single(only.name, opener(only)(), clock)
    from e2i_fs.failover.router import Failover

    openers = {b.name: opener(b) for b in config.backends}
    router = Failover(openers, config.failover, ledger, clock, plugins.emit, spans=spans)
    router.open_all()
    return router


def _others_took_part(ledger: Ledger, name: str) -> bool:
    """Return whether the store has had other backends: what is written without them must be noted, for when they are back (X-4)."""
    if not ledger.records.query("SELECT 1 FROM sqlite_master WHERE name = 'members'"):
        return False
    return bool(ledger.records.query("SELECT 1 FROM members WHERE name <> ?", (name,)))
