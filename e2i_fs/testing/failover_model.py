"""What a store behind failover may answer: the writes that were acknowledged, and all that may have become of the others.

A write that raised may have happened or not. So the model of a view is a set of worlds; each unmarked answer leaves those
that it agrees with. None left is an answer that no history of the writes explains (X-3, X-5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from e2i_fs.dtypes import DType, String
from e2i_fs.testing import oracle
from e2i_fs.testing.oracle import Answer, Row

__all__ = ["Change", "Fields", "ViewModel", "World", "materialized", "redefined", "written"]

Fields = tuple[tuple[str, DType], ...]
"""The fields of a view, in schema order."""


class World(NamedTuple):
    """One thing that a view may be: its fields, the rows of its history, and the rows that were brought online."""

    fields: Fields
    history: frozenset[Row]
    known: frozenset[Row]

    def online(self, key: Sequence[Any], t: datetime, ttl: timedelta | None) -> Answer:
        """Return the answer of a key at ``t`` (O-2)."""
        return self._answer(self.known, key, t, ttl)

    def historical(self, key: Sequence[Any], t: datetime, ttl: timedelta | None) -> Answer:
        """Return the answer of an entity row (P-1, P-2)."""
        return self._answer(self.history, key, t, ttl)

    def _answer(self, rows: Iterable[Row], key: Sequence[Any], t: datetime, ttl: timedelta | None) -> Answer:
        own = [row for row in rows if row.key == tuple(key)]
        return oracle.answer(own, t, [dtype for _, dtype in self.fields], ttl=ttl)


Change = Callable[[World], World]


def written(fields: Fields, rows: Sequence[Row], to: str) -> Change:
    """Return what a batch does; to a view of other fields it does nothing, for it is refused."""

    def change(world: World) -> World:
        if world.fields != fields:
            return world
        history = world.history if to == "online" else world.history | set(rows)
        known = world.known if to == "offline" else world.known | set(rows)
        return World(fields, history, known)

    return change


def materialized(start: datetime | None, end: datetime) -> Change:
    """Return what a run over a window does, both its ends included (O-6)."""

    def change(world: World) -> World:
        window = {r for r in world.history if r.event and (start is None or start <= r.event) and r.event <= end}
        return world._replace(known=world.known | window)

    return change


def redefined(before: Fields, after: Fields) -> Change:
    """Return what an apply does: rows get the new fields as missing; where it is breaking they go (R-4)."""
    breaking = after[: len(before)] != before

    def refit(rows: frozenset[Row]) -> frozenset[Row]:
        missing = (None,) * (len(after) - len(before))
        return frozenset(row._replace(values=(*row.values, *missing)) for row in rows)

    def change(world: World) -> World:
        if world.fields != before:
            return world
        if breaking:
            return World(after, frozenset(), frozenset())
        return World(after, refit(world.history), refit(world.known))

    return change


class ViewModel:
    """One view: what was done to it, and what of that is certain."""

    def __init__(self, fields: Fields, ttl: timedelta | None) -> None:
        self.ttl = ttl
        self.worlds = {World(fields, frozenset(), frozenset())}
        self.tried: set[Row] = set()
        """Every row that anybody tried to write, whatever came of it."""

    def surely(self, change: Change) -> None:
        """It was acknowledged: it happened in every world, now at the latest."""
        self.worlds = {change(world) for world in self.worlds}

    def maybe(self, change: Change) -> None:
        """It raised: it may have happened or not."""
        self.worlds |= {change(world) for world in self.worlds}

    def saw(self, fits: Callable[[World], bool]) -> bool:
        """Keep the worlds that an unmarked answer fits; return False, and keep all, when there is none."""
        left = {world for world in self.worlds if fits(world)}
        if not left:
            return False
        self.worlds = left
        return True

    def expected(self, ask: Callable[[World], Any]) -> list[Any]:
        """Return what each world would have answered, each once."""
        found: list[Any] = []
        for world in self.worlds:
            if (one := ask(world)) not in found:
                found.append(one)
        return found

    def may_have_come(self, key: Sequence[Any], got: Mapping[str, Any]) -> bool:
        """Return whether values of a marked answer are those of a row that somebody tried to write (X-9)."""
        values = [v for v in got.values() if v is not None]
        if not values:
            return True
        return any(row.key == tuple(key) and set(values) <= {*row.values, *map(str, row.values)} for row in self.tried)


def as_stored(value: int, dtype: DType) -> Any:
    """Return a number as a value of ``dtype``, so that a field may change its dtype."""
    return str(value) if dtype is String else value
