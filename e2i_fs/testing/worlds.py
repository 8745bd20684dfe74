"""Adversarial worlds: small histories and requests in which the contract's rules decide every answer.

Times tie, interleave and sit within a microsecond of TTL edges and of knowledge times; keys collide when joined
as text; rows lie in several files in any order. `make_world` is pure: one seed is one world on every machine;
`e2i_fs.testing.strategies.worlds` gives the same worlds to Hypothesis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from e2i_fs.dtypes import DType
from e2i_fs.testing.draw import Draw, Seeded
from e2i_fs.testing.oracle import Answer, Row, batch_problems, by_key, historical, online
from e2i_fs.testing.values import ALL_KINDS, KEY_KINDS, draw_dtype, draw_keys, draw_value

__all__ = ["Request", "ViewWorld", "World", "draw_world", "laid_out", "make_world", "renamed"]

US = timedelta(microseconds=1)
_UNITS = (US, timedelta(milliseconds=1), timedelta(seconds=1), timedelta(hours=1), timedelta(days=1))
_BASES = (
    datetime(2024, 3, 10, 6, 59, 59, tzinfo=UTC),  # New York goes to summer time at 07:00 UTC
    datetime(2024, 11, 3, 5, 30, tzinfo=UTC),  # and back at 06:00
    datetime(2024, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC),
)
_PLAIN_NAMES = ("trx_count", "share", "score", "tier", "note", "flag", "amount", "seen")
_HOSTILE_NAMES = (
    "select",
    "a b",
    "Tier",
    "tier",
    "x_y",
    "rn",
    "entity_row_id",
    "event_expire_timestamp",
    "日本",
    "rank",
    "t",
    "k",
    "__e",
)


@dataclass(frozen=True, slots=True)
class ViewWorld:
    """One view and its history. ``parts`` are row numbers by Parquet file, ``batches`` by SDK write."""

    name: str
    keys: tuple[tuple[str, DType], ...]
    entities: tuple[tuple[str, ...], ...]
    fields: tuple[tuple[str, DType], ...]
    ttl: timedelta | None
    event_column: str
    created_column: str | None
    renamed: bool
    rows: tuple[Row, ...]
    parts: tuple[tuple[int, ...], ...] = ()
    batches: tuple[tuple[int, ...], ...] = ()

    @property
    def key_types(self) -> list[DType]:
        """The dtypes of the join keys."""
        return [dtype for _, dtype in self.keys]

    @property
    def types(self) -> list[DType]:
        """The dtypes of the fields, in schema order."""
        return [dtype for _, dtype in self.fields]

    def writable(self, now: datetime) -> list[int]:
        """Return the numbers of the rows that a batch may hold at ``now`` (W-1, O-4)."""
        bad = {number for number, _ in batch_problems(self.rows, now, self.key_types)}
        return [number for number in range(len(self.rows)) if number not in bad]


@dataclass(frozen=True, slots=True)
class Request:
    """One historical request: fields by view number, and the form of knowledge time."""

    asked: tuple[tuple[int, str], ...]
    filter_by_created: bool = False
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class World:
    """A generated test case: views, entity rows and a present moment. ``entity_keys`` has each entity row's key values.

    ``seed`` also decides what must not matter: the order in which features are requested, and the unit and zone of
    times in frames and files.

    >>> from e2i_fs.testing import make_world
    >>> world = make_world(7)
    >>> request = next(world.requests())
    >>> answers = world.expected(world.views[0], request)
    >>> len(answers) == len(world.entity_keys) == len(world.times)
    True
    """

    seed: int
    views: tuple[ViewWorld, ...]
    entity_keys: tuple[dict[str, Any], ...]
    times: tuple[datetime, ...]
    timestamp_column: str
    extra: tuple[str, ...]
    frame: Literal["arrow", "pandas", "polars"]
    full_feature_names: bool
    as_of: datetime
    now: datetime

    def key_columns(self) -> dict[str, DType]:
        """Return the join key columns of all views, with their dtypes."""
        return {name: dtype for view in self.views for name, dtype in view.keys}

    def requests(self) -> Iterator[Request]:
        """Yield one request for each form of knowledge time: none, filter, as_of, both.

        Fields are asked for in a seeded order. The last three ask only of views with a created column, and
        are left out when there is none.
        """
        every = [(number, name) for number, view in enumerate(self.views) for name, _ in view.fields]
        every = Seeded(self.seed * 31 + 7).shuffled(every)
        known = [(number, name) for number, name in every if self.views[number].created_column]
        yield Request(tuple(every))
        if known:
            yield Request(tuple(known), filter_by_created=True)
            yield Request(tuple(known), as_of=self.as_of)
            yield Request(tuple(known), filter_by_created=True, as_of=self.as_of)

    def expected(self, view: ViewWorld, request: Request) -> list[Answer]:
        """Return the oracle's historical answers of one view, one for each entity row."""
        asked = [(self._key(view, keys), t) for keys, t in zip(self.entity_keys, self.times, strict=True)]
        return historical(
            by_key(view.rows, view.key_types), asked, view.key_types, view.types,
            ttl=view.ttl, filter_by_created=request.filter_by_created, as_of=request.as_of,
        )  # fmt: skip

    def expected_online(self, view: ViewWorld, rows: Sequence[Row], now: datetime) -> list[Answer]:
        """Return the oracle's online answers of one view at ``now``, when ``rows`` were written."""
        keys = [self._key(view, keys) for keys in self.entity_keys]
        return online(by_key(rows, view.key_types), keys, now, view.key_types, view.types, ttl=view.ttl)

    def _key(self, view: ViewWorld, keys: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(keys[name] for name, _ in view.keys)


def make_world(
    seed: int, *, kinds: Sequence[str] = ALL_KINDS, key_kinds: Sequence[str] = KEY_KINDS, hostile_names: bool = False,
    append: bool = True,
) -> World:  # fmt: skip
    """Return the world of ``seed``: the same seed gives the same world on every machine.

    ``kinds`` and ``key_kinds`` are the kinds of dtype that the backend can keep. ``hostile_names`` gives features names
    that databases trip over; ``append`` puts some rows into SDK writes instead of files.

    >>> from e2i_fs.testing import make_world
    >>> world = make_world(7, key_kinds=["string"])
    >>> world == make_world(7, key_kinds=["string"]), {str(dtype) for dtype in world.key_columns().values()}
    (True, {'String'})
    """
    return draw_world(
        Seeded(seed), seed, kinds=kinds, key_kinds=key_kinds, hostile_names=hostile_names, append=append,
        rows=(4, 14), entity_rows=(5, 25), prefix=f"w{seed}",
    )  # fmt: skip


def draw_world(
    draw: Draw, seed: int, *, kinds: Sequence[str] = ALL_KINDS, key_kinds: Sequence[str] = KEY_KINDS,
    hostile_names: bool = False, append: bool = True, created: bool | None = None, max_views: int = 3,
    rows: tuple[int, int] = (1, 10), entity_rows: tuple[int, int] = (1, 10), prefix: str = "w",
) -> World:  # fmt: skip
    """Return a world of the drawn choices; see `make_world` and `World`.

    ``rows`` and ``entity_rows`` bound the rows of each view and the entity rows; ``created`` says whether views have
    a created column (some have, when None). Key columns and views are named after ``prefix``.
    """
    base, unit = draw.choice(_BASES), draw.choice(_UNITS)
    columns = {name: DType(draw.choice(key_kinds)) for name in (f"{prefix}_a", f"{prefix}_b", f"{prefix}_c")}
    names = list(_PLAIN_NAMES) if not hostile_names else draw.shuffled(_HOSTILE_NAMES)
    views = []
    for number in range(min(draw.choice([1, 1, 2, 3]), max_views)):
        view = _draw_view(draw, f"{prefix}_v{number}", columns, names[number * 2 :], tuple(kinds), created)
        views.append(replace(view, rows=tuple(_draw_rows(draw, view, base, unit, rows))))
    world = _draw_entity_rows(draw, seed, views, base, unit, entity_rows)
    return laid_out(world, draw, append=append)


def renamed(world: World, suffix: str) -> World:
    """Return the same world under other view names, so that one store can hold both."""
    return replace(world, views=tuple(replace(v, name=f"{v.name}{suffix}") for v in world.views))


def laid_out(world: World, draw: Draw, *, append: bool = True) -> World:
    """Return ``world`` with the same rows in files and batches anew: shuffled, and split anywhere (T-4)."""
    views = []
    for view in world.views:
        order = draw.shuffled(range(len(view.rows)))
        batches: list[list[int]] = []
        if append and draw.chance(0.4):
            may = set(view.writable(world.now))
            written = {number for number in order if number in may and draw.chance(0.4)}
            batches = [b for b in _split(draw, [n for n in order if n in written], draw.integer(1, 2)) if b]
            order = [number for number in order if number not in written]
        parts = _split(draw, order, draw.integer(1, 3))
        views.append(replace(view, parts=tuple(map(tuple, parts)), batches=tuple(map(tuple, batches))))
    return replace(world, views=tuple(views))


def _split(draw: Draw, items: list[int], into: int) -> list[list[int]]:
    cuts = sorted(draw.integer(0, len(items)) for _ in range(into - 1))
    return [items[i:j] for i, j in zip([0, *cuts], [*cuts, len(items)], strict=True)]


def _draw_view(
    draw: Draw, name: str, columns: dict[str, DType], names: list[str], kinds: tuple[str, ...], created: bool | None
) -> ViewWorld:
    chosen = draw.shuffled(sorted(columns))[: draw.choice([1, 2, 2, 3])]
    keys = tuple((column, columns[column]) for column in chosen)
    cut = draw.integer(0, len(keys) - 1)
    groups = [tuple(column for column, _ in group) for group in (keys[:cut], keys[cut:]) if group]
    fields = tuple((feature, draw_dtype(draw, kinds)) for feature in names[: draw.choice([1, 2, 2])])
    ttl = draw.choice([None, US, timedelta(seconds=1), timedelta(hours=36), timedelta(days=2, microseconds=1)])
    known = ["created", "created", "created_at", None] if created is None else ["created" if created else None]
    return ViewWorld(
        name, keys, tuple(groups), fields, ttl,
        event_column=draw.choice(["event_timestamp", "ts"]),
        created_column=draw.choice(known),
        renamed=draw.chance(0.3), rows=(),
    )  # fmt: skip


def _draw_rows(draw: Draw, view: ViewWorld, base: datetime, unit: timedelta, count: tuple[int, int]) -> list[Row]:
    pool = draw_keys(draw, view.key_types)
    step = min(unit, view.ttl) if view.ttl and draw.chance(0.5) else unit
    earlier: list[Row] = []

    def make(draw: Draw) -> list[Row]:
        made = list(_draw_row(draw, view, pool, base, step, earlier))
        earlier.extend(made)
        return made

    return [row for made in draw.listed(make, *count) for row in made]


def _draw_row(
    draw: Draw, view: ViewWorld, pool: list[tuple[Any, ...]], base: datetime, step: timedelta, earlier: list[Row]
) -> Iterator[Row]:
    values = tuple(draw_value(draw, dtype) for _, dtype in view.fields)
    row = Row(draw.choice(pool), base + draw.integer(0, 5) * step, None, values)
    if earlier and draw.chance(0.45):  # a rival of an earlier row: a tie, down to the last field, or the row again
        rival = draw.choice(earlier)
        row = row._replace(key=rival.key, event=rival.event)
        match draw.integer(0, 3):
            case 0:
                row = rival
            case 1:
                yield row._replace(created=rival.created)
                return
            case 2:
                dtype = view.fields[-1][1]
                lasts = [draw_value(draw, dtype, missing=0.3)]
                if dtype.kind in ("float32", "float64") and draw.chance(0.5):
                    lasts = [-0.0, 0.0]
                yield from (rival._replace(values=(*rival.values[:-1], last)) for last in lasts)
                return
    if view.created_column and row.event is not None:
        later = draw.choice([timedelta(0), US, -US, step, 3 * step, -step, 10 * step, None])
        row = row._replace(created=None if later is None else row.event + later)
    if draw.chance(0.06):
        row = row._replace(event=None)
    if draw.chance(0.08):
        gap = draw.integer(0, len(row.key) - 1)
        row = row._replace(key=tuple(None if i == gap else part for i, part in enumerate(row.key)))
    yield row


def _draw_entity_rows(
    draw: Draw, seed: int, views: list[ViewWorld], base: datetime, unit: timedelta, count: tuple[int, int]
) -> World:
    columns = {name: dtype for view in views for name, dtype in view.keys}
    seen: dict[str, list[Any]] = {name: [None] for name in columns}
    for view in views:
        for row in view.rows:
            for (name, _), part in zip(view.keys, row.key, strict=True):
                seen[name].append(part)
    asked: list[tuple[dict[str, Any], datetime]] = []

    def make(draw: Draw) -> tuple[dict[str, Any], datetime]:
        if asked and draw.chance(0.1):  # the same entity row again, or the same key at the time of another
            keys, t = draw.choice(asked)
            asked.append((dict(keys), t if draw.chance(0.5) else draw.choice(asked)[1]))
            return asked[-1]
        view = draw.choice(views)
        row = draw.choice(view.rows)
        keys = {name: draw.choice(seen[name]) for name in columns}
        for other in (*draw.shuffled(views), view):
            if not draw.chance(0.2):
                found = row.key if other is view else draw.choice(other.rows).key
                keys.update(zip((name for name, _ in other.keys), found, strict=True))
        asked.append((keys, _near(draw, row, view, base, unit)))
        return asked[-1]

    rows = draw.listed(make, *count)
    some = draw.choice(views)
    row = draw.choice(some.rows)
    extra = draw.shuffled(["value", "ts", "created", "row_id", "Event_Timestamp", "__row", "a  c"])
    return World(
        seed, tuple(views), tuple(keys for keys, _ in rows), tuple(t for _, t in rows),
        timestamp_column=draw.choice(["event_timestamp", "event_timestamp", "at"]),
        extra=tuple(extra[: draw.integer(0, 2)]),
        frame=draw.choice(["arrow", "pandas", "pandas", "polars"]),
        full_feature_names=draw.chance(0.3),
        as_of=(row.created or row.event or base) + draw.choice([timedelta(0), US, -US, unit]),
        now=_near(draw, row, some, base, unit),
    )  # fmt: skip


def _near(draw: Draw, row: Row, view: ViewWorld, base: datetime, unit: timedelta) -> datetime:
    """Return a time that equals, or lies a microsecond off, what decides about ``row``; sometimes any time."""
    marks = [row.event, row.created, row.event and row.event + (view.ttl or unit)]
    mark = draw.choice([m for m in marks if m is not None] or [base])
    if draw.chance(0.15):
        mark = base + draw.integer(-1, 8) * unit
    return mark + draw.choice([timedelta(0), timedelta(0), US, -US])
