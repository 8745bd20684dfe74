"""Where choices come from: a seed, or Hypothesis. One generator of worlds is written against both.

A seed gives bulk: one number is one world on every machine. Hypothesis gives the smallest counterexample, for it
can make the same choices again with less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol, TypeVar

__all__ = ["Draw", "Seeded"]

T = TypeVar("T")


class Draw(Protocol):
    """Makes the choices of a generator. The first option and the lowest number are the simplest."""

    def integer(self, low: int, high: int) -> int:
        """Return a whole number with ``low <= n <= high``."""
        ...

    def choice(self, options: Sequence[T]) -> T:
        """Return one of ``options``."""
        ...

    def chance(self, share: float) -> bool:
        """Return True in about this share of cases."""
        ...

    def listed(self, make: Callable[[Draw], T], low: int, high: int) -> list[T]:
        """Return ``low`` to ``high`` things made one after the other."""
        ...

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in any order."""
        ...


class Seeded:
    """Choices of a seed.

    >>> Seeded(7).integer(0, 99) == Seeded(7).integer(0, 99)
    True
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable, no secret

    def integer(self, low: int, high: int) -> int:
        """See `Draw`."""
        return self._random.randint(low, high)

    def choice(self, options: Sequence[T]) -> T:
        """See `Draw`."""
        return self._random.choice(options)

    def chance(self, share: float) -> bool:
        """See `Draw`."""
        return self._random.random() < share

    def listed(self, make: Callable[[Draw], T], low: int, high: int) -> list[T]:
        """See `Draw`."""
        return [make(self) for _ in range(self._random.randint(low, high))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """See `Draw`."""
        return self._random.sample(list(items), len(items))
