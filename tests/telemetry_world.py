"""A store behind failover that lives through a day of everything: what telemetry tells of it has every name there is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

import e2i_fs as fs
from e2i_fs.quality import audit
from e2i_fs.store import Store
from e2i_fs.testing.clock import FakeClock
from tests.breakable import OPENED, BreakablePlugin
from tests.kit import ask, at, batch, view

__all__ = ["REF", "SECRETS", "Observer", "busy", "free_port", "opened"]

SECRETS = ("hcp-of-the-test", "8675309", "a-password-of-the-test")
"""A key, a value and what an error says: none of them may be told."""
_KEY, _VALUE, _PASSWORD = SECRETS
REF = "hcp_stats:trx_count"


class Observer:
    """Keeps every event that it is told of."""

    def __init__(self) -> None:
        self.events: list[fs.Event] = []

    @fs.hookimpl
    def e2i_fs_on_event(self, event: fs.Event) -> None:
        self.events.append(event)

    def of(self, kind: type[fs.Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


@contextlib.contextmanager
def opened(folder: Path, clock: FakeClock, *, plugins: Sequence[object] = (), telemetry: Any = None) -> Iterator[Store]:
    """Open a store over two breakable backends in memory, with the telemetry asked for."""
    backends = [{"name": n, "backend": "breakable", "inner": "memory"} for n in ("primary", "standby")]
    failover = {"shadow_rate": 0, "deadline": 30, "background": False, "breaker": {"failures": 1, "successes": 1}}
    config: dict[str, Any] = {"project": "busy", "backends": backends, "failover": failover, "state": str(folder / "s")}
    config |= {} if telemetry is None else {"telemetry": telemetry}
    with fs.connect(config, clock=clock, plugins=[BreakablePlugin(), *plugins]) as store:
        yield store


def busy(store: Store, folder: Path, clock: FakeClock) -> None:
    """Register, write, read, materialise, check, fail, fail over, answer degraded, catch up and audit."""
    rows = [(_KEY, at(1), int(_VALUE)), (_KEY, at(700), 2)]
    stats = view(folder, rows, max_staleness=timedelta(hours=1), ttl=timedelta(days=1))
    pushed = fs.FeatureView(
        "pushed", entities=[fs.Entity("pushed_entity", join_keys={"hcp_id": fs.String})],
        schema=[fs.Field("x", fs.Int64)], source=fs.PushSource("source"),
    )  # fmt: skip
    store.apply([stats, pushed])
    store.apply([fs.FeatureService("service", features=[REF])])
    store.apply([fs.FeatureService("service", features=[REF, "pushed:x"])])
    store.delete("service")
    store.materialize(None)
    store.materialize_incremental()
    store.jobs().incremental()
    store.push("source", batch((_KEY, at(700), 1), fields=["x"]))
    store.write("hcp_stats", batch((_KEY, at(710), int(_VALUE))))
    clock.advance(timedelta(minutes=1))
    store.get_online_features([REF, "pushed:x"], [{"hcp_id": _KEY}, {"hcp_id": "other"}])
    answer = ask(store, [(_KEY, at(600)), ("other", at(600))])
    frame = answer.to_arrow()
    audit(frame.set_column(2, "trx_count", pa.array([2, None], pa.int64())), store, [REF])
    store.freshness()
    with contextlib.suppress(fs.UnknownFeatureError):
        store.get_online_features(["hcp_stats:no_such"], [{"hcp_id": _KEY}])

    primary, standby = OPENED["primary"], OPENED["standby"]
    primary.break_(error=_away)
    store.get_online_features([REF], [{"hcp_id": _KEY}])  # the standby's
    store.write("hcp_stats", batch((_KEY, at(715), 3)))  # which the primary misses
    clock.advance(timedelta(minutes=10))
    primary.heal()
    standby.break_(error=_away)
    store.get_online_features([REF], [{"hcp_id": _KEY}])  # the primary's, degraded
    primary.break_(error=_away)
    with contextlib.suppress(fs.NoEligibleBackendError):
        store.get_online_features([REF], [{"hcp_id": _KEY}])
    clock.advance(timedelta(minutes=10))
    primary.heal()
    standby.heal()
    store.catch_up()
    store.get_online_features([REF], [{"hcp_id": _KEY}])
    clock.advance(timedelta(hours=3))
    store.freshness()  # which finds a view stale


def _away() -> Exception:
    return fs.BackendUnavailableError(f"Cannot log in with {_PASSWORD}.")


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
