"""The point-in-time join: for each entity row, the row of history that answers at its time (P-1 to P-8).

Read `point_in_time` for the whole of it. A row becomes usable at ``a``: its event time or, when knowledge time
counts, the later of event and created time. Rows of one key are ranked by the winner's order (P-4); the greatest
rank usable so far is a running maximum over ``a``; one ASOF join on ``a`` then finds it for every entity row, in
time that stays linear however long a key's history is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from e2i_fs.backend import ArrowRows, Knowledge, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, InvalidTimestampError, unstopped
from e2i_fs.pit.bounded import bounded
from e2i_fs.pit.connection import connect
from e2i_fs.pit.fit import sort_sql
from e2i_fs.pit.history import history_sql
from e2i_fs.values import LossyCastError, cast_column

__all__ = ["LatestRows", "latest_rows", "point_in_time", "typed_column", "winner_order"]


def point_in_time(
    entities: pa.Table,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    features: Sequence[str],
    parts: Sequence[ScanPart],
    knowledge: Knowledge,
) -> pa.Table:
    """Return, for each entity row and in its order, the winner of one view: ``e`` and the features asked for.

    ``entities`` has the columns ``t`` (int64, µs) and ``k0..`` (the join keys in their dtypes, None matching
    nothing). The result has as many rows: ``e`` (int64, µs, None where nothing is visible) and one column for
    each of ``features`` in its dtype. The ``ttl`` is not applied here.
    """
    connection = connect()
    try:
        _load(connection, entities, len(join_keys))
        history = history_sql(connection, view, join_keys, parts)
        connection.execute(_usable_sql(history, len(join_keys), knowledge))
        order = _rank_order(connection, view)
        positions = {f.name: i for i, f in enumerate(view.schema)}
        chosen = "".join(f", h.v{positions[name]}" for name in features)
        usable_at = "greatest(e, c)" if knowledge.filter_by_created else "e"
        matched = connection.sql(f"""
            WITH ranked AS (
                SELECT rowid AS id, kid, {usable_at} AS a,
                       row_number() OVER (PARTITION BY kid ORDER BY {order}) AS rank
                FROM usable),
            steps AS (SELECT kid, a, max(rank) AS rank FROM ranked GROUP BY kid, a),
            best AS (
                SELECT kid, a, max(rank) OVER (PARTITION BY kid ORDER BY a ROWS UNBOUNDED PRECEDING) AS rank
                FROM steps),
            hits AS (
                SELECT asked.row, best.kid, best.rank
                FROM asked ASOF LEFT JOIN best ON asked.kid = best.kid AND asked.t >= best.a)
            SELECT h.e{chosen}
            FROM hits
            LEFT JOIN ranked ON ranked.kid = hits.kid AND ranked.rank = hits.rank
            LEFT JOIN usable h ON h.rowid = ranked.id
            ORDER BY hits.row
        """).to_arrow_table()
    except duckdb.Error as error:
        raise _translated(error, view) from error
    finally:
        connection.close()
    columns = [typed_column(matched.column(1 + i), view.features[n].dtype, view, n) for i, n in enumerate(features)]
    return pa.table([matched.column(0).cast(pa.int64()), *columns], names=["e", *features])


@dataclass(frozen=True, slots=True)
class LatestRows:
    """The winner of each key in one window, held by the engine (which spills to disk) and given out in pieces.

    ``rows`` is how many winners there are, ``looked_at`` how many rows of history the window has, ``newest_us`` the
    winners' newest event time (µs, None without any). ``piece(offset, size)`` is a table of so many of them, sorted by key,
    the same each time: ``k0..``, ``e``, ``c`` and ``v0..`` (all fields, in their dtypes). ``close`` lets go of them.
    """

    rows: int
    looked_at: int
    newest_us: int | None
    piece: Callable[[int, int], pa.Table]
    close: Callable[[], None]


def latest_rows(
    view: FeatureView,
    join_keys: Mapping[str, DType],
    parts: Sequence[ScanPart],
    *,
    start_us: int | None,
    end_us: int,
    seen: Sequence[ScanPart] = (),
    seen_until_us: int = 0,
) -> LatestRows:
    """Find the winner of each key among the rows with ``start_us <= event time <= end_us``; close what is returned.

    Of ``seen``, parts that were read before, only rows later than ``seen_until_us`` count. Rows with a missing key or
    event time are none (T-3, P-7). It is done in half a gigabyte of memory and on disk, unless a file's row groups need more.
    """
    if any(isinstance(part, ArrowRows) for part in (*parts, *seen)):
        connection = connect()  # what can be read once cannot be tried again with more memory
        return _latest(connection, view, join_keys, parts, start_us, end_us, seen, seen_until_us)
    database = bounded()
    while True:
        limit = database.limit
        try:
            return _latest(database.connect(), view, join_keys, parts, start_us, end_us, seen, seen_until_us)
        except BackendDataError as error:
            if not isinstance(error.__cause__, duckdb.OutOfMemoryException) or not database.grow(limit):
                raise


def _latest(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, join_keys: Mapping[str, DType], parts: Sequence[ScanPart],
    start_us: int | None, end_us: int, seen: Sequence[ScanPart], seen_until_us: int,
) -> LatestRows:  # fmt: skip
    keys = [f"k{i}" for i in range(len(join_keys))]
    known = "".join(f" AND {k} IS NOT NULL" for k in keys)
    since = "" if start_us is None else f" AND e >= {start_us}"
    group = f"PARTITION BY {', '.join(keys)} " if keys else ""
    try:
        history = history_sql(connection, view, join_keys, parts)
        if seen:
            later = history_sql(connection, view, join_keys, seen, name="seen")
            history = f"SELECT * FROM ({history}) UNION ALL SELECT * FROM ({later}) WHERE e > {seen_until_us}"
        connection.execute(f"CREATE TEMP TABLE usable AS SELECT * FROM ({history}) WHERE e <= {end_us}{since}{known}")
        order = ", ".join(f"{term}" for term in winner_order(view, descending=True))
        connection.execute(f"""
            CREATE TEMP TABLE winners AS
            SELECT * FROM usable QUALIFY row_number() OVER ({group}ORDER BY {order}) = 1
            {"ORDER BY " + ", ".join(keys) if keys else ""}
        """)
        ((looked_at, rows, newest_us),) = connection.execute(
            "SELECT (SELECT count(*) FROM usable), count(*), max(e) FROM winners"
        ).fetchall()
        connection.execute("DROP TABLE usable")
    except duckdb.Error as error:
        connection.close()
        raise _translated(error, view) from error
    except BaseException:
        connection.close()
        raise

    def piece(offset: int, size: int) -> pa.Table:
        try:
            found = connection.sql(
                f"SELECT * FROM winners WHERE rowid >= {offset} AND rowid < {offset + size} ORDER BY rowid"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise _translated(error, view) from error
        columns = [typed_column(found.column(i), t, view, n) for i, (n, t) in enumerate(join_keys.items())]
        columns += [found.column("e"), found.column("c")]
        columns += [typed_column(found.column(f"v{i}"), f.dtype, view, f.name) for i, f in enumerate(view.schema)]
        return pa.table(columns, names=[*keys, "e", "c", *(f"v{i}" for i in range(len(view.schema)))])

    return LatestRows(rows, looked_at, newest_us, piece, connection.close)


def _load(connection: duckdb.DuckDBPyConnection, entities: pa.Table, keys: int) -> None:
    """Make ``keyed`` (each distinct whole key with a number and its latest time) and ``asked`` (the rows)."""
    connection.register("entities", entities.append_column("row", pa.array(range(len(entities)), pa.int64())))
    columns = [f"k{i}" for i in range(keys)]
    listed = ", ".join(columns)
    known = " AND ".join(f"{c} IS NOT NULL" for c in columns) or "true"
    if not columns:
        connection.execute("CREATE TEMP TABLE keyed AS SELECT 1 AS kid, max(t) AS until FROM entities")
        connection.execute("CREATE TEMP TABLE asked AS SELECT row, t, 1 AS kid FROM entities")
        return
    connection.execute(
        f"CREATE TEMP TABLE keyed AS SELECT *, row_number() OVER () AS kid FROM "
        f"(SELECT {listed}, max(t) AS until FROM entities WHERE {known} GROUP BY {listed})"
    )
    same = " AND ".join(f"entities.{c} = keyed.{c}" for c in columns)
    connection.execute(f"CREATE TEMP TABLE asked AS SELECT row, t, keyed.kid FROM entities LEFT JOIN keyed ON {same}")


def _usable_sql(history: str, keys: int, knowledge: Knowledge) -> str:
    """Return the statement that keeps the rows of history that could answer any entity row at all."""
    same = " AND ".join(f"keyed.k{i} = h.k{i}" for i in range(keys)) or "true"
    conditions = ["h.e <= keyed.until"]
    if knowledge.counts:
        conditions.append("h.c IS NOT NULL")
    if knowledge.as_of_us is not None:
        conditions.append(f"h.c <= {knowledge.as_of_us}")
    if knowledge.filter_by_created:
        conditions.append("h.c <= keyed.until")
    return (
        f"CREATE TEMP TABLE usable AS SELECT keyed.kid, h.* FROM ({history}) h JOIN keyed ON {same} "
        f"WHERE {' AND '.join(conditions)}"
    )


def _rank_order(connection: duckdb.DuckDBPyConnection, view: FeatureView) -> str:
    """Return the ORDER BY of P-4; the values are compared only if two rows tie on key, event and created time."""
    tie = connection.execute("SELECT 1 FROM usable GROUP BY kid, e, c HAVING count(*) > 1 LIMIT 1").fetchall()
    return ", ".join(winner_order(view)) if tie else "e, c ASC NULLS FIRST"


def winner_order(view: FeatureView, *, descending: bool = False) -> list[str]:
    """Return the ORDER BY terms of P-4: event time, created time, then every value in schema order."""
    terms = ["e ASC", "c ASC NULLS FIRST"]
    terms += [term for i, f in enumerate(view.schema) for term in sort_sql(f"v{i}", f.dtype)]
    if not descending:
        return terms
    turned = [t.replace(" ASC NULLS FIRST", " DESC NULLS LAST").replace(" ASC", " DESC") for t in terms]
    return [t if " DESC" in t else f"({t}) DESC" for t in turned]


def typed_column(column: pa.ChunkedArray, dtype: DType, view: FeatureView, name: str) -> pa.ChunkedArray:
    """Return a column of the engine in the Arrow type of its dtype, or raise `BackendDataError`."""
    try:
        return cast_column(column, dtype, parse_json=False)
    except LossyCastError as error:
        raise BackendDataError(
            f"The history of view {view.name!r} does not fit: {name!r} {unstopped(error)}. Write the source again as declared."
        ) from error


def _translated(error: duckdb.Error, view: FeatureView) -> Exception:
    """Return the error of ours that says what DuckDB's does (G-4)."""
    if isinstance(error.__cause__, InvalidTimestampError):
        return error.__cause__
    if isinstance(error, duckdb.OutOfMemoryException):
        return BackendDataError(
            f"The history of view {view.name!r} does not fit into memory, nor beside it on disk: {unstopped(error)}. Ask for less "
            "at a time (a full run in smaller batches, files with smaller row groups), or give the process more memory."
        )
    return BackendDataError(
        f"The history of view {view.name!r} cannot be read: {unstopped(error)}. If a file changed while it was read, try again; "
        "else write it again, with the columns and dtypes that the view declares."
    )
