"""Where to cut time into neighbouring splits: the ratios of the rows kept, met as near as whole instants allow.

Split ``k`` takes all instants from where it may begin up to its cut; the next may begin at the first instant that is
later than the cut's last instant by more than the embargo. So three cuts say everything, and the rows between are the
embargo's. Since rows counted up to a cut only grow with it, a box of cuts has bounds on each split's share, and a
best-first search over boxes finds cuts within the tolerance if there are any, without trying every triple.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Cuts", "Instants", "deviation", "find_cuts"]

# Shares nearer to the best than this are as good; a search for the last thousandth would take most of the time.
_NEAR_ENOUGH = 0.001
_BOXES, _BOXES_IN_NEED = 4_000, 50_000

_Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Instants:
    """Distinct times in order, in microseconds, with the number of rows at each, and the embargo between splits.

    ``upto[i]`` counts the rows of the first ``i`` instants; after ``i`` instants the next split begins at ``resume[i]``.
    """

    times: Sequence[int]
    counts: Sequence[int]
    embargo_us: int
    upto: list[int] = field(init=False)
    resume: list[int] = field(init=False)
    beyond: list[int] = field(init=False)

    def __post_init__(self) -> None:
        upto = [0, *itertools.accumulate(self.counts)]
        resume, reached = [0], 0
        for time in self.times:
            while reached < len(self.times) and self.times[reached] <= time + self.embargo_us:
                reached += 1  # not later by more than the embargo: equal is too near
            resume.append(reached)
        object.__setattr__(self, "upto", upto)
        object.__setattr__(self, "resume", resume)
        object.__setattr__(self, "beyond", [upto[r] for r in resume])

    def __len__(self) -> int:
        return len(self.times)

    @property
    def rows(self) -> int:
        """The number of rows of all instants."""
        return self.upto[-1]

    def parts(self, stops: Sequence[int]) -> list[tuple[int, int]]:
        """Return, for cuts after so many instants, the instants of each split as ``(first, one past the last)``."""
        return list(zip([0, *(self.resume[s] for s in stops)], [*stops, len(self)], strict=True))

    def sizes(self, stops: Sequence[int]) -> list[int]:
        """Return the number of rows of each split; negative where a split would end before it begins."""
        found, begun = [], 0
        for stop in stops:
            found.append(self.upto[stop] - begun)
            begun = self.beyond[stop]
        found.append(self.rows - begun)
        return found


@dataclass(frozen=True, slots=True)
class Cuts:
    """The best cuts found: after how many instants each split but the last ends, and the largest deviation of a share."""

    stops: tuple[int, ...]
    off: float


def deviation(sizes: Sequence[int], ratios: Sequence[float]) -> float:
    """Return the largest difference between a split's share of the rows kept and its ratio.

    >>> round(deviation([70, 20, 10], [0.6, 0.3, 0.1]), 3)
    0.1
    """
    kept = sum(sizes)
    return max(abs(n / kept - ratio) for n, ratio in zip(sizes, ratios, strict=True))


def find_cuts(instants: Instants, ratios: Sequence[float], minima: Sequence[int], tolerance: float) -> Cuts | None:
    """Return the cuts whose shares are nearest to ``ratios`` (to a thousandth), or None when nothing can be cut.

    ``minima`` has the least number of rows of each split. The answer depends on the instants and their counts alone.
    """
    best: Cuts | None = None

    def offer(stops: tuple[int, ...]) -> None:
        nonlocal best
        sizes = instants.sizes(stops)
        if all(n >= least for n, least in zip(sizes, minima, strict=True)):
            off = deviation(sizes, ratios)
            if best is None or (off, stops) < (best.off, best.stops):
                best = Cuts(stops, off)

    for stops in _guesses(instants, ratios):
        offer(stops)
    inside = (1, len(instants) - 1)
    first: _Box = (inside,) * (len(ratios) - 1)
    boxes = [(0.0, first)] if inside[0] <= inside[1] else []
    tried = 0
    while boxes:
        bound, box = heapq.heappop(boxes)
        good = best is not None and best.off <= tolerance
        if best is not None and (bound >= best.off - _NEAR_ENOUGH or (bound > tolerance and not good)):
            break
        tried += 1
        if tried > (_BOXES if good else _BOXES_IN_NEED):
            break
        offer(tuple((low + high) // 2 for low, high in box))
        for half in _halves(instants, box):
            least = _least_off(instants, half, ratios, minima)
            if least is not None:
                heapq.heappush(boxes, (least, half))
    return best


def _guesses(instants: Instants, ratios: Sequence[float]) -> Iterator[tuple[int, ...]]:
    """Yield cuts at the wanted counts, for the number of rows that the cuts before left."""
    kept = float(instants.rows)
    for _ in range(8):
        stops: list[int] = []
        begun = 0
        for ratio in ratios[:-1]:
            wanted = begun + ratio * kept
            stop = bisect_left(instants.upto, wanted)
            if stop > 1 and wanted - instants.upto[stop - 1] < instants.upto[min(stop, len(instants))] - wanted:
                stop -= 1
            stop = min(max(stop, bisect_right(instants.upto, begun), 1), len(instants))
            stops.append(stop)
            begun = instants.beyond[stop]
        yield tuple(stops)
        kept = float(max(sum(max(n, 0) for n in instants.sizes(stops)), 1))


def _halves(instants: Instants, box: _Box) -> list[_Box]:
    """Return the two halves of a box along the cut that is least known, none for a single point."""
    widths = [instants.upto[high] - instants.upto[low] for low, high in box]
    widest = max(range(len(box)), key=widths.__getitem__)
    low, high = box[widest]
    if low == high:
        return []
    middle = (low + high) // 2
    parts = ((low, middle), (middle + 1, high))
    return [(*box[:widest], part, *box[widest + 1 :]) for part in parts]


def _least_off(instants: Instants, box: _Box, ratios: Sequence[float], minima: Sequence[int]) -> float | None:
    """Return a lower bound on the deviation of all cuts in a box, None when none of them can be."""
    upto, beyond = instants.upto, instants.beyond
    least, most = [], []
    begun_least = begun_most = 0  # how many rows lie before the split, gap included
    for (low, high), minimum in zip((*box, (len(instants),) * 2), minima, strict=True):
        at_most = upto[high] - begun_least
        if at_most < minimum:
            return None
        most.append(at_most)
        least.append(max(upto[low] - begun_most, minimum))
        begun_least, begun_most = beyond[low], beyond[high]
    all_least, all_most = sum(least), sum(most)
    off = 0.0
    for n_least, n_most, ratio in zip(least, most, ratios, strict=True):
        low_share = n_least / (n_least + all_most - n_most)
        high_share = n_most / (n_most + all_least - n_least)
        off = max(off, low_share - ratio, ratio - high_share)
    return off
