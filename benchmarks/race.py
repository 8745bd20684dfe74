"""A race: contenders in processes of their own, repeats interleaved, answers compared, medians and ratios."""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.child import Child, Died


@dataclass(frozen=True, slots=True)
class Runner:
    """One contender: its name in the table, its class as ``module:Class`` and the arguments (JSON).

    ``repeats`` may be fewer than the race's, for who is slow. ``needs_gb`` is the memory that must be free. ``compared`` names
    with whom the answer must be equal; None for who is asked something else.
    """

    name: str
    what: str
    given: dict[str, Any] = field(default_factory=dict)
    repeats: int | None = None
    needs_gb: float = 1.0
    compared: str | None = "answer"
    note: str = ""


@dataclass(slots=True)
class Lane:
    """What a contender did: seconds of each repeat, peak memory, how its answer compares, or why it was skipped."""

    name: str
    seconds: list[float] = field(default_factory=list)
    median: float | None = None
    fastest: float | None = None
    ratio: float | None = None
    """The median, over repeats, of its seconds divided by those of the race's first contender in the same repeat."""
    ratios: list[float] = field(default_factory=list)
    peak_mb: float | None = None
    answer: str = ""
    note: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """One race, told: ``id`` is how goals call it, ``unit`` is of ``median`` once multiplied by ``scale``."""

    id: str
    title: str
    lanes: list[Lane]
    sizes: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    def told(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


def free_gb() -> float:
    """Return the memory that is free or can be made so, in GB."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    assert found is not None
    return int(found[1]) / 2**20


def race(
    id: str,
    title: str,
    runners: Sequence[Runner],
    *,
    repeats: int,
    times: int = 1,
    sizes: dict[str, Any] | None = None,
    note: str = "",
    free: Callable[[], float] = free_gb,
) -> Measured:
    """Run every contender, the first of them the one that ratios are of, and compare the answers."""
    lanes = {runner.name: Lane(runner.name, note=runner.note) for runner in runners}
    with tempfile.TemporaryDirectory(prefix="race-") as temporary:
        folder = Path(temporary)
        running: dict[str, Child] = {}

        def out(name: str, why: str) -> None:
            lanes[name].skipped = why
            if name in running:
                running.pop(name).end()

        try:
            left = free()
            for runner in runners:
                left -= runner.needs_gb
                if left < 0:
                    out(
                        runner.name,
                        f"needs {runner.needs_gb:g} GB, {left + runner.needs_gb:.1f} GB are free beside the others",
                    )
                    left += runner.needs_gb
                    continue
                running[runner.name] = Child(runner.what, runner.given, folder / f"{len(running)}.log")
            for name, child in list(running.items()):
                _trying(lambda c=child: c.ready(), lambda why, n=name: out(n, why))
            for number in range(repeats):
                for runner in runners:
                    if runner.name in running and number < (runner.repeats or repeats):
                        reply = _trying(
                            lambda r=runner: running[r.name].ask("once", times=times),
                            lambda why, r=runner: out(r.name, why),
                        )
                        if reply is not None:
                            lanes[runner.name].seconds.append(reply["seconds"])
                            lanes[runner.name].peak_mb = reply["peak_mb"]
            _compare(runners, lanes, running, folder, out)
        finally:
            for child in running.values():
                child.end()
    summarise(list(lanes.values()))
    return Measured(id, title, list(lanes.values()), sizes or {}, note)


def _trying(work: Callable[[], Any], out: Callable[[str], None]) -> Any:
    try:
        return work()
    except Died as error:
        out(str(error))
        return None


def _compare(
    runners: Sequence[Runner],
    lanes: dict[str, Lane],
    running: dict[str, Child],
    folder: Path,
    out: Callable[[str, str], None],
) -> None:
    """Compare each answer with that of the first contender that gives one of its sort."""
    from benchmarks.answers import difference

    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for runner in runners:
        if runner.compared is None or runner.name not in running:
            continue
        kept = folder / runner.name.replace("/", "-")
        kept.mkdir()
        child, name = running[runner.name], runner.name
        reply = _trying(lambda c=child, k=str(kept): c.ask("answer", folder=k), lambda why, n=name: out(n, why))
        if reply is None:
            continue
        mine = reply | {"kept": str(kept)}
        if runner.compared not in first:
            first[runner.compared] = (runner.name, mine)
            lanes[runner.name].answer = f"{mine['rows']:,} rows, {'in' if mine['in_order'] else 'out of'} order"
            continue
        against, theirs = first[runner.compared]
        lanes[runner.name].answer = difference(theirs, mine, of=against)


def summarise(lanes: Sequence[Lane]) -> None:
    """Put in the median, the fastest and the ratio to the first lane, repeat by repeat."""
    base = lanes[0].seconds
    for lane in lanes:
        if lane.seconds:
            lane.median, lane.fastest = statistics.median(lane.seconds), min(lane.seconds)
            lane.ratios = [mine / first for mine, first in zip(lane.seconds, base, strict=False)]
            lane.ratio = statistics.median(lane.ratios) if lane.ratios else None
