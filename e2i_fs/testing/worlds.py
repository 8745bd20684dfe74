"""Adversarial worlds, seeded: small histories and requests in which the contract's rules decide every answer.

Times tie, interleave and sit within a microsecond of TTL edges and of knowledge times; keys collide when joined
as text; rows lie in several files in any order. `make_world` is pure: one seed is one world on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal

from e2i_fs.dtypes import DType
from e2i_fs.testing.oracle import Answer, Row, batch_problems, by_key, historical, online
from e2i_fs.testing.values import ALL_KINDS, KEY_KINDS, draw_dtype, draw_keys, draw_value

__all__ = ["Request", "ViewWorld", "World", "laid_out", "make_world"]

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
    """Views, entity rows and a present moment. ``entity_keys`` has each entity row's values by key column."""

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
        rng = Random(self.seed * 31 + 7)  # noqa: S311 - a seeded generator, no secret
        every = [(number, name) for number, view in enumerate(self.views) for name, _ in view.fields]
        rng.shuffle(every)
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
    """Return the world of ``seed``.

    ``kinds`` and ``key_kinds`` are the kinds of dtype a backend can keep, ``hostile_names`` gives features the
    names that databases trip over, ``append`` puts some rows into SDK writes instead of files.
    """
    rng = Random(seed)  # noqa: S311 - a seeded generator, no secret
    base, unit = rng.choice(_BASES), rng.choice(_UNITS)
    columns = {name: DType(rng.choice(key_kinds)) for name in (f"w{seed}_a", f"w{seed}_b", f"w{seed}_c")}
    names = rng.sample(_HOSTILE_NAMES if hostile_names else _PLAIN_NAMES, 8)
    views = []
    for number in range(rng.choice([1, 1, 2, 3])):
        view = _draw_view(rng, f"w{seed}_v{number}", columns, names[number * 2 :], tuple(kinds))
        views.append(replace(view, rows=tuple(_draw_rows(rng, view, base, unit))))
    world = _draw_entity_rows(rng, seed, views, base, unit)
    return laid_out(world, rng, append=append)


def laid_out(world: World, rng: Random, *, append: bool = True) -> World:
    """Return ``world`` with the same rows in files and batches anew: shuffled, and split anywhere (T-4)."""
    views = []
    for view in world.views:
        order = list(range(len(view.rows)))
        rng.shuffle(order)
        batches: list[list[int]] = []
        if append and rng.random() < 0.4:
            may = set(view.writable(world.now))
            written = [number for number in order if number in may and rng.random() < 0.4]
            order = [number for number in order if number not in written]
            batches = [b for b in _split(rng, written, rng.randint(1, 2)) if b]
        views.append(
            replace(
                view,
                parts=tuple(tuple(p) for p in _split(rng, order, rng.randint(1, 3))),
                batches=tuple(tuple(b) for b in batches),
            )
        )
    return replace(world, views=tuple(views))


def _split(rng: Random, items: list[int], into: int) -> list[list[int]]:
    cuts = sorted(rng.randint(0, len(items)) for _ in range(into - 1))
    return [items[i:j] for i, j in zip([0, *cuts], [*cuts, len(items)], strict=True)]


def _draw_view(
    rng: Random, name: str, columns: dict[str, DType], names: list[str], kinds: tuple[str, ...]
) -> ViewWorld:
    keys = tuple((column, columns[column]) for column in rng.sample(sorted(columns), rng.choice([1, 2, 2, 3])))
    cut = rng.randint(0, len(keys) - 1)
    groups = [tuple(column for column, _ in group) for group in (keys[:cut], keys[cut:]) if group]
    fields = tuple((feature, draw_dtype(rng, kinds)) for feature in names[: rng.choice([1, 2, 2])])
    ttl = rng.choice([None, US, timedelta(seconds=1), timedelta(hours=36), timedelta(days=2, microseconds=1)])
    return ViewWorld(
        name, keys, tuple(groups), fields, ttl,
        event_column=rng.choice(["event_timestamp", "ts"]),
        created_column=rng.choice(["created", "created", "created_at", None]),
        renamed=rng.random() < 0.3, rows=(),
    )  # fmt: skip


def _draw_rows(rng: Random, view: ViewWorld, base: datetime, unit: timedelta) -> Iterator[Row]:
    pool = draw_keys(rng, view.key_types)
    step = min(unit, view.ttl) if view.ttl and rng.random() < 0.5 else unit
    rows: list[Row] = []
    for _ in range(rng.randint(4, 14)):
        row = Row(
            rng.choice(pool), base + rng.randint(0, 5) * step, None,
            tuple(draw_value(rng, dtype) for _, dtype in view.fields),
        )  # fmt: skip
        if rows and rng.random() < 0.45:  # a rival of an earlier row: a tie, down to the last field, or the row again
            rival = rng.choice(rows)
            row = row._replace(key=rival.key, event=rival.event)
            match rng.randint(0, 3):
                case 0:
                    row = rival
                case 1:
                    row = row._replace(created=rival.created)
                    rows.append(row)
                    continue
                case 2:
                    dtype = view.fields[-1][1]
                    lasts = [draw_value(rng, dtype, missing=0.3)]
                    if dtype.kind in ("float32", "float64") and rng.random() < 0.5:
                        lasts = [-0.0, 0.0]
                    rows.extend(rival._replace(values=(*rival.values[:-1], last)) for last in lasts)
                    continue
        if view.created_column and row.event is not None:
            later = rng.choice([timedelta(0), US, -US, step, 3 * step, -step, 10 * step, None])
            row = row._replace(created=None if later is None else row.event + later)
        if rng.random() < 0.06:
            row = row._replace(event=None)
        if rng.random() < 0.08:
            gap = rng.randrange(len(row.key))
            row = row._replace(key=tuple(None if i == gap else part for i, part in enumerate(row.key)))
        rows.append(row)
    yield from rows


def _draw_entity_rows(rng: Random, seed: int, views: list[ViewWorld], base: datetime, unit: timedelta) -> World:
    columns = {name: dtype for view in views for name, dtype in view.keys}
    seen: dict[str, list[Any]] = {name: [None] for name in columns}
    for view in views:
        for row in view.rows:
            for (name, _), part in zip(view.keys, row.key, strict=True):
                seen[name].append(part)
    entity_keys: list[dict[str, Any]] = []
    times: list[datetime] = []
    for _ in range(rng.randint(5, 25)):
        if times and rng.random() < 0.1:  # the same entity row again, or the same key at the time of another
            again = rng.randrange(len(times))
            entity_keys.append(dict(entity_keys[again]))
            times.append(times[rng.choice([again, rng.randrange(len(times))])])
            continue
        view = rng.choice(views)
        row = rng.choice(view.rows)
        keys = {name: rng.choice(seen[name]) for name in columns}
        for other in (*rng.sample(views, len(views)), view):
            if rng.random() < 0.8:
                found = row.key if other is view else rng.choice(other.rows).key
                keys.update(zip((name for name, _ in other.keys), found, strict=True))
        entity_keys.append(keys)
        times.append(_near(rng, row, view, base, unit))
    some = rng.choice(views)
    row = rng.choice(some.rows)
    as_of = (row.created or row.event or base) + rng.choice([timedelta(0), US, -US, unit])
    extra = rng.sample(["value", "ts", "created", "row_id", "Event_Timestamp", "__row", "a  c"], rng.randint(0, 2))
    return World(
        seed, tuple(views), tuple(entity_keys), tuple(times),
        timestamp_column=rng.choice(["event_timestamp", "event_timestamp", "at"]),
        extra=tuple(extra),
        frame=rng.choice(["arrow", "pandas", "pandas", "polars"]),
        full_feature_names=rng.random() < 0.3,
        as_of=as_of,
        now=_near(rng, row, some, base, unit),
    )  # fmt: skip


def _near(rng: Random, row: Row, view: ViewWorld, base: datetime, unit: timedelta) -> datetime:
    """Return a time that equals, or lies a microsecond off, what decides about ``row``; sometimes any time."""
    marks = [row.event, row.created, row.event and row.event + (view.ttl or unit)]
    mark = rng.choice([m for m in marks if m is not None] or [base])
    if rng.random() < 0.15:
        mark = base + rng.randint(-1, 8) * unit
    return mark + rng.choice([timedelta(0), timedelta(0), US, -US])
