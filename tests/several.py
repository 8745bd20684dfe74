"""Stores behind failover, several of them on the same backends and records: as processes would be, each with scripts of faults."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import e2i_fs as fs
from e2i_fs.backend import Capabilities
from e2i_fs.clock import SystemClock
from e2i_fs.config import load_config
from e2i_fs.failover.router import Failover
from e2i_fs.ops.ledger import Ledger
from e2i_fs.plugins import Plugins
from e2i_fs.store import Store
from e2i_fs.testing.disk import Disk, Kept
from e2i_fs.testing.faults import Faulty

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = fs.FeatureView(
    "v", entities=[fs.Entity("e", join_keys={"k": fs.String})], schema=[fs.Field("x", fs.Int64)],
    source=fs.PushSource("p"),
)  # fmt: skip


class _OverANetwork(Kept):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, local=False)


class Several:
    """Disks of some backends in memory, and records in ``folder``. `open` opens them as one process would."""

    def __init__(
        self, folder: Path, names: Sequence[str] = ("primary", "standby"), *, local: bool = False, **failover: Any
    ):
        self.names = names
        self.disks = {name: Disk() for name in names}
        self._kind = Kept if local else _OverANetwork
        self._state = str(folder / "state")
        self._failover = {"background": False, "shadow_rate": 0, **failover}
        self._opened: list[Store] = []

    def open(self, names: Sequence[str] | None = None) -> tuple[Any, dict[str, Faulty]]:
        """Return a store and its backends, on which faults can be put."""
        clock, names = SystemClock(), names or self.names
        config = load_config({"backends": [{"name": n, "backend": "memory"} for n in names], "state": self._state,
                              "failover": self._failover})  # fmt: skip
        backends = {
            n: Faulty(self._kind(n, clock, self.disks.setdefault(n, Disk())), clock, n, spend=time.sleep) for n in names
        }
        ledger = Ledger(self._state)
        openers = {n: (lambda b=b: b) for n, b in backends.items()}
        router = Failover(openers, config.failover, ledger, clock, lambda event: None)
        router.open_all()
        self._opened.append(Store(router, config, Plugins(), ledger, clock))
        return self._opened[-1], backends

    def close(self) -> None:
        """Close every store."""
        for store in self._opened:
            store.close()


def batch(key: str, x: int, second: int = 0) -> dict[str, list[Any]]:
    """Return one row."""
    return {"k": [key], "event_timestamp": [BEGIN + timedelta(seconds=second)], "x": [x]}


def get(store: Any, key: str = "a", ref: str = "v:x") -> tuple[Any, str, bool]:
    """Return the value online, who answered, and whether it was marked."""
    answer = store.get_online_features([ref], [{"k": key}])
    return answer.to_dict()[ref.partition(":")[2]][0], answer.provenance.served_by, answer.provenance.degraded
