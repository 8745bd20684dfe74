"""Random numbers that depend on the seed and a name only, and the days of the generated period."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAY", "Days", "Floats", "Ints", "draws", "sigmoid", "wander"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY = 86_400
"""Seconds in a day. Times in the generator are whole seconds since the Unix epoch, UTC."""


@dataclass(frozen=True, slots=True)
class Days:
    """The period: ``count`` whole UTC days, the last of which closes at or before ``until``."""

    until: int
    count: int

    @classmethod
    def before(cls, until: datetime, count: int = 548) -> Days:
        """Return the ``count`` days (18 months) before ``until``; a naive time is read as UTC."""
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        return cls((aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1), count)

    @property
    def closes(self) -> Ints:
        """The moment at which each day is over (int64 seconds, shape ``(count,)``), oldest first."""
        last = self.until // DAY * DAY
        return last - DAY * np.arange(self.count - 1, -1, -1, dtype=np.int64)

    @property
    def start(self) -> int:
        """The moment at which the first day begins."""
        return int(self.closes[0]) - DAY


def draws(seed: int, name: str, block: int = 0) -> np.random.Generator:
    """Return a generator of random numbers for one purpose; others do not disturb it."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode()), block])))


def sigmoid(x: Any) -> Any:
    """Return the logistic function of ``x``: 0 to 1, element by element."""
    return 1.0 / (1.0 + np.exp(-np.asarray(x)))


def wander(random: np.random.Generator, rows: int, days: int, step: float, every: int = 7) -> Floats:
    """Return slow random walks around zero, float64 of shape ``(rows, days)``: a new step each ``every`` days.

    The walk is pulled back to zero (half-life about three months), so its spread does not grow.
    """
    knots = days // every + 2
    steps = random.normal(0.0, step, size=(rows, knots))
    for i in range(1, knots):
        steps[:, i] += 0.95 * steps[:, i - 1]
    at = np.arange(days) / every
    left = at.astype(np.int64)
    weight = at - left
    return np.asarray(steps[:, left] * (1.0 - weight) + steps[:, left + 1] * weight)
