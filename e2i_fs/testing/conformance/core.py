"""The group *core*."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["CoreTests"]


class CoreTests:
    """Tests of the group *core*."""

    group: ClassVar[str] = "core"
