"""Faults of what a backend gives away of itself: another one that is made of it is not its equal (X-4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from e2i_fs.backend import Key, OnlineRow
from e2i_fs.clock import to_us
from e2i_fs.testing.mutants.frame import Kept, Mutants

__all__ = ["COPYING"]

COPYING = Mutants()

_COPY = "test_g3_a_copy_of_the_backend_answers_the_same"

Piece = tuple[Sequence[Key], Sequence[OnlineRow], int]


@COPYING.backend("O-2", "Rows that wait for their time are not given away.", killed_by=_COPY)
class WhatWaitsStays(Kept):
    def online_rows(self, view: str) -> Iterator[Piece]:
        now = to_us(self._clock.now())
        for keys, rows, at_us in super().online_rows(view):
            there = [(key, row) for key, row in zip(keys, rows, strict=True) if row.event_us <= now]
            yield [key for key, _ in there], [row for _, row in there], at_us


@COPYING.backend(
    "O-2", "Of each key the greatest row is given away, which may lie ahead of the clock.", killed_by=_COPY
)
class OneRowOfAKey(Kept):
    def online_rows(self, view: str) -> Iterator[Piece]:
        for keys, rows, at_us in super().online_rows(view):
            first: dict[Key, OnlineRow] = {}
            for key, row in zip(keys, rows, strict=True):
                first.setdefault(key, row)
            yield list(first), list(first.values()), at_us


@COPYING.backend("O-2", "Rows are given away with a moment later than they are.", killed_by=_COPY)
class MomentOfTheNewest(Kept):
    def online_rows(self, view: str) -> Iterator[Piece]:
        for keys, rows, _ in super().online_rows(view):
            yield keys, rows, max(row.event_us for row in rows)


@COPYING.backend("X-4", "A thousand rows online are given away at most.", killed_by=_COPY)
class AThousandRows(Kept):
    def online_rows(self, view: str) -> Iterator[Piece]:
        for keys, rows, at_us in super().online_rows(view):
            yield keys[:1000], rows[:1000], at_us


@COPYING.backend("W-2", "Batches are given away under ids of their own.", killed_by=_COPY)
class IdsMadeAnew(Kept):
    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        for number, (_, rows) in enumerate(super().batches(view)):
            yield f"copy-{number}", rows


@COPYING.backend("X-4", "The batch that was appended last is not given away.", killed_by=_COPY)
class AllButTheLast(Kept):
    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        yield from list(super().batches(view))[:-1]


@COPYING.backend("X-4", "Batches of all views are given away for each.", killed_by=_COPY)
class BatchesOfEveryView(Kept):
    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        for name in sorted(self._views):
            yield from super().batches(name)
