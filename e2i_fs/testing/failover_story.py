"""Stories of outages, writes and reads: drawn, told one step a line, and made shorter while they still show the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

from e2i_fs.testing.draw import Draw

__all__ = ["KEYS", "KINDS", "METHODS", "NAMES", "Step", "Story", "draw_story", "shortest"]

NAMES = ("primary", "standby", "third")
KEYS = ("a", "b")
VIEWS = ("v", "w")
METHODS = ("definitions", "position", "online_read", "point_in_time", "online_write", "append", "scan", "ping", "apply")
_OFFSETS = (0, -5, -20, -40, 30)


class Step(NamedTuple):
    """One step: what, and with what. Everything that it refers to by number is taken modulo what there is."""

    kind: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.kind, *(_word(arg) for arg in self.args)])


@dataclass(frozen=True, slots=True)
class Story:
    """A store as it is opened, and what happens to it. The ttl is that of view ``v``; ``w`` has none."""

    steps: tuple[Step, ...]
    backends: int = 2
    ttl: timedelta | None = None
    failures: int = 5
    successes: int = 3
    local: int = 0
    """How many backends, from the last one, say that no call of theirs waits on a network."""

    def __str__(self) -> str:
        head = (
            f"{self.backends} backends, the last {self.local} of them local; ttl {self.ttl}; a breaker opens after "
            f"{self.failures} failures and closes after {self.successes} successes"
        )
        return "\n".join([head, *(f"{n}. {step}" for n, step in enumerate(self.steps, 1))])


def _word(arg: Any) -> str:
    return " ".join(map(str, arg)) if isinstance(arg, tuple) else str(arg)


def _rows(draw: Draw) -> tuple[tuple[int, int, int], ...]:
    """Return rows of a batch: the key, the event time in seconds from now, and the sign of the values."""
    row = lambda d: (d.integer(0, len(KEYS) - 1), d.choice(_OFFSETS), d.choice((1, 1, -1)))  # noqa: E731
    return tuple(draw.listed(row, 1, 2))


def _backend(draw: Draw) -> int:
    return draw.choice((0, 0, 1, 1, 2))


_TO = ("both", "online", "offline")
_STEPS: dict[str, tuple[int, Callable[[Draw], tuple[Any, ...]]]] = {
    "read": (24, lambda d: (d.choice((("v",), ("w",), ("v", "w"))), d.chance(0.2))),
    "train": (4, lambda d: (d.choice((("v",), ("v",), ("v", "w"))), d.chance(0.2))),
    "write": (18, lambda d: (d.choice(("v", "v", "w")), _rows(d), d.choice(_TO), d.chance(0.5))),
    "push": (3, lambda d: (_rows(d), d.choice(_TO), d.chance(0.5))),
    "again": (6, lambda d: (d.integer(0, 4),)),
    "materialize": (4, lambda d: (d.choice(("v", "v", "w")), d.choice((None, -25)), d.choice((None, -10)))),
    "kill": (8, lambda d: (_backend(d),)),
    "freeze": (5, lambda d: (_backend(d),)),
    "lag": (3, lambda d: (_backend(d),)),
    "delay": (3, lambda d: (_backend(d),)),
    "deliver": (3, lambda d: (_backend(d),)),
    "halve": (2, lambda d: (_backend(d),)),
    "slow": (4, lambda d: (_backend(d), d.choice((0.03, 0.1, 0.2)))),
    "flake": (8, lambda d: (_backend(d), d.choice(METHODS), d.choice(("away", "throttled", "deadline")), d.integer(1, 3))),
    "heal": (14, lambda d: (_backend(d),)),
    "heal_all": (4, lambda d: ()),
    "misdefine": (2, lambda d: (_backend(d), d.integer(1, 4))),
    "lose": (3, lambda d: (_backend(d), d.choice(("online", "online", "everything")))),
    "redefine": (3, lambda d: (d.choice(("add", "add", "breaking")),)),
    "advance": (10, lambda d: (d.choice((0.001, 1, 6, 6, 15, 25)),)),
    "restart": (3, lambda d: ()),
    "crash": (4, lambda d: (_backend(d), d.choice(("online_write", "append", "apply", "any")), d.integer(0, 2), d.chance(0.5))),
    "catch_up": (8, lambda d: (d.choice((None, 0, 1)),)),
    "health": (3, lambda d: ()),
    "isolate": (1, lambda d: (_backend(d),)),
}  # fmt: skip
KINDS = tuple(_STEPS)
_BAG = tuple(kind for kind, (weight, _) in _STEPS.items() for _ in range(weight))


def draw_story(draw: Draw, steps: int = 30, *, kinds: Sequence[str] = KINDS) -> Story:
    """Return a story of up to ``steps`` steps, of these kinds only."""
    bag = [kind for kind in _BAG if kind in kinds]

    def step(inner: Draw) -> Step:
        kind = inner.choice(bag)
        return Step(kind, _STEPS[kind][1](inner))

    return Story(
        tuple(draw.listed(step, steps // 2, steps)),
        backends=draw.choice((2, 2, 2, 3)),
        ttl=draw.choice((None, None, timedelta(seconds=15))),
        failures=draw.choice((5, 2, 1)),
        successes=draw.choice((3, 1)),
        local=draw.choice((0, 0, 1)),
    )


def shortest(story: Story, shows: Callable[[Story], bool], *, tries: int = 2_000) -> Story:
    """Return a story with as few steps as possible for which ``shows`` is true, as it is for ``story``."""
    for simple in ({"backends": 2}, {"ttl": None}, {"local": 0}, {"failures": 5}, {"successes": 3}):
        candidate = replace(story, **simple)
        if candidate != story and shows(candidate):
            story = candidate
    size = max(1, len(story.steps) // 2)
    while size and tries > 0:
        place, before = 0, len(story.steps)
        while place < len(story.steps) and tries > 0:
            tries -= 1
            candidate = replace(story, steps=story.steps[:place] + story.steps[place + size :])
            if shows(candidate):
                story = candidate
            else:
                place += size
        if size > 1 or len(story.steps) == before:
            size //= 2
    return story
