"""Playing stories of outages and writes, and looking for one in which a store breaks a rule."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2i_fs.testing.draw import Seeded
from e2i_fs.testing.failover_machine import Machine
from e2i_fs.testing.failover_rig import Rig
from e2i_fs.testing.failover_story import KINDS, Step, Story, draw_story
from e2i_fs.testing.findings import Mismatch

__all__ = ["Violation", "play", "search"]

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)


class Violation(AssertionError):
    """A story in which the store broke a rule; ``rule``, and ``story`` up to the step where it showed."""

    def __init__(self, found: Mismatch, story: Story, step: int, seed: int | None) -> None:
        self.rule = found.rule
        self.story = story
        self.seed = seed
        told = f"{found}\n  expected: {found.expected}\n  got: {found.got}\n  seen in step {step} of\n{story}"
        super().__init__(told if seed is None else f"{told}\n  seed {seed}")


def play(story: Story, *, counts: Counter[str] | None = None, seed: int | None = None, **failover: Any) -> None:
    """Play a story, and recover at its end; raise `Violation` where the store breaks a rule.

    ``counts`` is told how often things happened. ``failover`` are further keys of that part of the configuration.
    """
    rig = Rig(story, NOW, Path(tempfile.mkdtemp(prefix="e2i_fs_story_", dir=_fast_folder())), **failover)
    at = 0
    try:
        machine = Machine(rig, story.ttl, Counter() if counts is None else counts)
        for number, step in enumerate((*story.steps, Step("recover")), 1):
            at = number
            machine.do(step)
            machine.settle_worlds()
    except Mismatch as found:
        raise Violation(found, story, at, seed) from found
    finally:
        rig.remove()


def search(
    seeds: Iterable[int],
    *,
    steps: int = 30,
    kinds: Sequence[str] = KINDS,
    counts: Counter[str] | None = None,
    **failover: Any,
) -> Violation | None:
    """Return what is wrong in the story of the first of ``seeds`` that shows something, None when none does."""
    for seed in seeds:
        story = draw_story(Seeded(seed), steps, kinds=kinds)
        try:
            play(story, counts=counts, seed=seed, **failover)
        except Violation as found:
            return found
    return None


def _fast_folder() -> str | None:
    """Return a folder in memory, where there is one: each write is made durable, which a disk takes its time for."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a name of its own is made in it
