"""Point-in-time retrieval: many and few entity rows, one view and four, long histories, knowledge time, `optimize`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.data import Kept
from benchmarks.race import Measured, Runner, race

PEERS = "benchmarks.pit_peers:"
OURS, HAND, POLARS, PANDAS = "e2i_fs", "DuckDB ASOF by hand", "polars join_asof", "pandas merge_asof"
FEAST_DUCKDB, FEAST_DASK = "Feast, duckdb", "Feast, dask"
PLAIN, KNOWN, BY_HAND_KNOWN = "e2i_fs, plain", "e2i_fs, knowledge time", "DuckDB by hand, knowledge time"
BEFORE, AFTER = "e2i_fs, before", "e2i_fs, after optimize"
PAIRS = 300_000_000  # of entity rows and rows of their keys, that a join on ranges may look at
FORMULA = "a history of {history:,} rows, {per_key:,} a key"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much: of the great history, the few entity rows, Feast-dask, long histories, and what is written."""

    history: int
    many: int
    few: int
    dask: tuple[int, int]
    long: tuple[int, int, int]  # keys, rows a key, entity rows
    longer: int  # rows a key, in a history as great as the first
    written: tuple[int, int, int]  # rows, batches, entity rows
    repeats: int
    gb: float  # that Feast-duckdb needs on the great one


FULL = Sizes(
    5_000_000, 1_000_000, 10_000, (200_000, 1_000_000), (1000, 1000, 50_000), 5000, (1_000_000, 20, 100_000), 5, 4
)
QUICK = Sizes(200_000, 40_000, 1_000, (40_000, 200_000), (100, 500, 5_000), 1000, (100_000, 10, 10_000), 3, 1)


def runners(histories: list[str], entities: str, size: Sizes, *, gb: float = 1.0, **feast: Any) -> list[Runner]:
    """Return those who join whole histories, in the order that the table has."""
    given = {"histories": histories, "entities": entities}
    return [
        Runner(OURS, PEERS + "Ours", given, needs_gb=gb / 2),
        Runner(HAND, PEERS + "DuckDB", given, needs_gb=gb / 2),
        Runner(POLARS, PEERS + "Polars", given, needs_gb=gb / 2),
        Runner(FEAST_DUCKDB, PEERS + "Feast", given | {"kind": "duckdb"}, needs_gb=gb, **feast),
    ]


def run(kept: Kept, *, quick: bool) -> Iterator[Measured]:
    """Measure all, a race after the other."""
    size = QUICK if quick else FULL
    yield from retrievals(kept, size)
    yield from knowledge(kept, size)
    yield from optimized(kept, size)


def retrievals(kept: Kept, size: Sizes) -> Iterator[Measured]:
    """Measure plain retrieval in every shape, against every peer."""
    keys = size.history // 50
    great, many = kept.history(size.history), kept.entities(size.many, keys)
    one = runners([great], many, size, gb=size.gb, repeats=2)
    pandas = Runner(PANDAS, PEERS + "Pandas", {"histories": [great], "entities": many}, repeats=2, needs_gb=size.gb / 2)
    entity_rows, history = size.dask
    small, asked = kept.history(history), kept.entities(entity_rows, history // 50)
    dask = Runner(
        FEAST_DASK, PEERS + "Feast", {"histories": [small], "entities": asked, "kind": "dask"}, repeats=1, needs_gb=size.gb,
        note=f"measured at {entity_rows:,} × {history:,}: it needs 14 GB and minutes at 1M × 5M",
    )  # fmt: skip
    if (entity_rows, history) == (size.many, size.history):
        one.append(replace(dask, note=""))
    yield race("pit-1", _title(size.many, size.history, 50, 1), [*one, pandas], repeats=size.repeats,
               sizes=_sizes(size.many, size.history, 50, 1), children=kept.children)  # fmt: skip
    few = runners([great], kept.entities(size.few, keys), size, gb=size.gb, repeats=2)
    yield race("pit-few", _title(size.few, size.history, 50, 1), few, repeats=size.repeats,
               sizes=_sizes(size.few, size.history, 50, 1), children=kept.children)  # fmt: skip
    long_keys, per_key, long_rows = size.long
    long = runners(
        [kept.history(long_keys * per_key, per_key)], kept.entities(long_rows, long_keys), size, gb=size.gb, repeats=1
    )
    yield race("pit-long", _title(long_rows, long_keys * per_key, per_key, 1), long, repeats=size.repeats,
               sizes=_sizes(long_rows, long_keys * per_key, per_key, 1), children=kept.children)  # fmt: skip
    if (entity_rows, history) != (size.many, size.history):
        yield race("pit-dask", _title(entity_rows, history, 50, 1), [*runners([small], asked, size, repeats=2), dask],
                   repeats=3, sizes=_sizes(entity_rows, history, 50, 1), children=kept.children)  # fmt: skip
    four = runners([kept.history(size.history, number=n) for n in range(4)], many, size, gb=size.gb * 1.5, repeats=1)
    yield race("pit-4", _title(size.many, size.history, 50, 4),
               [replace(r, repeats=1 if r.name == FEAST_DUCKDB else None) for r in four], repeats=2,
               sizes=_sizes(size.many, size.history, 50, 4), children=kept.children)  # fmt: skip


def knowledge(kept: Kept, size: Sizes) -> Iterator[Measured]:
    """Measure `filter_by_created_timestamp` against the plain retrieval: with 50 rows a key, and with 100 times as many."""
    for name, per_key in (("pit-known", 50), ("pit-known-long", size.longer)):
        path = kept.history(size.history, per_key, created=True)
        given: dict[str, Any] = {"histories": [path], "entities": kept.entities(size.many, size.history // per_key)}
        ours = given | {"created": True}
        contenders = [
            Runner(PLAIN, PEERS + "Ours", ours, compared=None, needs_gb=size.gb / 2),
            Runner(KNOWN, PEERS + "Ours", ours | {"known": True}, compared="known", needs_gb=size.gb / 2),
        ]
        if size.many * per_key <= PAIRS:
            contenders.append(
                Runner(BY_HAND_KNOWN, PEERS + "DuckDBKnown", given, repeats=1, compared="known", needs_gb=size.gb)
            )
        title = f"Knowledge time: {size.many:,} entity rows, {FORMULA.format(history=size.history, per_key=per_key)}"
        yield race(
            name,
            title,
            contenders,
            repeats=3,
            sizes=_sizes(size.many, size.history, per_key, 1),
            children=kept.children,
        )


def optimized(kept: Kept, size: Sizes) -> Iterator[Measured]:
    """Measure retrieval before `store.optimize` and after: of a source's file, and of history written in batches."""
    great, keys = kept.history(size.history), size.history // 50
    for name, asked, repeats in (("pit-optimized", size.many, 3), ("pit-optimized-few", size.few, size.repeats)):
        given = {"histories": [great], "entities": kept.entities(asked, keys)}
        contenders = [
            Runner(BEFORE, PEERS + "Ours", given, needs_gb=size.gb / 2),
            Runner(AFTER, PEERS + "Ours", given | {"optimized": True}, needs_gb=size.gb / 2),
        ]
        title = f"Optimised: {asked:,} entity rows, {FORMULA.format(history=size.history, per_key=50)}"
        yield race(
            name, title, contenders, repeats=repeats, sizes=_sizes(asked, size.history, 50, 1), children=kept.children
        )
    rows, batches, entity_rows = size.written
    given = {"histories": [kept.history(rows)], "entities": kept.entities(entity_rows, rows // 50), "batches": batches}
    contenders = [
        Runner(BEFORE, PEERS + "Written", given | {"optimized": False}),
        Runner(AFTER, PEERS + "Written", given | {"optimized": True}),
    ]
    title = f"Optimised: {entity_rows:,} entity rows × {rows:,} rows written in {batches} batches"
    sizes = _sizes(entity_rows, rows, 50, 1)
    yield race("pit-optimized-batches", title, contenders, repeats=size.repeats, sizes=sizes, children=kept.children)


def _title(entity_rows: int, history: int, per_key: int, views: int) -> str:
    plural = "view" if views == 1 else f"views, each with {FORMULA}"
    first = f"Point in time: {entity_rows:,} entity rows × "
    shape = FORMULA.format(history=history, per_key=per_key)
    return first + (shape if views == 1 else f"{views} {plural.format(history=history, per_key=per_key)}")


def _sizes(entity_rows: int, history: int, per_key: int, views: int) -> dict[str, Any]:
    return {"entity rows": entity_rows, "history rows": history, "rows a key": per_key, "views": views, "features": 10}
