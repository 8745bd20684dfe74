"""The testing kit: the contract as an oracle, adversarial worlds, a fake clock, a store in memory.

Imported lazily, for the entry point of the in-memory backend lives here too (G-1).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.testing.clock import FakeClock
    from e2i_fs.testing.store import memory_store
    from e2i_fs.testing.worlds import World, make_world

__all__ = ["FakeClock", "World", "make_world", "memory_store"]

_HOMES = {
    "FakeClock": "e2i_fs.testing.clock",
    "World": "e2i_fs.testing.worlds",
    "make_world": "e2i_fs.testing.worlds",
    "memory_store": "e2i_fs.testing.store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
