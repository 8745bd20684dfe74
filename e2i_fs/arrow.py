"""pyarrow, imported when it is first used: opening a store and answering online take half as long without it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["pa", "pc", "pq"]


class _WhenUsed:
    """Stands for a module until an attribute of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(import_module(self._name), attribute)
        setattr(self, attribute, found)  # the next time it is an attribute like any other
        return found


pa: Any = _WhenUsed("pyarrow")
pc: Any = _WhenUsed("pyarrow.compute")
pq: Any = _WhenUsed("pyarrow.parquet")
