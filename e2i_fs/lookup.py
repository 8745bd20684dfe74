"""Online lookup: entity rows → keys → newest rows → ttl and statuses → answer (O-2, O-3, O-5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from e2i_fs.backend import Backend, Columnar, Key, OnlineColumns, OnlineRow
from e2i_fs.catalog import Catalog
from e2i_fs.errors import InvalidEntityFrameError, UnsupportedError, unstopped
from e2i_fs.frames import Frame, rows_of
from e2i_fs.keys import key_tuples
from e2i_fs.on_demand_run import request_columns, run_on_demand
from e2i_fs.prepared import Prepared, ViewPart
from e2i_fs.results import STATUSES, FeatureStatus, OnlineResult, Provenance
from e2i_fs.row_wise import ALONE_ONLINE
from e2i_fs.values import python_values, storage_values

__all__ = [
    "EntityRows",
    "Found",
    "aligned",
    "assemble",
    "columns_of",
    "look_up",
    "newest_event",
    "same_row",
    "same_rows",
]

_PRESENT, _NULL, _MISSING, _OLD = map(
    STATUSES.index,
    (FeatureStatus.PRESENT, FeatureStatus.NULL_VALUE, FeatureStatus.NOT_FOUND, FeatureStatus.OUTSIDE_MAX_AGE),
)


class Found(NamedTuple):
    """What was found at one moment (µs): what each view has online for the keys asked for.

    ``places`` has, for each group of views of the request, the place of each entity row's key among the keys, None where every row
    has its own. ``counted`` says that the backend gave the views' positions along.
    """

    now_us: int
    views: Mapping[str, OnlineColumns]
    places: Sequence[Sequence[int] | None]
    counted: bool = False

    def sequences(self) -> dict[str, int]:
        """Return the sequence of each view's position at the moment of reading, if the backend gave it."""
        return {name: columns.sequence for name, columns in self.views.items()}


def aligned(column: Sequence[Any], at: Sequence[int]) -> list[Any]:
    """Return a column of the keys as one of the entity rows. A row whose key can match nothing has the place behind the last."""
    return list(map([*column, None].__getitem__, at))


class EntityRows(NamedTuple):
    """The caller's entity rows as columns, checked."""

    columns: Mapping[str, Sequence[Any]]
    number: int
    reject_naive: bool = False

    @classmethod
    def checked(cls, given: Any, *, reject_naive: bool = False) -> EntityRows:
        """Return the rows of a list of mappings or a frame; raise when there is none (P-11)."""
        equal = _of_equal_rows(given)
        if equal is not None:
            return cls(equal, len(given), reject_naive)
        lists = _of_equal_lists(given)
        if lists is not None:
            return cls(lists, len(next(iter(lists.values()))), reject_naive)
        rows = rows_of(given)
        if rows is None:
            table = Frame(given, "entity_rows").table
            try:
                columns = {name: table.column(name).to_pylist() for name in table.column_names}
            except (OverflowError, ValueError) as error:
                raise InvalidEntityFrameError(
                    f"entity_rows holds a value that Python cannot hold: {unstopped(error)}."
                ) from error
            count = len(table)
        else:
            names = list(dict.fromkeys(name for row in rows for name in row))
            odd = next((n for n in names if not isinstance(n, str)), None)
            if odd is not None:
                raise InvalidEntityFrameError(f"entity_rows: the column name {odd!r} is not text.")
            for i, row in enumerate(rows):
                lacking = [n for n in names if n not in row]
                if lacking:
                    raise InvalidEntityFrameError(
                        f"entity_rows, row {i} lacks {lacking[0]!r}, which other rows have. Give every row the same "
                        "columns, None where a value is missing (P-11)."
                    )
            columns = {name: [row[name] for row in rows] for name in names}
            count = len(rows)
        if not count:
            raise InvalidEntityFrameError("entity_rows is empty; there is nothing to look up (P-11).")
        return cls(columns, count, reject_naive)

    def require(self, asked: Prepared) -> None:
        """Raise unless every join key and request column is there (P-11) and no output hides a column (P-9)."""
        if not asked.needed <= self.columns.keys():
            request = asked.request
            column = next(c for c in (*request.join_keys, *request.columns) if c not in self.columns)
            what = "join key" if column in request.join_keys else "request column"
            raise InvalidEntityFrameError(
                f"entity_rows lack the {what} {column!r} (P-11). They have {', '.join(map(repr, self.columns))}."
            )
        if not asked.taken.isdisjoint(self.columns):
            asked.request.check_collisions(self.columns)


def _of_equal_rows(given: Any) -> dict[str, list[Any]] | None:
    """Return the columns of a list of dicts that have the same keys, all text: what most ask with. None for anything else."""
    if type(given) is not list or not given:
        return None
    first = given[0]
    if type(first) is not dict:
        return None
    for name in first:
        if type(name) is not str:
            return None
    if len(given) == 1:
        return {name: [value] for name, value in first.items()}
    names = first.keys()
    if set(map(type, given)) != {dict} or not all(map(names.__eq__, map(dict.keys, given))):
        return None
    return {name: list(map(itemgetter(name), given)) for name in names}


def _of_equal_lists(given: Any) -> dict[str, list[Any]] | None:
    """Return a copy of a dict of lists that are equally long, and not empty, under names that are text. None for anything else."""
    if type(given) is not dict or set(map(type, given)) != {str} or set(map(type, given.values())) != {list}:
        return None
    lengths = set(map(len, given.values()))
    return {name: list(column) for name, column in given.items()} if len(lengths) == 1 and lengths != {0} else None


def look_up(backend: Backend, catalog: Catalog, asked: Prepared, rows: EntityRows, *, now_us: int) -> Found:
    """Return the row that stands online at ``now_us`` for each entity row and view. Each key is asked for once."""
    if asked.not_online is not None:
        raise UnsupportedError(
            f"View {asked.not_online!r} is not online (online=False); read it with get_historical_features."
        )
    wanted: dict[str, Sequence[Key]] = {}
    places: list[Sequence[int] | None] = []
    for join_keys, parts in asked.groups:
        keys, at = _once(key_tuples(rows.columns, join_keys, rows.number, reject_naive=rows.reject_naive))
        places.append(at)
        for part in parts:
            wanted[part.name] = keys
    counted = backend.capabilities.columnar
    if counted:
        columnar: Columnar = backend  # type: ignore[assignment]  # as it declares; to look would cost as much as the read
        found = columnar.online_columns(catalog, wanted, at_us=now_us)
    else:
        found = {
            name: columns_of(backend.online_read(name, keys, at_us=now_us) if keys else [], -1)
            for name, keys in wanted.items()
        }
    return Found(now_us, found, places, counted)


def _once(keys: Sequence[Key | None]) -> tuple[Sequence[Key], Sequence[int] | None]:
    """Return each key once, and the place of each row's among them: behind the last if it can match nothing; None if all differ."""
    if len(keys) == 1 and keys[0] is not None:
        return keys, None  # type: ignore[return-value]
    unique = dict.fromkeys(keys)
    if len(unique) == len(keys) and None not in unique:
        return keys, None  # type: ignore[return-value]
    unique.pop(None, None)
    place = {key: number for number, key in enumerate(unique)}
    return list(unique), [len(unique) if key is None else place[key] for key in keys]  # type: ignore[arg-type]


def columns_of(rows: Sequence[OnlineRow | None], sequence: int) -> OnlineColumns:
    """Return rows as columns; those of values are made when they are asked for."""
    return OnlineColumns(
        [None if row is None else row.event_us for row in rows],
        [None if row is None else row.created_us for row in rows],
        _Values(rows),
        sequence,
    )


class _Values(Mapping[str, Sequence[Any]]):
    """The values of rows, by field."""

    def __init__(self, rows: Sequence[OnlineRow | None]) -> None:
        self._rows = rows

    def __getitem__(self, name: str) -> Sequence[Any]:
        return [None if row is None else row.values.get(name) for row in self._rows]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for row in self._rows if row is not None for name in row.values))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def same_rows(one: Found, other: Found) -> bool:
    """Return whether two lookups found the same rows, NaN equal to NaN (X-10).

    A created time counts where both know one. Rows that Feast itself has put online have none: that is no other answer.
    """
    return one.views.keys() == other.views.keys() and all(
        len(rows := _rows(columns)) == len(others := _rows(other.views[view])) and all(map(same_row, rows, others))
        for view, columns in one.views.items()
    )


def _rows(columns: OnlineColumns) -> list[OnlineRow | None]:
    """Return the columns of one view as rows."""
    values = (
        [{}] * len(columns.event_us)
        if not columns.values
        else [dict(zip(columns.values, row, strict=True)) for row in zip(*columns.values.values(), strict=True)]
    )
    return [
        None if event is None else OnlineRow(event, created, row)
        for event, created, row in zip(columns.event_us, columns.created_us, values, strict=True)
    ]


def same_row(one: OnlineRow | None, other: OnlineRow | None) -> bool:
    """Return whether two rows are the same; see `same_rows`."""
    if one is None or other is None:
        return one is other
    known = one.created_us is not None and other.created_us is not None
    return repr(_plain(one, known)) == repr(_plain(other, known))


def _plain(row: OnlineRow, created: bool) -> Any:
    values = sorted((n, v) for n, v in row.values.items() if v is not None)
    return (row.event_us, row.created_us if created else None, values)


def assemble(asked: Prepared, rows: EntityRows, found: Found, provenance: Callable[[], Provenance]) -> OnlineResult:
    """Return the answer: values, statuses and event times of every output, aligned with the entity rows (O-5)."""
    values: dict[str, Sequence[Any]] = {}
    lacking: dict[str, Sequence[int]] = {}  # the status of a feature of the view that has no value, by row
    events: dict[str, Sequence[int | None]] = {}
    for (_, parts), at in zip(asked.groups, found.places):  # noqa: B905 - as many, by their making
        for part in parts:
            name, ttl, stood = part.name, part.ttl_us, found.views[part.name]
            oldest = -math.inf if ttl is None else found.now_us - ttl
            events[name] = times = stood.event_us if at is None else aligned(stood.event_us, at)
            codes: Sequence[int]
            dropped = False
            if None not in times and min(times) >= oldest:
                codes = (_NULL,) * rows.number
            else:
                codes = [_MISSING if event is None else _NULL if event >= oldest else _OLD for event in times]
                dropped = _OLD in codes
            lacking[name] = codes
            columns = _columns(part, stood, at)
            if dropped:
                columns = [_without_old(column, codes) for column in columns]
            if part.dtypes:
                columns = list(map(python_values, columns, part.dtypes))
            values.update(zip(part.refs, columns))  # noqa: B905 - as many, by their making
    codes_of: Callable[[], Mapping[str, Sequence[int]]] = partial(_codes, asked, values, lacking)
    events_of: Callable[[], Mapping[str, Sequence[int | None]]] = partial(_events, asked, events)
    if asked.request.on_demand:
        made = _run(asked, rows, values, _codes(asked, values, lacking), _events(asked, events))
        codes_of, events_of = made[0].copy, made[1].copy
    return OnlineResult(rows.columns, asked.names, values, asked.types, codes_of, events_of, provenance)


def _columns(part: ViewPart, stood: OnlineColumns, at: Sequence[int] | None) -> Sequence[Sequence[Any]]:
    """Return the columns of the features to read, aligned with the entity rows; of a feature that no row has, nothing but None."""
    columns: Sequence[Sequence[Any]]
    try:
        columns = part.pick(stood.values)
    except KeyError:
        nothing = (None,) * len(stood.event_us)
        columns = [stood.values.get(name, nothing) for name in part.names]
    return columns if at is None else [aligned(column, at) for column in columns]


def _without_old(column: Sequence[Any], codes: Sequence[int]) -> list[Any]:
    return [None if code == _OLD else value for value, code in zip(column, codes, strict=True)]


def _events(asked: Prepared, events: Mapping[str, Sequence[int | None]]) -> dict[str, Sequence[int | None]]:
    """Return the event times of all features read, by reference: those of their view."""
    return {ref: events[part.name] for _, parts in asked.groups for part in parts for ref in part.refs}


def _codes(
    asked: Prepared, values: Mapping[str, Sequence[Any]], lacking: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:
    """Return the numbers of the statuses of all features read, by reference."""
    return {
        ref: [code if value is None else _PRESENT for value, code in zip(values[ref], lacking[part.name], strict=True)]
        for _, parts in asked.groups
        for part in parts
        for ref in part.refs
    }


def _run(
    asked: Prepared,
    rows: EntityRows,
    values: dict[str, Sequence[Any]],
    codes: dict[str, list[int]],
    events: dict[str, Sequence[int | None]],
) -> tuple[dict[str, list[int]], dict[str, Sequence[int | None]]]:
    """Add what the on-demand views compute to the values, and return the statuses' numbers and the event times with theirs."""
    for view in asked.request.on_demand:
        given = request_columns(view, rows.columns, reject_naive=rows.reject_naive)
        made = run_on_demand(view, given, values, codes, events, rows.number, alone=ALONE_ONLINE)
        for field_name, (made_values, made_codes, made_events) in made.items():
            ref, dtype = f"{view.name}:{field_name}", view.features[field_name].dtype
            values[ref] = python_values(storage_values(made_values, dtype), dtype)
            codes[ref], events[ref] = made_codes, made_events
    return codes, events


def newest_event(found: Found) -> int | None:
    """Return the newest event time among the rows found (µs), None when there is none."""
    times = (event for columns in found.views.values() for event in columns.event_us if event is not None)
    return max(times, default=None)
