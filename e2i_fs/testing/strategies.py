"""Hypothesis strategies for everything the contract speaks of: dtypes, values, zones, histories, worlds, write orders.

The hard cases are there by construction, not by luck: event times come from a grid of a few steps, so that they
tie and interleave; entity rows are asked at a row's event time, created time or TTL edge, or a microsecond beside
it. `e2i_fs.testing.hazards` counts how often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from e2i_fs.catalog import Catalog
from e2i_fs.dtypes import DType
from e2i_fs.testing.catalogs import draw_catalog
from e2i_fs.testing.draw import Draw
from e2i_fs.testing.values import ALL_KINDS, KEY_KINDS, draw_dtype, draw_keys, draw_value
from e2i_fs.testing.worlds import World, draw_world

__all__ = ["Drawn", "catalogs", "draw_orders", "dtypes", "keys", "orders", "values", "worlds", "zones"]

T = TypeVar("T")


class Drawn:
    """Choices of Hypothesis, as a `e2i_fs.testing.draw.Draw`: ``Drawn(draw)`` inside a composite strategy."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        """See `Draw`."""
        return self._draw(_integers(low, high))

    def choice(self, options: Sequence[T]) -> T:
        """See `Draw`."""
        return options[self._draw(_integers(0, len(options) - 1))]

    def chance(self, share: float) -> bool:
        """See `Draw`; False is the simpler."""
        return self._draw(_integers(0, 99)) >= 100 - round(share * 100)

    def listed(self, make: Callable[[Draw], T], low: int, high: int) -> list[T]:
        """See `Draw`. A shorter list is simpler, and any element can be left out."""
        return self._draw(st.lists(_made(make), min_size=low, max_size=high))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """See `Draw`; the order given is the simplest."""
        return list(self._draw(st.permutations(list(items))))


@lru_cache(maxsize=1024)
def _integers(low: int, high: int) -> SearchStrategy[int]:
    return st.integers(low, high)


@st.composite
def _made(draw: DrawFn, make: Callable[[Draw], T]) -> T:
    return make(Drawn(draw))


@st.composite
def worlds(draw: DrawFn, /, **more: Any) -> World:
    """Return a strategy of worlds: views with their histories in files and batches, entity rows, and a present moment.

    ``more`` are the keyword arguments of `e2i_fs.testing.worlds.draw_world`: the kinds of dtype, whether views have
    a created column, bounds of the numbers of rows.
    """
    return draw_world(Drawn(draw), draw(_integers(0, 255)), **more)


@st.composite
def catalogs(draw: DrawFn, /, **more: Any) -> Catalog:
    """Return a strategy of catalogues of all kinds of definition, with awkward names and texts.

    ``more`` are the keyword arguments of `e2i_fs.testing.catalogs.draw_catalog`: the kinds of source and of dtype.
    """
    return draw_catalog(Drawn(draw), **more)


@st.composite
def dtypes(draw: DrawFn, kinds: Sequence[str] = ALL_KINDS) -> DType:
    """Return a strategy of feature dtypes of ``kinds``, nested ones to two levels."""
    return draw_dtype(Drawn(draw), tuple(kinds))


@st.composite
def values(draw: DrawFn, dtype: DType, *, missing: float = 0.15) -> Any:
    """Return a strategy of plain Python values of ``dtype``; about ``missing`` of them are None."""
    return draw_value(Drawn(draw), dtype, missing=missing)


@st.composite
def keys(draw: DrawFn, kinds: Sequence[str] = KEY_KINDS) -> tuple[list[DType], list[tuple[Any, ...]]]:
    """Return a strategy of join keys: one to three dtypes, and two to four keys that collide when joined as text."""
    drawn = Drawn(draw)
    types = drawn.listed(lambda inner: DType(inner.choice(list(kinds))), 1, 3)
    return types, draw_keys(drawn, types)


@st.composite
def orders(draw: DrawFn, count: int) -> list[list[int]]:
    """Return a strategy of ways to write ``count`` rows: every number at least once, some twice, in batches, in any order."""
    return draw_orders(Drawn(draw), count)


def draw_orders(draw: Draw, count: int) -> list[list[int]]:
    """Return one of `orders`."""
    numbers = draw.shuffled([*range(count), *(n for n in range(count) if draw.chance(0.3))])
    batches: list[list[int]] = [[]]
    for number in numbers:
        if batches[-1] and draw.chance(0.5):
            batches.append([])
        batches[-1].append(number)
    return [batch for batch in batches if batch]


def zones() -> SearchStrategy[tzinfo]:
    """Return a strategy of time zones: fixed offsets to the minute, and zones with summer time."""
    named = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Monrovia", "Pacific/Kiritimati"]
    offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.sampled_from(named).map(ZoneInfo) | offsets
