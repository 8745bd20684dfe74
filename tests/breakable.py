"""The backend ``breakable``: any other backend behind a switch that a test holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from e2i_fs.plugins import BackendSpec, Plugins, hookimpl
from e2i_fs.testing.faults import Breakable

OPENED: dict[str, Breakable] = {}
"""The breakable backends opened last, by the name they have in their store."""


class BreakablePlugin:
    """A plugin for ``connect(plugins=[...])``; the option ``inner`` names the backend behind the switch."""

    @hookimpl
    def e2i_fs_backends(self) -> list[BackendSpec]:
        return [BackendSpec(name="breakable", api=1, factory="tests.breakable:open_breakable")]


def open_breakable(*, name: str, options: Mapping[str, Any], clock: Any, base: str) -> Breakable:
    """Open the backend that the option ``inner`` names, behind a switch."""
    rest = {k: v for k, v in options.items() if k != "inner"}
    OPENED[name] = Breakable(Plugins().open(options["inner"], name=name, options=rest, clock=clock, base=base))
    return OPENED[name]
