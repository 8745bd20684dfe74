"""Published vectors: cases that other systems publish with literal answers, to ask of a store or of the oracle.

The files ship with the package and are described in docs/vectors.md. Each case is asked of its history in several file
layouts, rows reversed too (T-4), and online at each entity row's own time where the question has an online form (O-2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

import e2i_fs
from e2i_fs.definitions import Entity, FeatureView, Field
from e2i_fs.errors import E2IError, UnsupportedError
from e2i_fs.sources import ParquetSource
from e2i_fs.testing.compare import same_value
from e2i_fs.testing.oracle import Answer, Row, batch_problems, by_key, historical
from e2i_fs.testing.vector_format import CREATED_COLUMN, TIME_COLUMN, Citation, Vector, read_file
from e2i_fs.values import arrow_type

if TYPE_CHECKING:
    from e2i_fs.protocol import FeatureStore
    from e2i_fs.testing.clock import FakeClock

__all__ = ["LAYOUTS", "Citation", "Vector", "load_vectors", "oracle_difference", "vector_difference", "vector_view"]

LAYOUTS = ("together", "reversed", "scattered")
"""One file in the order given; one file in reverse; a file for each row, the last row first."""

_UTC_US = pa.timestamp("us", "UTC")


def load_vectors(folder: str | Path | None = None) -> tuple[Vector, ...]:
    """Return the cases of every ``*.json`` in ``folder``, by default of those that ship with the package.

    Raises ValueError for a file that is not in the format, naming file, case and key, or for a folder without files.

    >>> sorted({vector.file for vector in load_vectors()})[:3]
    ['clickhouse_asof', 'duckdb_asof', 'feast_point_in_time']
    """
    home = _shipped() if folder is None else Path(folder)
    files = sorted(home.glob("*.json"))
    if not files:
        raise ValueError(f"{home} holds no *.json; give a folder of vector files, or none for those that ship.")
    return tuple(vector for file in files for vector in read_file(file))


def _shipped() -> Path:
    """Return the folder of the wheel (``e2i_fs/testing/_vectors``) or of the checkout (``tests/vectors``)."""
    home = Path(str(e2i_fs.__file__)).parent
    for folder in (home / "testing" / "_vectors", home.parent / "tests" / "vectors"):
        if folder.is_dir():
            return folder
    raise UnsupportedError(
        f"The published vectors are neither in {home} nor beside it; reinstall e2i-fs from a wheel or a checkout."
    )


# ---- a case as a view ----------------------------------------------------------------------------------------


def vector_view(vector: Vector, folder: str | Path, *, layout: str = LAYOUTS[0]) -> FeatureView:
    """Write the history of ``vector`` as Parquet below ``folder`` and return the view over it, entity inside.

    ``layout`` is one of `LAYOUTS`; the view is named after the file, the case and the layout.
    """
    name = f"{vector.file}_{vector.name}_{layout}"
    rows = vector.history if layout == "together" else vector.history[::-1]
    parts: Sequence[Sequence[Row]] = [[row] for row in rows] if layout == "scattered" and rows else [rows]
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [Path(folder) / f"{name}_{number}.parquet" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        pq.write_table(_table(vector, part), path)
    return FeatureView(
        name,
        entities=[Entity(f"{name}_entity", join_keys=dict(vector.keys))],
        schema=[Field(field, dtype) for field, dtype in vector.fields],
        source=ParquetSource(
            [str(path) for path in paths],
            timestamp_field=TIME_COLUMN,
            created_timestamp_field=CREATED_COLUMN if vector.created else None,
        ),
        ttl=vector.ttl,
    )


def _table(vector: Vector, rows: Sequence[Row]) -> pa.Table:
    columns = _keys(vector, [row.key for row in rows])
    columns[TIME_COLUMN] = pa.array([row.event for row in rows], _UTC_US)
    if vector.created:
        columns[CREATED_COLUMN] = pa.array([row.created for row in rows], _UTC_US)
    for place, (name, dtype) in enumerate(vector.fields):
        columns[name] = pa.array([row.values[place] for row in rows], arrow_type(dtype))
    return pa.table(columns)


def _keys(vector: Vector, keys: Sequence[tuple[Any, ...]]) -> dict[str, pa.Array]:
    return {
        name: pa.array([key[place] for key in keys], arrow_type(dtype))
        for place, (name, dtype) in enumerate(vector.keys)
    }


# ---- asking --------------------------------------------------------------------------------------------------


def vector_difference(
    vector: Vector, store: FeatureStore, folder: str | Path, *, clock: FakeClock | None = None
) -> str | None:
    """Ask ``store`` the case and return None, or a text with the rules, the row, what was expected and what came.

    Applies a view for each of `LAYOUTS` over files below ``folder``. With ``clock``, the one that the store was opened
    with, the case is asked online too; it is then moved to the entity rows' times. Raises what the store raises.
    """
    views = [vector_view(vector, folder, layout=layout) for layout in LAYOUTS]
    store.apply(views)
    if vector.refused is not None:
        return _refusal_difference(vector, store, views)
    asked = _keys(vector, [key for key, _ in vector.entities])
    asked[TIME_COLUMN] = pa.array([t for _, t in vector.entities], _UTC_US)
    result = store.get_historical_features(
        pa.table(asked), [f"{view.name}:*" for view in views], full_feature_names=True,
        filter_by_created_timestamp=vector.filter_by_created, as_of=vector.as_of,
    )  # fmt: skip
    columns = result.to_arrow()
    for view, layout in zip(views, LAYOUTS, strict=True):
        values = {name: columns.column(f"{view.name}__{name}").to_pylist() for name, _ in vector.fields}
        got = _answers(vector, view.name, values, result.statuses, result.event_timestamps)
        problem = _difference(vector, got, f"historical, files {layout}")
        if problem is not None:
            return problem
    if clock is None or vector.filter_by_created or vector.as_of is not None:
        return None
    return next((p for view in views[:2] if (p := _online_difference(vector, store, view, clock))), None)


def oracle_difference(vector: Vector) -> str | None:
    """Ask the oracle the case, its history in both directions, and return None or the difference as text."""
    if vector.refused is not None:  # the one thing that the oracle cannot be asked: the rows at no time
        timeless = vector.refused == "T-3" and None in [t for _, t in vector.entities]
        return None if timeless else f"{_name(vector)}: the contract does not refuse this by {vector.refused}."
    asked = [(key, t) for key, t in vector.entities if t is not None]
    for rows, order in ((vector.history, "rows as given"), (vector.history[::-1], "rows reversed")):
        got = historical(
            by_key(rows, vector.key_types), asked, vector.key_types, vector.types,
            ttl=vector.ttl, filter_by_created=vector.filter_by_created, as_of=vector.as_of,
        )  # fmt: skip
        problem = _difference(vector, got, f"oracle, {order}")
        if problem is not None:
            return problem
    return None


def _refusal_difference(vector: Vector, store: FeatureStore, views: Sequence[FeatureView]) -> str | None:
    asked = _keys(vector, [key for key, _ in vector.entities])
    asked[TIME_COLUMN] = pa.array([t for _, t in vector.entities], _UTC_US)
    for view in views:
        try:
            store.get_historical_features(
                pa.table(asked), [f"{view.name}:*"],
                filter_by_created_timestamp=vector.filter_by_created, as_of=vector.as_of,
            )  # fmt: skip
        except E2IError as error:
            if f"({vector.refused})" in str(error):
                continue
            return f"{_name(vector)}: expected to be refused by {vector.refused}, got {error!r}."
        return f"{_name(vector)}: expected to be refused by {vector.refused}, got an answer."
    return None


def _online_difference(vector: Vector, store: FeatureStore, view: FeatureView, clock: FakeClock) -> str | None:
    """Write what may be written by each entity row's time, in the view's own order of rows, and ask at that time."""
    written: set[int] = set()
    backwards = view.name.endswith("reversed")
    for t in sorted({t for _, t in vector.entities if t is not None}):
        clock.set(t)
        fresh = [number for number in _writable(vector, t) if number not in written]
        for batch in [[n] for n in reversed(fresh)] if backwards else [fresh] if fresh else []:
            store.write(view.name, _table(vector, [vector.history[n] for n in batch]), to="online")
        written.update(fresh)
        rows = [number for number, (_, at) in enumerate(vector.entities) if at == t]
        keys = [{name: part for (name, _), part in zip(vector.keys, vector.entities[n][0], strict=True)} for n in rows]
        answer = store.get_online_features([f"{view.name}:*"], keys)
        got = _answers(vector, view.name, answer.to_dict(), answer.statuses, answer.event_timestamps)
        how = "one write for each row, the last first" if backwards else "one write"
        problem = _difference(vector, got, f"online, {how}", rows)
        if problem is not None:
            return problem
    return None


def _writable(vector: Vector, now: datetime) -> Iterator[int]:
    """Yield the numbers of the rows that a batch may hold at ``now`` (W-1, O-4)."""
    bad = {number for number, _ in batch_problems(vector.history, now, vector.key_types)}
    yield from (number for number in range(len(vector.history)) if number not in bad)


def _answers(vector: Vector, view: str, values: Any, statuses: Any, events: Any) -> list[tuple[Any, ...]]:
    """Return for each row, field by field, (value, status, event time)."""
    columns = []
    for name, _ in vector.fields:
        ref = f"{view}:{name}"
        columns.append(zip(values[name], (s.name for s in statuses[ref]), events[ref], strict=True))
    return list(zip(*columns, strict=True))


def _difference(vector: Vector, got: Sequence[Any], where: str, rows: Sequence[int] | None = None) -> str | None:
    """Return the first difference; ``rows`` are the entity rows that were asked about, all unless given."""
    numbers = range(len(vector.entities)) if rows is None else rows
    if len(got) != len(numbers):
        return f"{_name(vector)}, {where}: {len(numbers)} rows asked, {len(got)} answered (P-6)."
    for number, found in zip(numbers, got, strict=True):
        one = vector.expected[number]
        cells = list(zip(found.values, found.statuses, (found.event,) * len(found.values), strict=True)) if isinstance(found, Answer) else found  # fmt: skip
        for (name, dtype), value, status, cell in zip(vector.fields, one.values, one.statuses, cells, strict=True):
            if not same_value(cell[0], value, dtype) or cell[1:] != (status, one.event):
                key, t = vector.entities[number]
                return (
                    f"{_name(vector)}, {where}, row {number} ({_shown(vector, key)} at {t}): {name} expected "
                    f"{value!r} {status} of {one.event}, got {cell[0]!r} {cell[1]} of {cell[2]}."
                )
    return None


def _name(vector: Vector) -> str:
    return f"{vector.file}: {vector.name} [{', '.join(vector.rules)}]"


def _shown(vector: Vector, key: tuple[Any, ...]) -> str:
    return ", ".join(f"{name}={part!r}" for (name, _), part in zip(vector.keys, key, strict=True))
