"""Online lookup: entity rows → keys → newest rows → ttl and statuses → answer (O-2, O-3, O-5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from e2i_fs.backend import Backend, Key, OnlineRow
from e2i_fs.catalog import Catalog
from e2i_fs.errors import InvalidEntityFrameError, UnsupportedError, unstopped
from e2i_fs.frames import Frame, rows_of
from e2i_fs.keys import key_tuples
from e2i_fs.on_demand_run import request_columns, run_on_demand
from e2i_fs.request import Request
from e2i_fs.results import STATUSES, FeatureStatus, OnlineResult, Provenance
from e2i_fs.row_wise import ALONE_ONLINE
from e2i_fs.values import arrow_type, python_values, storage_values

__all__ = ["EntityRows", "Found", "assemble", "look_up", "same_rows"]

_CODE = {status: code for code, status in enumerate(STATUSES)}


class Found(NamedTuple):
    """What was found at one moment (µs): by view, the row that answers for each entity row, or None."""

    now_us: int
    rows: Mapping[str, Sequence[OnlineRow | None]]


@dataclass(frozen=True)
class EntityRows:
    """The caller's entity rows as columns, checked."""

    columns: Mapping[str, Sequence[Any]]
    count: int
    reject_naive: bool = False

    @classmethod
    def checked(cls, given: Any, *, reject_naive: bool = False) -> EntityRows:
        """Return the rows of a list of mappings or a frame; raise when there is none (P-11)."""
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

    def require(self, request: Request) -> None:
        """Raise unless every join key and request column is there (P-11) and no output hides a column (P-9)."""
        for column in (*request.join_keys, *request.columns):
            if column not in self.columns:
                what = "join key" if column in request.join_keys else "request column"
                raise InvalidEntityFrameError(
                    f"entity_rows lack the {what} {column!r} (P-11). They have {', '.join(map(repr, self.columns))}."
                )
        request.check_collisions(self.columns)


def look_up(backend: Backend, catalog: Catalog, request: Request, rows: EntityRows, *, now_us: int) -> Found:
    """Return the row that stands online at ``now_us`` for each entity row and view. Each key is asked for once."""
    found: dict[str, list[OnlineRow | None]] = {}
    for name in request.views:
        if not catalog.views[name].online:
            raise UnsupportedError(f"View {name!r} is not online (online=False); read it with get_historical_features.")
        keys = key_tuples(rows.columns, catalog.join_keys(name), rows.count, reject_naive=rows.reject_naive)
        unique: dict[Key, int] = {}
        for key in keys:
            if key is not None:
                unique.setdefault(key, len(unique))
        read = backend.online_read(name, list(unique), at_us=now_us) if unique else []
        found[name] = [None if key is None else read[unique[key]] for key in keys]
    return Found(now_us, found)


def same_rows(one: Found, other: Found) -> bool:
    """Return whether two lookups found the same rows, NaN equal to NaN (X-10).

    A created time counts where both know one. Rows that Feast itself has put online have none: that is no other answer.
    """
    return one.rows.keys() == other.rows.keys() and all(
        len(rows) == len(other.rows[view]) and all(map(_same_row, rows, other.rows[view]))
        for view, rows in one.rows.items()
    )


def _same_row(one: OnlineRow | None, other: OnlineRow | None) -> bool:
    if one is None or other is None:
        return one is other
    known = one.created_us is not None and other.created_us is not None
    return repr(_plain(one, known)) == repr(_plain(other, known))


def _plain(row: OnlineRow, created: bool) -> Any:
    values = sorted((n, v) for n, v in row.values.items() if v is not None)
    return (row.event_us, row.created_us if created else None, values)


def assemble(
    catalog: Catalog, request: Request, rows: EntityRows, found: Found, provenance: Provenance
) -> OnlineResult:
    """Return the answer: values, statuses and event times of every output, aligned with the entity rows (O-5)."""
    values: dict[str, list[Any]] = {}
    codes: dict[str, list[int]] = {}
    events: dict[str, list[int | None]] = {}
    present, null = _CODE[FeatureStatus.PRESENT], _CODE[FeatureStatus.NULL_VALUE]
    missing, old = _CODE[FeatureStatus.NOT_FOUND], _CODE[FeatureStatus.OUTSIDE_MAX_AGE]
    for name, features in request.views.items():
        view = catalog.views[name]
        ttl, fields = view.ttl_us, view.features
        view_rows = found.rows[name]
        times = [None if row is None else row.event_us for row in view_rows]
        oldest = -math.inf if ttl is None else found.now_us - ttl
        served = [row if row is not None and row.event_us >= oldest else None for row in view_rows]
        lacking = [  # the status of a feature that has no value, by row
            missing if row is None else null if row is one else old for row, one in zip(view_rows, served, strict=True)
        ]
        for feature in features:
            ref, dtype = f"{name}:{feature}", fields[feature].dtype
            stored = [None if row is None else row.values.get(feature) for row in served]
            values[ref] = python_values(stored, dtype)
            codes[ref] = [code if value is None else present for value, code in zip(stored, lacking, strict=True)]
            events[ref] = times
    for view_od in request.on_demand:
        given = request_columns(view_od, rows.columns, reject_naive=rows.reject_naive)
        made = run_on_demand(view_od, given, values, codes, events, rows.count, alone=ALONE_ONLINE)
        for field_name, (made_values, made_codes, made_events) in made.items():
            ref = f"{view_od.name}:{field_name}"
            dtype = view_od.features[field_name].dtype
            typed = python_values(storage_values(made_values, dtype), dtype)
            values[ref], codes[ref], events[ref] = typed, made_codes, made_events
    return OnlineResult(
        inputs=rows.columns,
        values={o.name: values[o.ref] for o in request.outputs},
        types={o.name: partial(arrow_type, o.field.dtype) for o in request.outputs},
        statuses={o.ref: list(map(STATUSES.__getitem__, codes[o.ref])) for o in request.outputs},
        events={o.ref: events[o.ref] for o in request.outputs},
        provenance=provenance,
    )


def newest_event(found: Found) -> int | None:
    """Return the newest event time among the rows found (µs), None when there is none."""
    newest = max((r.event_us for rows in found.rows.values() for r in rows if r is not None), default=-math.inf)
    return None if newest == -math.inf else int(newest)
