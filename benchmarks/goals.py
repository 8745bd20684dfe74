"""The goals, each judged by what was measured in the same run: held, not held, or not measured and why."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import busy, online, point_in_time, startup

# Names of lanes, as the subjects give them.
PIT, ON = point_in_time, online


class _Missing(LookupError):
    """What a goal needs was not measured; says why."""


@dataclass(frozen=True, slots=True)
class Goal:
    """``limit`` of a number of the run: ``below`` says that the number must be at most it, else at least."""

    work: str
    goal: str
    number: Callable[[_Run], float]
    limit: float
    below: bool = False
    unit: str = "×"


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal beside its number: ``held`` is None where it was not measured, ``why`` then says why."""

    work: str
    goal: str
    measured: str
    held: bool | None
    why: str = ""


class _Run:
    """The lanes of a run by race and name."""

    def __init__(self, report: dict[str, Any]) -> None:
        self._races = {one["id"]: {lane["name"]: lane for lane in one["lanes"]} for one in report["measured"]}
        self._sizes = {one["id"]: one["sizes"] for one in report["measured"]}

    def lane(self, race: str, name: str) -> dict[str, Any]:
        """Return a lane that was run."""
        if race not in self._races:
            raise _Missing(f"{race} was not run")
        lane = self._races[race].get(name)
        if lane is None:
            raise _Missing(f"{name} was not in {race}")
        if lane["skipped"] or lane["median"] is None:
            raise _Missing(f"{name}: {lane['skipped'] or 'no repeat'}")
        found: dict[str, Any] = lane
        return found

    def slower(self, race: str, name: str) -> float:
        """Return how many times as long as the first lane it took, the median over repeats."""
        ratio = self.lane(race, name)["ratio"]
        if ratio is None:
            raise _Missing(f"the first contender of {race} was not run")
        return float(ratio)

    def ours(self, race: str, name: str) -> float:
        """Return our time as a share of theirs."""
        return 1 / self.slower(race, name)

    def size(self, race: str, name: str) -> float:
        """Return what a race fitted."""
        if name not in self._sizes.get(race, {}):
            raise _Missing(f"{race} was not run")
        return float(self._sizes[race][name])

    def rate(self, race: str, name: str) -> float:
        """Return rows a second of a race of writers."""
        seconds = float(self.lane(race, name)["median"])
        return float(self._sizes[race]["rows"]) / seconds

    def against(self, race: str, name: str, other: str) -> float:
        """Return how many times as long as ``other`` it took: the median, over repeats, of the ratio within a repeat."""
        mine, theirs = (self.lane(race, one)["seconds"] for one in (name, other))
        return float(statistics.median(a / b for a, b in zip(mine, theirs, strict=False)))


def _memory(run: _Run) -> float:
    return float(run.lane("pit-1", PIT.OURS)["peak_mb"]) / float(run.lane("pit-1", PIT.FEAST_DUCKDB)["peak_mb"])


def _dask(run: _Run) -> float:
    race = "pit-1" if _in(run, "pit-1", PIT.FEAST_DASK) else "pit-dask"
    return run.slower(race, PIT.FEAST_DASK)


def _in(run: _Run, race: str, name: str) -> bool:
    try:
        run.lane(race, name)
    except _Missing:
        return False
    return True


def _kept(race: str) -> Callable[[_Run], float]:
    """Return the share of throughput that is left, by processor or by the clock, whichever is less; errors leave nothing."""

    def share(run: _Run) -> float:
        lane = run.lane(race, busy.WRITING)
        left = min(1 / float(lane["ratio"]), run.size(race, "kept by the clock"))
        return left if lane["answer"].startswith("no error") else 0.0

    return share


MANY, FOUR, FEW = "many entity rows × 1 view", "many entity rows × 4 views", "few entity rows"
GOALS = (
    Goal(MANY, "at most 1.5 × DuckDB ASOF by hand", lambda r: r.ours("pit-1", PIT.HAND), 1.5, below=True),
    Goal(MANY, "at most polars join_asof", lambda r: r.ours("pit-1", PIT.POLARS), 1, below=True),
    Goal(MANY, "at least 4 × faster than Feast-duckdb", lambda r: r.slower("pit-1", PIT.FEAST_DUCKDB), 4),
    Goal(MANY, "at least 30 × faster than Feast-dask (at its size)", _dask, 30),
    Goal(MANY, "peak memory at most half of Feast-duckdb's", _memory, 0.5, below=True),
    Goal(FOUR, "at least 8 × faster than Feast-duckdb", lambda r: r.slower("pit-4", PIT.FEAST_DUCKDB), 8),
    Goal(FEW, "at most 0.5 × DuckDB ASOF by hand over all rows", lambda r: r.ours("pit-few", PIT.HAND), 0.5, below=True),
    Goal("long histories", "at least 20 × faster than Feast-duckdb", lambda r: r.slower("pit-long", PIT.FEAST_DUCKDB), 20),
    Goal("knowledge time, 50 rows a key", "at most 2 × the plain retrieval", lambda r: r.slower("pit-known", PIT.KNOWN), 2, below=True),
    Goal("knowledge time, 5,000 rows a key", "at most 2 × the plain retrieval", lambda r: r.slower("pit-known-long", PIT.KNOWN), 2, below=True),
    Goal("knowledge time, rows a key from 50 to 5,000", "growth exponent at most 1.1",
         lambda r: r.size("growth-rows a key, knowledge time", "last exponent"), 1.1, below=True, unit=""),
    Goal("after optimize", "at least 2 × faster than before", lambda r: r.ours("pit-optimized", PIT.AFTER), 2),
    *(
        goal
        for count, faster in ((1, 10), (100, 20), (1000, 30))
        for goal in (
            Goal(f"online, {count:,} × 10 features", f"at least {faster} × faster than Feast-sqlite",
                 lambda r, c=count: r.slower(f"online-{c}", ON.SQLITE), faster),
            Goal(f"online, {count:,} × 10 features", "at most 6 × bare LMDB gets",
                 lambda r, c=count: r.ours(f"online-{c}", ON.LMDB), 6, below=True),
        )
    ),
    Goal("online, 1 entity, 4 views", "at least 15 × faster than Feast-sqlite", lambda r: r.slower("online-4", ON.SQLITE), 15),
    Goal("Feast backend through us, sqlite, 100 entities", "at most 1.1 × Feast's own call",
         lambda r: r.against("online-100", ON.OVER_SQLITE, ON.SQLITE), 1.1, below=True),
    Goal("Feast backend through us, redis, 100 entities", "at most 1.1 × Feast's own call",
         lambda r: r.against("online-100", ON.OVER_REDIS, ON.REDIS), 1.1, below=True),
    Goal("online writes, DuckDB backend", "at least 100,000 rows/s", lambda r: r.rate("write-duckdb", ON.OURS), 100_000, unit=" rows/s"),
    Goal("online writes, Feast backend, sqlite", "at least as many rows/s as Feast's own", lambda r: r.slower("write-sqlite", ON.SQLITE), 1),
    Goal("online writes, Feast backend, redis", "at least as many rows/s as Feast's own", lambda r: r.slower("write-redis", ON.REDIS), 1),
    Goal("8 threads read while one writes", "no error, at least 0.8 × undisturbed, per core", _kept("busy-threads"), 0.8),
    Goal("2 processes read while one writes", "no error, at least 0.8 × undisturbed, per core", _kept("busy-processes"), 0.8),
    Goal("import", "under 150 ms", lambda r: r.lane("start-import", startup.OURS)["median"] * 1000, 150, below=True, unit=" ms"),
    Goal("connect to the first online answer", "under 400 ms", lambda r: r.lane("start-answer", startup.OURS)["median"] * 1000, 400, below=True, unit=" ms"),
)  # fmt: skip


def judged(report: dict[str, Any]) -> list[Judged]:
    """Return every goal beside the number of this run; that of `benchmarks.big` stands apart."""
    run, made = _Run(report), []
    for goal in GOALS:
        try:
            number = goal.number(run)
        except _Missing as missing:
            made.append(Judged(goal.work, goal.goal, "", None, str(missing)))
            continue
        held = number <= goal.limit if goal.below else number >= goal.limit
        text = f"{number:,.0f}{goal.unit}" if number >= 100 else f"{number:.2f}{goal.unit}"
        made.append(Judged(goal.work, goal.goal, text, held))
    return made
