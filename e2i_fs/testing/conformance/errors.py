"""The group *errors*."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["ErrorsTests"]


class ErrorsTests:
    """Tests of the group *errors*."""

    group: ClassVar[str] = "errors"
