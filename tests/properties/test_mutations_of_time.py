"""Metamorphic: what may not matter does not. No oracle here; an answer is compared with the same question's answer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from e2i_fs.testing import FakeClock
from e2i_fs.testing.draw import Draw, Seeded
from e2i_fs.testing.files import batch_table, definitions, entity_table
from e2i_fs.testing.oracle import Row
from e2i_fs.testing.values import draw_value
from e2i_fs.testing.worlds import Request, ViewWorld, World, laid_out, make_world, renamed
from tests.properties import setups

US = timedelta(microseconds=1)
SETUPS = [s for s in setups.ALL if s.name in ("memory", "duckdb")]
SEEDS = range(1_000, 1_012)
Answers = list[tuple[list[str], list[Any]]]


@pytest.fixture(params=SETUPS, ids=lambda s: s.name)
def opened(request, tmp_path: Path) -> Iterator[tuple[Any, FakeClock]]:
    clock = FakeClock()
    with request.param.open(tmp_path / "store", clock) as found:
        yield found.store, clock


def ask(
    store: Any, clock: FakeClock, world: World, folder: Path, request: Request, frame: pa.Table | None = None
) -> Answers:
    """Apply ``world`` and return statuses and values (as text, so that NaN equals itself) by feature."""
    clock.set(world.now)
    store.apply(definitions(world, folder))
    for view in world.views:
        for n, batch in enumerate(view.batches):
            store.write(view.name, batch_table(view, batch), to="offline", idempotency_key=f"{folder}-{n}")
    refs = [f"{world.views[n].name}:{name}" for n, name in request.asked]
    result = store.get_historical_features(
        entity_table(world) if frame is None else frame, refs, full_feature_names=True, timestamp_column=world.timestamp_column,
        filter_by_created_timestamp=request.filter_by_created, as_of=request.as_of,
    )  # fmt: skip
    table = result.to_arrow()
    return [
        ([s.name for s in result.statuses[r]], [repr(v) for v in table[r.replace(":", "__")].to_pylist()]) for r in refs
    ]


def with_noise(world: World, request: Request, draw: Draw) -> World:
    """Add, change and remove rows that no entity row may see under ``request``."""
    views = []
    for view in world.views:
        latest = max(world.times)
        rows = [row for row in view.rows if _maybe_seen(row, latest, request) or draw.chance(0.5)]
        for _ in range(12):
            base = draw.choice(view.rows)
            fake = base._replace(values=tuple(draw_value(draw, t, missing=0.1) for t in view.types))
            rows += _hidden(fake, view, world, latest, request, draw)
        views.append(replace(view, rows=tuple(rows), batches=()))
    return laid_out(replace(world, views=tuple(views)), draw, append=False)


def _maybe_seen(row: Row, latest: datetime, request: Request) -> bool:
    late = request.as_of is not None and (row.created is None or row.created > request.as_of)
    unknown = request.filter_by_created and (row.created is None or row.created > latest)
    return row.event is not None and row.event <= latest and not late and not unknown and None not in row.key


def _hidden(row: Row, view: ViewWorld, world: World, latest: datetime, request: Request, draw: Draw) -> list[Row]:
    """Return ``row`` in forms that cannot be seen: later than all, without time, without key, not known in time."""
    event = row.event or latest
    forms = [
        row._replace(
            event=latest + US * draw.choice([1, 2, 10**9]), created=row.created if view.created_column else None
        ),
        row._replace(event=None),
        row._replace(key=tuple(None for _ in row.key)),
        row._replace(key=tuple(_other(part) for part in row.key)),
    ]
    if request.as_of is not None and view.created_column:
        forms += [row._replace(event=event, created=request.as_of + US), row._replace(event=event, created=None)]
    if request.filter_by_created and view.created_column:
        forms += [row._replace(event=event, created=latest + US), row._replace(event=event, created=None)]
    return [draw.choice(forms)]


def _other(part: Any) -> Any:
    """Return a key that is nobody's, and whose text joined with others may be somebody's."""
    return f"{part}\x01" if isinstance(part, str) else -(2**40) - 7 if isinstance(part, int) else part


@pytest.mark.rule("P-10")
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_that_nobody_may_see_change_nothing(opened, seed: int, tmp_path: Path) -> None:
    store, clock = opened
    world = make_world(seed)
    for number, request in enumerate(world.requests()):
        plain = ask(store, clock, renamed(world, f"_p{number}"), tmp_path / f"p{number}", request)
        noisy = with_noise(world, request, Seeded(seed * 10 + number))
        assert ask(store, clock, renamed(noisy, f"_n{number}"), tmp_path / f"n{number}", request) == plain


@pytest.mark.rule("P-4", "T-4", "W-2")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_and_files_of_the_rows_do_not_matter(opened, seed: int, tmp_path: Path) -> None:
    store, clock = opened
    world = make_world(seed)
    for request in world.requests():
        said = [
            ask(store, clock, renamed(laid_out(world, Seeded(again)), f"_{again}"), tmp_path / f"{again}", request)
            for again in range(3)
        ]
        assert said[0] == said[1] == said[2]


@pytest.mark.rule("P-6")
@pytest.mark.parametrize("seed", SEEDS)
def test_each_entity_row_is_answered_for_itself(opened, seed: int, tmp_path: Path) -> None:
    """Asking for some rows, in any order and number, gives the answers that those rows have among all."""
    store, clock = opened
    world = make_world(seed)
    frame = entity_table(world)
    rng = Random(seed)
    for request in world.requests():
        everything = ask(store, clock, world, tmp_path, request, frame)
        some = rng.choices(range(frame.num_rows), k=rng.randint(1, frame.num_rows))
        part = ask(store, clock, world, tmp_path, request, frame.take(pa.array(some)))
        for (statuses, values), (all_statuses, all_values) in zip(part, everything, strict=True):
            assert statuses == [all_statuses[i] for i in some]
            assert values == [all_values[i] for i in some]


@pytest.mark.rule("P-4", "P-9")
@pytest.mark.parametrize("seed", SEEDS)
def test_each_feature_is_answered_for_itself(opened, seed: int, tmp_path: Path) -> None:
    """Which other features are asked for changes no value."""
    store, clock = opened
    world = make_world(seed)
    for request in world.requests():
        together = ask(store, clock, world, tmp_path, request)
        for place, one in enumerate(request.asked):
            assert ask(store, clock, world, tmp_path, replace(request, asked=(one,))) == [together[place]]


@pytest.mark.rule("P-1", "P-2", "P-3")
@pytest.mark.parametrize("seed", SEEDS)
def test_moving_everything_in_time_moves_nothing_else(opened, seed: int, tmp_path: Path) -> None:
    store, clock = opened
    world = make_world(seed)
    by = Random(seed).choice([timedelta(days=-9_000, microseconds=1), timedelta(days=30_000, hours=5), US])
    views = tuple(
        replace(
            v,
            rows=tuple(
                r._replace(event=r.event and r.event + by, created=r.created and r.created + by) for r in v.rows
            ),
        )
        for v in world.views
    )
    moved = replace(world, views=views, times=tuple(t + by for t in world.times), now=world.now + by)
    for number, request in enumerate(world.requests()):
        later = replace(request, as_of=request.as_of and request.as_of + by)
        plain = ask(store, clock, renamed(world, f"_{number}"), tmp_path / "plain", request)
        assert ask(store, clock, renamed(moved, f"_m{number}"), tmp_path / "moved", later) == plain


_SCRIPT = """
import sys, hashlib
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.properties import setups, test_mutations_of_time as tests
from e2i_fs.testing import FakeClock, make_world
said = []
clock = FakeClock()
setup = next(s for s in setups.ALL if s.name == sys.argv[3])
with setup.open(Path(sys.argv[1]) / "store", clock) as opened:
    for seed in range(2000, 2012):
        world = make_world(seed)
        for request in world.requests():
            said.append(tests.ask(opened.store, clock, world, Path(sys.argv[1]) / "files", request))
print(hashlib.sha256(repr(said).encode()).hexdigest())
"""


@pytest.mark.rule("T-4")
@pytest.mark.parametrize("setup", ["duckdb", "memory"])
def test_zone_hash_seed_locale_and_folder_of_the_process_do_not_matter(setup: str, tmp_path: Path) -> None:
    said = set()
    root = str(Path(__file__).parents[2])
    for number, zone in enumerate(["America/New_York", "Asia/Kolkata", "UTC"]):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        env = {**os.environ, "TZ": zone, "PYTHONHASHSEED": str(number), "LC_ALL": ["C", "C.UTF-8", "POSIX"][number]}
        command = [sys.executable, "-c", _SCRIPT, str(folder), root, setup]
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    assert len(said) == 1
