"""Every backend against the oracle on seeded adversarial worlds: no wrong value, no wrong status (P, O, T rules)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from e2i_fs.testing import FakeClock
from e2i_fs.testing.compare import historical_difference, online_difference
from e2i_fs.testing.files import batch_table, definitions, entity_frame, entity_rows
from e2i_fs.testing.oracle import Row
from e2i_fs.testing.worlds import ViewWorld, World
from tests.properties import setups

CHUNK = 20


@pytest.mark.rule(
    "P-1",
    "P-2",
    "P-3",
    "P-4",
    "P-5",
    "P-6",
    "P-7",
    "P-8",
    "P-10",
    "T-1",
    "T-3",
    "T-4",
    "O-1",
    "O-2",
    "O-3",
    "O-5",
    "O-6",
)
@pytest.mark.parametrize(
    ("setup", "chunk"),
    [(s, n) for s in setups.ALL for n in range(s.worlds // CHUNK)],
    ids=lambda value: value.name if isinstance(value, setups.Setup) else str(value),
)
def test_answers_equal_the_oracle(setup: setups.Setup, chunk: int, tmp_path: Path) -> None:
    clock = FakeClock()
    with setup.open(tmp_path / "store", clock) as opened:
        for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
            check_world(opened.store, setup.world(seed), tmp_path / "sources", clock, opened, setup.source)


def check_world(
    store: Any, world: World, folder: Path, clock: FakeClock, opened: setups.Opened, source: str = "parquet"
) -> None:
    """Ask everything about one world, historically in all forms of knowledge time and online before and after."""
    clock.set(world.now)
    store.apply(definitions(world, folder, kind=source))
    for view in world.views:
        for batch in view.batches:
            store.write(view.name, batch_table(view, batch), to="offline")
    with opened.trouble(world):
        for request in world.requests():
            frame = entity_frame(world)
            refs = [f"{world.views[n].name}:{name}" for n, name in request.asked]
            result = store.get_historical_features(
                frame, refs, full_feature_names=world.full_feature_names, timestamp_column=world.timestamp_column,
                filter_by_created_timestamp=request.filter_by_created, as_of=request.as_of,
            )  # fmt: skip
            difference = historical_difference(world, request, result, frame)
            assert difference is None, f"seed {world.seed}, {request}: {difference}"
            opened.check_provenance(result.provenance, historical=True)
    rng = Random(world.seed)
    for view in world.views:
        _check_online(store, world, view, clock, rng, opened)


def _check_online(
    store: Any, world: World, view: ViewWorld, clock: FakeClock, rng: Random, opened: setups.Opened
) -> None:
    clock.set(world.now)
    written = [view.rows[n] for n in view.writable(world.now)]
    past = [row for row in view.rows if row.event and None not in row.key and row.event <= world.now]
    known: list[Row] = []
    for step in rng.sample(["write", "materialize"], 2):
        if step == "write":
            _write_in_any_order(store, view, view.writable(world.now), rng)
            known += written
        else:
            store.materialize(None, world.now, views=[view.name])
            known += past
        with opened.trouble(world):
            _compare(store, world, view, known, clock, f"after {step}", opened)
    clock.advance(timedelta(seconds=60))  # what was written ahead of the clock answers now
    with opened.trouble(world):
        _compare(store, world, view, known, clock, "a minute later", opened)


def _write_in_any_order(store: Any, view: ViewWorld, numbers: list[int], rng: Random) -> None:
    todo = numbers + [n for n in numbers if rng.random() < 0.3]
    rng.shuffle(todo)
    while todo:
        size = rng.randint(1, len(todo))
        store.write(view.name, batch_table(view, todo[:size]), to="online")
        todo = todo[size:]


def _compare(
    store: Any, world: World, view: ViewWorld, known: list[Row], clock: FakeClock, when: str, opened: setups.Opened
) -> None:  # fmt: skip
    answer = store.get_online_features([f"{view.name}:*"], entity_rows(world, view))
    difference = online_difference(view, world.expected_online(view, known, clock.now()), answer)
    assert difference is None, f"seed {world.seed}, online {when}: {difference}"
    opened.check_provenance(answer.provenance, historical=False)
