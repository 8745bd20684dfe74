"""Telling observers that an audit found something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from e2i_fs.telemetry.events import Event, LeakageFound

__all__ = ["Announces", "announce"]


@runtime_checkable
class Announces(Protocol):
    """A store that has observers: `e2i_fs.store.Store` is one, a test double need not be."""

    def emit(self, make: Callable[[datetime], Event]) -> None:
        """Tell every observer of the event that ``make`` makes of the store's time."""
        ...


def announce(store: Any, cells: Mapping[str, int]) -> None:
    """Emit a `LeakageFound` for each view with wrong cells, if the store has observers to tell."""
    if not isinstance(store, Announces):
        return
    for view, count in cells.items():
        store.emit(lambda at, v=view, n=count: LeakageFound(at, v, n))  # type: ignore[misc]
