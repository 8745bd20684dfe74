"""Stories of outages, writes and recoveries in any order: the store keeps to its rules, and without any one part it does not.

``E2I_FS_STORIES=2000x50 pytest tests/properties/test_failover_machine.py -k any_story`` plays 2,000 of up to 50 steps.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from e2i_fs.testing.draw import Seeded
from e2i_fs.testing.failover_ablations import ABLATIONS, Ablation
from e2i_fs.testing.failover_play import Violation, play, search
from e2i_fs.testing.failover_rig import plain_engine
from e2i_fs.testing.failover_story import draw_story, shortest

STORIES, STEPS = map(int, os.environ.get("E2I_FS_STORIES", "150x30").split("x"))


@pytest.fixture
def plain() -> Iterator[None]:
    with plain_engine():
        yield


@pytest.mark.rule("X-3", "X-4", "X-5", "X-7", "X-8", "X-9", "X-2", "R-4")
def test_any_story_of_outages_and_writes_keeps_the_rules(plain) -> None:
    counts: Counter[str] = Counter()
    found = search(range(STORIES), steps=STEPS, counts=counts)
    assert found is None, found
    reads = sum(n for what, n in counts.items() if what.startswith("read"))
    print(f"{STORIES} stories of up to {STEPS} steps: {dict(sorted(counts.items()))}")
    assert counts["read unmarked"] > reads / 2, counts
    assert counts["read degraded"] > reads / 100, counts
    assert counts["read unanswered"] > reads / 100, counts
    assert counts["crash"] > STORIES / 20, counts
    assert counts["write acknowledged"] > STORIES, counts


@pytest.mark.rule("X-3", "X-5")
def test_stories_are_the_same_on_the_real_engine() -> None:
    found = search(range(1000, 1005), steps=20)
    assert found is None, found


@pytest.mark.rule("X-3", "X-4", "X-5")
@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda a: a.name)
def test_without_any_one_part_a_story_shows_it(plain, ablation: Ablation) -> None:
    with ablation.patch():
        found = search(range(400), steps=30, kinds=ablation.kinds)
    assert found is not None, f"No story notices that {ablation.says}."
    assert found.rule in ablation.rules, found


def test_a_story_is_made_short(plain) -> None:
    (no_gate,) = [a for a in ABLATIONS if a.name == "no gate"]

    def shows(story) -> bool:
        try:
            play(story)
        except Violation as found:
            return found.rule == "X-3"
        return False

    with no_gate.patch():
        found = search(range(100))
        assert found is not None
        story = shortest(found.story, shows)
        assert shows(story)
    assert len(story.steps) <= 6, story


def test_a_seed_is_one_story() -> None:
    assert draw_story(Seeded(3), 30) == draw_story(Seeded(3), 30) != draw_story(Seeded(4), 30)
