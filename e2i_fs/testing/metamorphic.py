"""Worlds made into others whose answers the contract relates to the first: the same, or those of other questions.

A row that nobody may see is added, changed or taken away; everything is moved in time; names, zones and units are
others; only some entity rows are asked about. `Said` is an answer in a form that can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from e2i_fs.dtypes import Int64
from e2i_fs.testing.directed import US
from e2i_fs.testing.draw import Draw
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.oracle import Row, answer, exact_key
from e2i_fs.testing.strategies import Drawn
from e2i_fs.testing.values import draw_value
from e2i_fs.testing.worlds import Request, ViewWorld, World

__all__ = [
    "FORMS", "Said", "asked_anew", "drawn", "edited", "hidden_edits", "in_files", "known_by", "moved", "named_as",
    "other_names", "ranked", "retold", "said", "same", "unseen",
]  # fmt: skip

Said = list[list[tuple[str, str, str]]]
"""For each feature asked, for each entity row: value (its repr, so that NaN equals itself), status, event time."""

Edit = tuple[int, int | None, Row | None]
"""One change of a world: the view's number, the row's number (None: a new row), the new row (None: it goes)."""


def drawn(worlds: SearchStrategy[World], make: Callable[[World, Draw], Any]) -> SearchStrategy[Any]:
    """Return a strategy of ``(world, what make drew for it)``."""

    @st.composite
    def both(draw: DrawFn) -> tuple[World, Any]:
        world = draw(worlds)
        return world, make(world, Drawn(draw))

    return both()


# ---- answers ---------------------------------------------------------------------------------------------


def said(world: World, request: Request, result: Any) -> Said:
    """Return what ``result`` says, feature by feature in the order of ``request.asked``."""
    table = result.to_arrow()
    told = []
    for number, name in request.asked:
        view = world.views[number].name
        values = table.column(f"{view}__{name}" if world.full_feature_names else name).to_pylist()
        ref = f"{view}:{name}"
        statuses, events = result.statuses[ref], result.event_timestamps[ref]
        told.append([(repr(v), s.name, str(e)) for v, s, e in zip(values, statuses, events, strict=True)])
    return told


def same(rule: str, says: str, request: Request, before: Said, after: Said) -> None:
    """Raise `Mismatch` at the first difference between two answers to one request."""
    for (_, name), one, other in zip(request.asked, before, after, strict=True):
        if len(one) != len(other):
            raise Mismatch(
                rule, f"{says} The number of rows of {name!r} is another.", expected=len(one), got=len(other)
            )
        for number, (expected, got) in enumerate(zip(one, other, strict=True)):
            if expected != got:
                raise Mismatch(
                    rule, f"{says} The answer {name!r} of row {number} is another.", expected=expected, got=got
                )


# ---- rows that nobody may see (P-10) ---------------------------------------------------------------------


def unseen(world: World, view: ViewWorld, row: Row, request: Request) -> bool:
    """Return whether no entity row of ``world`` may see ``row`` under ``request``."""
    own = exact_key(row.key, view.key_types)
    for keys, t in zip(world.entity_keys, world.times, strict=True):
        if own is not None and exact_key([keys[name] for name, _ in view.keys], view.key_types) == own:
            form = {"filter_by_created": request.filter_by_created, "as_of": request.as_of}
            if answer([row], t, view.types, **form).event is not None:  # type: ignore[arg-type]
                return False
    return True


def hidden_edits(world: World, request: Request, draw: Draw, *, how: str) -> list[Edit]:
    """Draw edits of ``how`` (``"add"``, ``"change"``, ``"remove"``) that touch only rows which nobody may see."""
    edits: list[Edit] = []
    for number, view in enumerate(world.views):
        if how == "add":
            rows = [_unseen_row(world, view, request, draw) for _ in range(draw.integer(1, 4))]
            whole = [row for row in rows if exact_key(row.key, view.key_types) is not None]  # else it is no batch (W-1)
            edits += [(number, None, row) for row in whole if unseen(world, view, row, request)]
            continue
        for n in (n for part in view.parts for n in part):
            if unseen(world, view, view.rows[n], request) and not draw.chance(0.2):
                row = _unseen_row(world, view, request, draw) if how == "change" else None
                if row is None or unseen(world, view, row, request):
                    edits.append((number, n, row))
    return edits


def _unseen_row(world: World, view: ViewWorld, request: Request, draw: Draw) -> Row:
    """Draw a row of the future, of nobody, or not known in time; often just beyond what some entity row may see."""
    base = draw.choice(view.rows) if view.rows else Row(tuple(None for _ in view.keys), None, None, ())
    place = draw.integer(0, len(world.times) - 1)
    key = tuple(world.entity_keys[place][name] for name, _ in view.keys)
    own = exact_key(key, view.key_types)
    if own is None:  # ask for a whole key: a row without one could not be written
        key, own = base.key, exact_key(base.key, view.key_types)
    mine = [
        t for keys, t in zip(world.entity_keys, world.times, strict=True)
        if exact_key([keys[name] for name, _ in view.keys], view.key_types) == own
    ]  # fmt: skip
    latest = max(mine, default=max(world.times))
    values = tuple(draw_value(draw, dtype, missing=0.1) for dtype in view.types)
    event = latest + draw.choice([US, US, timedelta(seconds=1), timedelta(days=400)])
    created = draw.choice([None, latest, event, latest - timedelta(days=400)])
    row = Row(key, event, created if view.created_column else None, values)
    if view.created_column and (request.filter_by_created or request.as_of is not None) and draw.chance(0.5):
        limit = latest if request.as_of is None else request.as_of
        row = row._replace(event=latest, created=draw.choice([limit + US, None, limit + timedelta(days=400)]))
    return row


def edited(world: World, edits: Sequence[Edit]) -> World:
    """Return ``world`` after ``edits``: new rows in a batch of their own, changed ones in the file they were in."""
    views = list(world.views)
    for number, n, row in edits:
        view = views[number]
        rows = view.rows if row is None else (*view.rows, row)
        if n is None:
            last = len(world.views[number].batches)
            new = (*view.batches[last:], ())[0]
            views[number] = replace(view, rows=rows, batches=(*view.batches[:last], (*new, len(rows) - 1)))
        else:
            place = () if row is None else (len(rows) - 1,)
            parts = tuple(tuple(m for k in part for m in (place if k == n else (k,))) for part in view.parts)
            views[number] = replace(view, rows=rows, parts=parts)
    return replace(world, views=tuple(views))


def in_files(world: World) -> World:
    """Return ``world`` with the rows of its batches in its first files instead, so that they can be changed there."""
    views = []
    for view in world.views:
        first, *others = view.parts or ((),)
        views.append(replace(view, parts=((*first, *(n for b in view.batches for n in b)), *others), batches=()))
    return replace(world, views=tuple(views))


# ---- other times, names and questions ---------------------------------------------------------------------


def moved(world: World, by: timedelta) -> World:
    """Return ``world`` with every time, its ``as_of`` and its present moved by ``by``; values stay."""
    views = []
    for view in world.views:
        rows = [r._replace(event=r.event and r.event + by, created=r.created and r.created + by) for r in view.rows]
        views.append(replace(view, rows=tuple(rows)))
    times = tuple(t + by for t in world.times)
    return replace(world, views=tuple(views), times=times, as_of=world.as_of + by, now=world.now + by)


def asked_anew(world: World, numbers: Sequence[int]) -> World:
    """Return ``world`` asked only about the entity rows of these numbers, in their order."""
    return replace(
        world, entity_keys=tuple(world.entity_keys[n] for n in numbers), times=tuple(world.times[n] for n in numbers)
    )


def named_as(world: World, other: World) -> World:
    """Return ``world`` with the view names of ``other``."""
    names = [view.name for view in other.views]
    return replace(world, views=tuple(replace(v, name=n) for v, n in zip(world.views, names, strict=True)))


def other_names(world: World) -> World:
    """Return ``world`` with every key column, field, time column and view called something else."""
    keys = {name: f"Key {n} of" for n, name in enumerate(world.key_columns())}
    views = []
    for number, view in enumerate(world.views):
        views.append(
            replace(
                view, name=f"z{number}_renamed", keys=tuple((keys[name], dtype) for name, dtype in view.keys),
                entities=tuple(tuple(keys[name] for name in group) for group in view.entities),
                fields=tuple((f"f{number}_{n}", dtype) for n, (_, dtype) in enumerate(view.fields)),
                event_column="when it was", created_column=view.created_column and "when it was known",
                renamed=not view.renamed,
            )
        )  # fmt: skip
    entity_keys = tuple({keys[name]: value for name, value in row.items()} for row in world.entity_keys)
    return replace(world, views=tuple(views), entity_keys=entity_keys, timestamp_column="asked at")


def known_by(world: World, moment: datetime) -> World:
    """Return ``world`` without the rows that were not known by ``moment``: what a store had then."""
    views = []
    for view in world.views:
        known = {n for n, row in enumerate(view.rows) if row.created is not None and row.created <= moment}
        places = [tuple(tuple(n for n in p if n in known) for p in ps) for ps in (view.parts, view.batches)]
        views.append(replace(view, parts=places[0], batches=tuple(b for b in places[1] if b)))
    return replace(world, views=tuple(views))


def ranked(world: World) -> World:
    """Return ``world`` with one field, ``rank``: the place of each row in the winner's order (P-4) before its values."""
    views = []
    for view in world.views:
        order = sorted(
            range(len(view.rows)),
            key=lambda n: (_or_lowest(view.rows[n].event), _or_lowest(view.rows[n].created), n),
        )
        place = {n: rank for rank, n in enumerate(order)}
        rows = tuple(row._replace(values=(place[n],)) for n, row in enumerate(view.rows))
        views.append(replace(view, rows=rows, fields=(("rank", Int64),), ttl=None))
    return replace(world, views=tuple(views), full_feature_names=True)


def _or_lowest(moment: datetime | None) -> tuple[Any, ...]:
    return (0,) if moment is None else (1, moment)


FORMS = ("us", "ns", "ms", "s", "naive us", "naive ns", "pandas", "pandas mixed", "pandas naive", "polars")
"""The forms that `retold` gives a column of times."""


def retold(table: pa.Table, column: str, form: str, zones: Sequence[Any]) -> Any:
    """Return ``table`` with the same instants in its time column said otherwise: another unit, zone, kind of frame.

    A unit too coarse for the times gives way to microseconds, a frame whose package is missing to Arrow.
    """
    times = table.column(column).cast(pa.timestamp("us", "UTC"))
    package = form.partition(" ")[0]
    if package in ("pandas", "polars") and find_spec(package) is None:
        form = "us"
    place = table.column_names.index(column)
    if form == "pandas mixed":
        import pandas as pd

        frame = table.to_pandas(integer_object_nulls=True)
        said_in = [t.astimezone(zones[n % len(zones)]) for n, t in enumerate(times.to_pylist())]
        frame[column] = pd.Series(said_in, dtype=object)
        return frame
    naive = "naive" in form
    unit = form.removeprefix("naive ")
    unit = unit if unit in ("us", "ns", "ms", "s") else "us"
    zone = None if naive else _arrow_zone(zones[0])
    try:
        times = times.cast(pa.timestamp(unit, "UTC"))
    except pa.ArrowInvalid:
        unit = "us"
    told = table.set_column(place, column, times.cast(pa.timestamp(unit, zone)))
    if form.startswith("pandas"):
        return told.to_pandas(integer_object_nulls=True)
    if form == "polars":
        import polars as pl

        return pl.from_arrow(table.set_column(place, column, times))
    return told


def _arrow_zone(zone: Any) -> str:
    """Return the zone as Arrow names it: a name, or an offset as ``+05:30``."""
    name = getattr(zone, "key", None)
    if name is not None:
        return str(name)
    minutes = int(zone.utcoffset(None).total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
