"""How our cost grows: with entity rows, history, rows a key, views, features, entities online, threads and processes.

One axis at a time, all else fixed, each point the median of interleaved repeats in processes of their own; the exponent is
fitted by least squares on the logarithms, over all points and over the two last, where fixed costs weigh least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.busy import ALONE, disturbed
from benchmarks.data import Kept
from benchmarks.growth_fit import exponent
from benchmarks.race import Measured, Runner, race

PIT, ONLINE = "benchmarks.pit_peers:Ours", "benchmarks.online_peers:Ours"


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that grows: its name, the sizes, what is asked of whom at a size, what stays fixed."""

    id: str
    name: str
    sizes: Sequence[int]
    what: str
    given: Callable[[int], Mapping[str, Any]]
    fixed: str
    times: int = 1


def axes(kept: Kept, *, quick: bool) -> list[Axis]:
    """Return the axes of retrieval and of online reads."""
    base = 100_000 if quick else 1_000_000  # rows of history where they are fixed
    few = base // 10

    def pit(rows: int, per_key: int, asked: int, *, views: int = 1, features: int = 10, **more: Any) -> dict[str, Any]:
        histories = [kept.history(rows, per_key, number=v, features=features, created=bool(more)) for v in range(views)]
        return {"histories": histories, "entities": kept.entities(asked, rows // per_key), "features": features} | more

    known = {"created": True, "known": True}
    per_key_keys = base // 1000
    return [
        Axis("entity rows", "entity rows", [base // 10, base // 3, base], PIT, lambda n: pit(base, 50, n),
             f"a history of {base:,} rows"),
        Axis("history rows", "rows of history", [base // 4, base, base * 4], PIT, lambda n: pit(n, 50, few),
             f"{few:,} entity rows, 50 rows a key"),
        Axis("rows a key", "rows a key, as many keys", [50, 500, 5000], PIT, lambda n: pit(per_key_keys * n, n, few),
             f"{few:,} entity rows, {per_key_keys:,} keys"),
        Axis("rows a key, knowledge time", "rows a key, as many keys, knowledge time", [50, 500, 5000], PIT,
             lambda n: pit(per_key_keys * n, n, few, **known), f"{few:,} entity rows, {per_key_keys:,} keys"),
        Axis("longer histories, knowledge time", "rows a key, as many rows, knowledge time", [50, 500, 5000], PIT,
             lambda n: pit(base, n, few, **known), f"{few:,} entity rows, a history of {base:,} rows"),
        Axis("views", "views", [1, 2, 4], PIT, lambda n: pit(base // 2, 50, few, views=n),
             f"{few:,} entity rows, {base // 2:,} rows a view"),
        Axis("features", "features", [5, 20, 80], PIT, lambda n: pit(base // 4, 50, few, features=n),
             f"{few:,} entity rows, {base // 4:,} rows"),
        Axis("entities online", "entities of an online read", [1, 10, 100, 1000], ONLINE,
             lambda n: {"keys": 2_000, "views": 1, "count": n}, "10 features of one view", times=10),
        Axis("views online", "views of an online read", [1, 2, 4, 8], ONLINE,
             lambda n: {"keys": 500, "views": n, "count": 1}, "one entity, 10 features a view", times=50),
    ]  # fmt: skip


def run(kept: Kept, *, quick: bool) -> Iterator[Measured]:
    """Measure every axis; ``sizes`` of each has the points and the exponents."""
    for axis in axes(kept, quick=quick):
        yield _measured(kept, axis, repeats=2 if quick else 3)
    seconds, repeats = (0.3, 2) if quick else (1.0, 3)
    for name, at, counts in (
        ("threads", lambda n: (n, 1), (1, 4) if quick else (1, 2, 4, 8)),
        ("processes", lambda n: (1, n), (1, 2)),
    ):
        lanes = []
        for count in counts:
            one = disturbed(f"growth-{name}-{count}", *at(count), seconds=seconds, repeats=repeats, beside=[ALONE])
            lane = one.lanes[0]
            lane.name, lane.ratio, lane.ratios = f"{count}", None, []
            lanes.append(lane)
        fitted = _fitted(list(counts), [float(lane.median or 0) for lane in lanes]) | {"axis": name}
        yield Measured(f"growth-{name}", f"Growth with readers' {name}: processor for one read", lanes, fitted)


def _measured(kept: Kept, axis: Axis, repeats: int) -> Measured:
    runners = [
        Runner(f"{size:,}", axis.what, dict(axis.given(size)), compared=None, needs_gb=0.5) for size in axis.sizes
    ]
    told = race(
        f"growth-{axis.id}",
        f"Growth with {axis.name} ({axis.fixed})",
        runners,
        repeats=repeats,
        times=axis.times,
        children=kept.children,
    )
    if any(lane.median is None for lane in told.lanes):
        return told
    costs = [float(lane.median or 0) for lane in told.lanes]
    return Measured(told.id, told.title, told.lanes, _fitted(list(axis.sizes), costs) | {"axis": axis.name})


def _fitted(sizes: list[int], costs: list[float]) -> dict[str, Any]:
    return {
        "points": list(zip(sizes, costs, strict=True)),
        "exponent": exponent(sizes, costs),
        "last exponent": exponent(sizes[-2:], costs[-2:]),
    }
