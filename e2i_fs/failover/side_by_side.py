"""Online reads repeated on two backends: whether they answer the same, and how long each takes (X-10)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2i_fs.backend import Backend, Key
from e2i_fs.catalog import Catalog
from e2i_fs.clock import Clock, to_us
from e2i_fs.failover.diff import Asked, Counts, IncomparableError, Pair, pair_of
from e2i_fs.failover.differences import Diff
from e2i_fs.failover.member import Member

__all__ = ["Latency", "SideBySide", "side_by_side"]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long single online reads of one backend took: how many there were, and quantiles in milliseconds.

    A quantile is the time of a read that was made: the smallest that so large a share of all took at most (nearest rank).
    None without reads.

    >>> Latency.of([0.004, 0.001, 0.002])
    Latency(reads=3, p50=2.0, p95=4.0, p99=4.0)
    """

    reads: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Return the quantiles of times in seconds."""
        ordered = sorted(seconds)

        def rank(percent: int) -> float | None:
            place = -(-len(ordered) * percent // 100)
            return round(ordered[place - 1] * 1000, 6) if ordered else None

        return cls(len(ordered), rank(50), rank(95), rank(99))


@dataclass(frozen=True, slots=True)
class SideBySide:
    """What came of it: the comparison, and the latency by backend."""

    diff: Diff
    latency: Mapping[str, Latency]


def side_by_side(
    router: Any, backend: str, other: str, views: Sequence[str] | None, *, reads: int, seed: int, clock: Clock
) -> SideBySide:
    """Read ``reads`` keys of each online view, one at a time, from both backends of ``router``, by turns the first.

    Keys are drawn from both by ``seed``, and again from the first when there are fewer. An answer that differs is judged as
    `compared` does: only when it differs again and nothing was written in between. Nothing is changed.
    """
    pair, catalog = pair_of(router, backend, other, sample=reads, seed=seed, clock=clock)
    chosen = (
        list(dict.fromkeys(views)) if views is not None else [n for n, v in sorted(catalog.views.items()) if v.online]
    )
    run = _Run(pair, catalog, reads, random.Random(seed), clock)  # noqa: S311 - an order, no secret
    diff = Diff(backend, other, tuple(run.view(view) for view in chosen))
    return SideBySide(diff, {name: Latency.of(times) for name, times in run.times.items()})


class _Run:
    def __init__(self, pair: Pair, catalog: Catalog, reads: int, chance: random.Random, clock: Clock) -> None:
        self._pair = pair
        self._catalog = catalog
        self._reads = reads
        self._chance = chance
        self._clock = clock
        self.times: dict[str, list[float]] = {member.name: [] for member in pair.members}

    def view(self, view: str) -> Any:
        """Return what came of one view."""
        names = tuple(member.name for member in self._pair.members)
        counts = Counts(view, names)
        try:
            self._check(view)
            keys = list(self._pair.drawn(view))
            if keys:
                differing = self._read(view, [keys[i % len(keys)] for i in range(self._reads)], counts)
                self._pair.settle(counts, "online", differing)
        except IncomparableError as error:
            counts.give_up(1, str(error))
            return counts.done(0)
        return counts.done(len(keys))

    def _check(self, view: str) -> None:
        self._pair.check(view)
        for member in self._pair.members:
            if not self._catalog.views[view].online or not member.backend.capabilities.online:
                raise IncomparableError(f"{member.name} answers nothing online for it")

    def _read(self, view: str, keys: list[Key], counts: Counts) -> list[Asked]:
        self._chance.shuffle(keys)
        first, second = self._pair.members
        differing: list[Asked] = []
        for number, key in enumerate(keys):
            asked = Asked(key, to_us(self._clock.now()))
            order = (first, second) if number % 2 == 0 else (second, first)
            answers = {member.name: self._timed(member, view, asked) for member in order}
            if answers[first.name].same(answers[second.name]):
                counts.matched += 1
            else:
                differing.append(asked)
        return differing

    def _timed(self, member: Member, view: str, asked: Asked) -> Any:
        def work(backend: Backend) -> Any:
            begun = self._clock.monotonic()
            rows = backend.online_read(view, [asked.key], at_us=asked.at_us)
            self.times[member.name].append(self._clock.monotonic() - begun)
            return self._pair.rows(view, rows)

        return self._pair.called(member, work)[0]
