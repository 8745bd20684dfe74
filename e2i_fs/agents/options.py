"""Options that are one word of a few: checked once, the nearest named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from e2i_fs.errors import ConfigError, did_you_mean

__all__ = ["hours", "one_of"]


def one_of(value: Any, choices: Sequence[str], where: str) -> Any:
    """Return ``value`` if it is one of ``choices``, else raise a `ConfigError` that names the nearest."""
    if isinstance(value, str) and value in choices:
        return value
    words = " or ".join(repr(c) for c in choices)
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    raise ConfigError(f"{where}={value!r}: use {words}.{hint}")


def hours(value: Any, where: str) -> timedelta | None:
    """Return a number of hours as a duration, None as None; raise a `ConfigError` for what is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigError(
            f"{where}={value!r}: give a number of hours above 0, or None for each view's own max_staleness."
        )
    return timedelta(hours=value)
