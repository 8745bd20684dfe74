"""The group *failover*."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["FailoverTests"]


class FailoverTests:
    """Tests of the group *failover*."""

    group: ClassVar[str] = "failover"
