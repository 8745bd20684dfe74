"""The point-in-time join: for each entity row, the row of history that answers at its time (P-1 to P-8).

Read `point_in_time` for the whole of it. A row of history is a key, its times and a number until it has won: which row
answers is settled on those alone, and only then are features read, of winners, and only those asked for. A row becomes
usable at ``a``: its event time or, when knowledge time counts, the later of event and created time. One ASOF join on ``a``
finds the row of each entity row, in time that stays linear however long a key's history is: under knowledge time only rows
that are greater than all usable before them take part. Where rows tie on their times, their values decide (P-4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.backend import ArrowRows, Knowledge, ParquetRows, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, InvalidTimestampError, unstopped
from e2i_fs.pit.bounded import bounded
from e2i_fs.pit.connection import connect
from e2i_fs.pit.history import Piece, history_sql, pieces_of
from e2i_fs.pit.order import winner_order
from e2i_fs.pit.sorted_rows import SortedRows, latest_places, values_at
from e2i_fs.pit.steady import unchanged
from e2i_fs.values import LossyCastError, arrow_type, cast_column

if TYPE_CHECKING:
    from e2i_fs.config import EngineConfig

__all__ = ["LatestRows", "latest_rows", "point_in_time", "typed_column"]


def point_in_time(
    entities: pa.Table,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    features: Sequence[str],
    parts: Sequence[ScanPart | SortedRows],
    knowledge: Knowledge,
    *,
    limits: EngineConfig | None = None,
) -> pa.Table:
    """Return, for each entity row and in its order, the winner of one view: ``e`` and the features asked for.

    ``entities`` has the columns ``t`` (int64, µs) and ``k0..`` (the join keys in their dtypes, None matching
    nothing). The result has as many rows: ``e`` (int64, µs, None where nothing is visible) and one column for
    each of ``features`` in its dtype. The ``ttl`` is not applied here. ``limits`` bounds what it takes of the machine.
    """
    if not parts:
        nothing = [pa.nulls(len(entities), arrow_type(view.features[name].dtype)) for name in features]
        return pa.table([pa.nulls(len(entities), pa.int64()), *nothing], names=["e", *features])
    positions = {f.name: i for i, f in enumerate(view.schema)}
    chosen = [f"v{positions[name]}" for name in features]
    keys = len(join_keys)
    connection = connect(limits)
    try:
        numbers = pa.array(np.arange(len(entities), dtype=np.int64))
        connection.register("entities", entities.append_column("row", numbers))
        files = [path for part in parts if isinstance(part, ParquetRows) for path in part.paths]
        copies = [path for part in parts if isinstance(part, SortedRows) for path in (part.rows, part.keys)]
        with unchanged(files, there=copies):
            (first, *others) = parts
            if isinstance(first, SortedRows) and not others and not knowledge.counts:
                matched = values_at(first, latest_places(connection, first, keys, len(entities)), ["e", *chosen])
            else:
                _load(connection, keys)
                pieces = pieces_of(connection, view, join_keys, parts, until_us=pc.max(entities.column("t")).as_py())
                pieces = [_kept(connection, piece, keys, i, len(pieces)) for i, piece in enumerate(pieces)]
                copied = None if knowledge.counts else partial(_candidates, connection, keys, len(entities))
                connection.execute(_usable_sql(pieces, keys, knowledge, copied))
                connection.execute(_hits_sql(knowledge))
                _break_ties(connection, pieces, view, knowledge)
                matched = connection.sql(_answer_sql(pieces, chosen)).to_arrow_table()
    except duckdb.Error as error:
        raise translated(error, view) from error
    except (OSError, pa.ArrowException) as error:
        raise BackendDataError(
            f"A sorted copy of view {view.name!r} cannot be read: {unstopped(error)}. Run store.optimize({view.name!r}) again."
        ) from error
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
        raise translated(error, view) from error
    except BaseException:
        connection.close()
        raise

    def piece(offset: int, size: int) -> pa.Table:
        try:
            found = connection.sql(
                f"SELECT * FROM winners WHERE rowid >= {offset} AND rowid < {offset + size} ORDER BY rowid"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise translated(error, view) from error
        columns = [typed_column(found.column(i), t, view, n) for i, (n, t) in enumerate(join_keys.items())]
        columns += [found.column("e"), found.column("c")]
        columns += [typed_column(found.column(f"v{i}"), f.dtype, view, f.name) for i, f in enumerate(view.schema)]
        return pa.table(columns, names=[*keys, "e", "c", *(f"v{i}" for i in range(len(view.schema)))])

    return LatestRows(rows, looked_at, newest_us, piece, connection.close)


def _keys(keys: int) -> list[str]:
    return [f"k{i}" for i in range(keys)]


def _load(connection: duckdb.DuckDBPyConnection, keys: int) -> None:
    """Make, of ``entities``, ``keyed`` (each distinct whole key with a number and its latest time) and ``asked`` (the rows)."""
    columns = _keys(keys)
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


def _kept(connection: duckdb.DuckDBPyConnection, piece: Piece, keys: int, place: int, pieces: int) -> Piece:
    """Return the piece, one of ``pieces``, as a table of what may be needed of it if it can be read only once."""
    if piece.number is not None:
        return piece
    same = " AND ".join(f"h.k{i} = keyed.k{i}" for i in range(keys)) or "true"
    rows = piece.select(*piece.columns)
    connection.execute(f"CREATE TEMP TABLE kept{place} AS SELECT h.* FROM ({rows}) h SEMI JOIN keyed ON {same}")
    return Piece(f"kept{place}", {name: name for name in piece.columns}, f"-1 - (rowid * {pieces} + {place})")


def _candidates(connection: duckdb.DuckDBPyConnection, keys: int, rows: int, copy: SortedRows, piece: Piece) -> str:
    """Return a SELECT of the rows of a sorted copy that answer any entity row, as far as the copy knows: no other can win."""
    places = np.unique(latest_places(connection, copy, keys, rows))
    names = [*_keys(keys), "e", "c"]
    found = values_at(copy, places[places >= 0], names).append_column("file_row_number", pa.array(places[places >= 0]))
    connection.register("candidates", found)
    return replace(piece, relation="candidates").select(*names, "id")


def _usable_sql(
    pieces: Sequence[Piece],
    keys: int,
    knowledge: Knowledge,
    copied: Callable[[SortedRows, Piece], str] | None = None,
) -> str:
    """Return the statement that makes ``usable``: the keys, times and numbers of rows that could answer any entity row at all.

    ``copied`` makes the SELECT of what is needed of a sorted copy.
    """
    history = "\nUNION ALL\n".join(
        piece.select(*_keys(keys), "e", "c", "id")
        if copied is None or piece.copy is None
        else copied(piece.copy, piece)
        for piece in pieces
    )
    same = " AND ".join(f"keyed.k{i} = h.k{i}" for i in range(keys)) or "true"
    conditions = ["h.e <= keyed.until"]
    if knowledge.counts:
        conditions.append("h.c IS NOT NULL")
    if knowledge.as_of_us is not None:
        conditions.append(f"h.c <= {knowledge.as_of_us}")
    if knowledge.filter_by_created:
        conditions.append("h.c <= keyed.until")
    return (
        f"CREATE TEMP TABLE usable AS SELECT keyed.kid, h.e, h.c, h.id FROM ({history}) h "
        f"JOIN keyed ON {same} WHERE {' AND '.join(conditions)}"
    )


def _hits_sql(knowledge: Knowledge) -> str:
    """Return the statement that makes ``hits``: for each entity row the times and the number of a row that answers, one of those that tie."""
    best = "SELECT *, e AS a FROM usable"
    if knowledge.filter_by_created:
        rank = f"CAST(e AS HUGEINT) * {2**64} + (CAST(c AS HUGEINT) + {2**63})"  # by event time, then by created time
        best = f"""
            SELECT * FROM (SELECT *, greatest(e, c) AS a, {rank} AS rank FROM usable)
            QUALIFY rank = max(rank) OVER (PARTITION BY kid ORDER BY a)"""
    return f"""
        CREATE TEMP TABLE hits AS SELECT asked.row, asked.kid, best.e, best.c, best.id
        FROM asked ASOF LEFT JOIN ({best}) best ON asked.kid = best.kid AND asked.t >= best.a"""


def _break_ties(
    connection: duckdb.DuckDBPyConnection, pieces: Sequence[Piece], view: FeatureView, knowledge: Knowledge
) -> None:
    """Put the winner by P-4 into ``hits`` where several rows tie on what the join went by."""
    tied = ["kid", "e", "c"] if knowledge.filter_by_created else ["kid", "e"]
    same = " AND ".join(f"usable.{n} = hits.{n}" for n in tied)
    ((found, there),) = connection.execute(f"""
        SELECT (SELECT count(DISTINCT id) FROM hits), (SELECT count(*) FROM usable SEMI JOIN hits ON {same})
    """).fetchall()
    if found == there:
        return
    group = ", ".join(tied)
    connection.execute(f"""
        CREATE TEMP TABLE rivals AS
        SELECT * FROM (SELECT * FROM usable SEMI JOIN hits ON {same} QUALIFY count(*) OVER (PARTITION BY {group}) > 1)
        QUALIFY rank() OVER (PARTITION BY {group} ORDER BY c DESC NULLS LAST) = 1
    """)
    ((left, groups),) = connection.execute(
        f"SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT {group} FROM rivals)) FROM rivals"
    ).fetchall()
    if left > groups:
        values = [f"v{i}" for i in range(len(view.schema))]
        rows = "\nUNION ALL\n".join(piece.select("id", *values) for piece in pieces)
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE rivals AS
            SELECT rivals.* FROM rivals JOIN ({rows}) h ON rivals.id = h.id
            QUALIFY row_number() OVER (PARTITION BY {group} ORDER BY {", ".join(winner_order(view, descending=True))}) = 1
        """)
    same = " AND ".join(f"rivals.{n} = hits.{n}" for n in tied)
    connection.execute(f"UPDATE hits SET id = rivals.id FROM rivals WHERE {same}")


def _answer_sql(pieces: Sequence[Piece], chosen: Sequence[str]) -> str:
    """Return the SELECT of the event time and the ``chosen`` columns of each entity row's winner, in the entity rows' order."""
    rows = "\nUNION ALL\n".join(piece.select("id", *chosen) for piece in pieces)
    return f"""
        SELECT hits.e{"".join(f", h.{name}" for name in chosen)}
        FROM hits LEFT JOIN ({rows}) h ON hits.id = h.id
        ORDER BY hits.row"""


def typed_column(column: pa.ChunkedArray, dtype: DType, view: FeatureView, name: str) -> pa.ChunkedArray:
    """Return a column of the engine in the Arrow type of its dtype, or raise `BackendDataError`."""
    try:
        return cast_column(column, dtype, parse_json=False)
    except LossyCastError as error:
        raise BackendDataError(
            f"The history of view {view.name!r} does not fit: {name!r} {unstopped(error)}. Write the source again as declared."
        ) from error


def translated(error: duckdb.Error, view: FeatureView) -> Exception:
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
