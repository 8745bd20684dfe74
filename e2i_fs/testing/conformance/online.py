"""The group *online*."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["OnlineTests"]


class OnlineTests:
    """Tests of the group *online*."""

    group: ClassVar[str] = "online"
