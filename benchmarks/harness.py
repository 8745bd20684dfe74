"""Interleaved timing: one repeat of every contender, then the next repeat, so that noise falls on all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

Row = tuple[str, float, float, float]


def interleaved(contenders: Mapping[str, Callable[[], object]], repeats: int) -> list[Row]:
    """Return for each contender: name, median ms, fastest ms, and the median ratio to the first one's."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for work in contenders.values():
        work()  # warm
    gc.disable()
    try:
        for _ in range(repeats):
            for name, work in contenders.items():
                begun = time.perf_counter()
                work()
                times[name].append((time.perf_counter() - begun) * 1000)
    finally:
        gc.enable()
    first = next(iter(times.values()))
    return [
        (
            name,
            statistics.median(taken),
            min(taken),
            statistics.median(t / f for t, f in zip(taken, first, strict=True)),
        )
        for name, taken in times.items()
    ]
