"""The testing kit: the contract as an oracle, adversarial worlds, conformance tests, a fake clock, a store in memory.

Imported lazily, for the entry point of the in-memory backend lives here too (G-1).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2i_fs.testing.clock import FakeClock
    from e2i_fs.testing.conformance import BackendConformance
    from e2i_fs.testing.findings import Finding, HarnessError
    from e2i_fs.testing.harness import Deviation, Harness
    from e2i_fs.testing.store import example_store, memory_store
    from e2i_fs.testing.worlds import World, make_world

__all__ = [
    "BackendConformance",
    "Deviation",
    "FakeClock",
    "Finding",
    "Harness",
    "HarnessError",
    "World",
    "example_store",
    "make_world",
    "memory_store",
]

_HOMES = {
    "BackendConformance": "e2i_fs.testing.conformance",
    "Deviation": "e2i_fs.testing.harness",
    "FakeClock": "e2i_fs.testing.clock",
    "Finding": "e2i_fs.testing.findings",
    "Harness": "e2i_fs.testing.harness",
    "HarnessError": "e2i_fs.testing.findings",
    "World": "e2i_fs.testing.worlds",
    "example_store": "e2i_fs.testing.store",
    "make_world": "e2i_fs.testing.worlds",
    "memory_store": "e2i_fs.testing.store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
