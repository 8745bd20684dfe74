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
from benchmarks.children import Children


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
    children: Children | None = None,
) -> Measured:
    """Run every contender, the first of them the one that ratios are of, and compare the answers.

    Their processes are of ``children``; each has a new one unless these are shared.
    """
    with tempfile.TemporaryDirectory(prefix="race-") as temporary:
        lanes_of = {runner.name: Lane(runner.name, note=runner.note) for runner in runners}
        track = _Track(lanes_of, Path(temporary), children or Children())
        try:
            track.start(runners, free())
            for number in range(repeats):
                for runner in runners:
                    if number < (runner.repeats or repeats):
                        track.once(runner.name, times)
            track.compare(runners)
        finally:
            track.close()
    lanes = list(track.lanes.values())
    summarise(lanes)
    return Measured(id, title, lanes, sizes or {}, note)


class _Track:
    """The lanes and the processes of one race. Who fails leaves it, with the reason in its lane."""

    def __init__(self, lanes: dict[str, Lane], folder: Path, children: Children) -> None:
        self.lanes = lanes
        self._folder = folder
        self._children = children
        self._running: dict[str, Child] = {}

    def start(self, runners: Sequence[Runner], free: float) -> None:
        """Start all that fit into the memory that is free, at once, and wait until each is warm."""
        for runner in runners:
            if runner.needs_gb > free:
                why = f"needs {runner.needs_gb:g} GB, {free:.1f} GB are free beside the others"
                self.lanes[runner.name].skipped = why
                continue
            free -= runner.needs_gb
            self._running[runner.name] = self._children.child(runner.what, runner.given)
        for name, child in list(self._running.items()):
            try:
                child.ready()
            except Died as error:
                self._out(name, error)

    def once(self, name: str, times: int) -> None:
        """Let one of them do its work once more."""
        reply = self._ask(name, "once", times=times)
        if reply is not None:
            self.lanes[name].seconds.append(reply["seconds"])
            self.lanes[name].peak_mb = reply["peak_mb"]

    def compare(self, runners: Sequence[Runner]) -> None:
        """Compare each answer with that of the first contender that gives one of its sort."""
        from benchmarks.answers import difference

        first: dict[str, tuple[str, dict[str, Any]]] = {}
        for number, runner in enumerate(runners):
            if runner.compared is None:
                continue
            place = self._folder / f"answer-{number}"
            place.mkdir()
            reply = self._ask(runner.name, "answer", folder=str(place))
            if reply is None:
                continue
            mine = reply | {"kept": str(place)}
            if runner.compared not in first:
                first[runner.compared] = (runner.name, mine)
                said = f"{mine['rows']:,} rows, {'in' if mine['in_order'] else 'out of'} order"
            else:
                against, theirs = first[runner.compared]
                said = difference(theirs, mine, of=against)
            self.lanes[runner.name].answer = said

    def close(self) -> None:
        """Let all go."""
        for child in self._running.values():
            self._children.give_back(child)

    def _ask(self, name: str, word: str, **given: Any) -> dict[str, Any] | None:
        child = self._running.get(name)
        if child is None:
            return None
        try:
            return child.ask(word, **given)
        except Died as error:
            self._out(name, error)
            return None

    def _out(self, name: str, why: Died) -> None:
        self.lanes[name].skipped = str(why)
        self._running.pop(name).end()


def summarise(lanes: Sequence[Lane]) -> None:
    """Put in the median, the fastest and the ratio to the first lane, repeat by repeat."""
    base = lanes[0].seconds
    for lane in lanes:
        if lane.seconds:
            lane.median, lane.fastest = statistics.median(lane.seconds), min(lane.seconds)
            lane.ratios = [mine / first for mine, first in zip(lane.seconds, base, strict=False)]
            lane.ratio = statistics.median(lane.ratios) if lane.ratios else None
