"""The group *historical*."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["HistoricalTests"]


class HistoricalTests:
    """Tests of the group *historical*."""

    group: ClassVar[str] = "historical"
