"""The point-in-time join: for each entity row, the row of history that answers at its time (P-1 to P-8).

Read `point_in_time` for the whole of it. A row of history is a key, its times and a number until it has won: which row
answers is settled on those alone, and only then are features read, of winners, and only those asked for. A row becomes
usable at ``a``: its event time or, when knowledge time counts, the later of event and created time. One ASOF join on ``a``
finds the row of each entity row, in time that stays linear however long a key's history is: under knowledge time only rows
that are greater than all usable before them take part. Where rows tie on their times, their values decide (P-4).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.backend import Knowledge, ParquetRows, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, InvalidTimestampError, unstopped
from e2i_fs.pit.connection import connect
from e2i_fs.pit.history import Piece, pieces_of
from e2i_fs.pit.order import winner_order
from e2i_fs.pit.sorted_rows import SortedRows, by_row, latest_places, values_at
from e2i_fs.pit.steady import unchanged
from e2i_fs.values import LossyCastError, arrow_type, cast_column

if TYPE_CHECKING:
    from e2i_fs.config import EngineConfig

__all__ = ["Wanted", "point_in_time", "together", "typed_column"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of one view: which features, and where its history lies."""

    view: FeatureView
    features: Sequence[str]
    parts: Sequence[ScanPart | SortedRows]

    @property
    def columns(self) -> list[str]:
        """The positional columns of the features."""
        positions = {f.name: i for i, f in enumerate(self.view.schema)}
        return [f"v{positions[name]}" for name in self.features]


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
    (found,) = together(entities, join_keys, [Wanted(view, features, parts)], knowledge, limits=limits)
    return found


def together(
    entities: pa.Table,
    join_keys: Mapping[str, DType],
    wanted: Sequence[Wanted],
    knowledge: Knowledge,
    *,
    limits: EngineConfig | None = None,
) -> list[pa.Table]:
    """Return `point_in_time` of each of several views of the same join keys; what lies in the same files is read once."""
    files = [path for one in wanted for part in one.parts if isinstance(part, ParquetRows) for path in part.paths]
    copies = [p for one in wanted for part in one.parts if isinstance(part, SortedRows) for p in (part.rows, part.keys)]
    connection = connect(limits)
    engine = _Engine(connection, entities, join_keys, knowledge)
    try:
        numbers = pa.array(np.arange(len(entities), dtype=np.int64))
        connection.register("entities", entities.append_column("row", numbers))
        with unchanged(files, there=copies):
            found = engine.answers(wanted)
    except duckdb.Error as error:
        raise translated(error, engine.at or wanted[0].view) from error
    except (OSError, pa.ArrowException) as error:
        name = (engine.at or wanted[0].view).name
        raise BackendDataError(
            f"A sorted copy of view {name!r} cannot be read: {unstopped(error)}. Run store.optimize({name!r}) again."
        ) from error
    finally:
        connection.close()
    return [_typed(one, table) for one, table in zip(wanted, found, strict=True)]


def _typed(one: Wanted, found: pa.Table) -> pa.Table:
    columns = [
        typed_column(found.column(1 + i), one.view.features[n].dtype, one.view, n) for i, n in enumerate(one.features)
    ]
    return pa.table([found.column(0).cast(pa.int64()), *columns], names=["e", *one.features])


class _Engine:
    """One retrieval on one connection, of which ``entities`` is a table."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, entities: pa.Table, join_keys: Mapping[str, DType], knowledge: Knowledge
    ) -> None:  # fmt: skip
        self._connection = connection
        self._rows = len(entities)
        self._until_us = pc.max(entities.column("t")).as_py()
        self._join_keys = join_keys
        self._keys = len(join_keys)
        self._knowledge = knowledge
        self._loaded = False
        self.at: FeatureView | None = None  # the view that is being read, for an error

    def answers(self, wanted: Sequence[Wanted]) -> list[pa.Table]:
        """Return for each view the winners' ``e`` and its columns."""
        answers: dict[int, pa.Table] = {}
        groups: dict[Hashable, list[tuple[int, list[Piece]]]] = {}
        for number, one in enumerate(wanted):
            self.at = one.view
            if not one.parts:
                nothing = [pa.nulls(self._rows, arrow_type(one.view.features[name].dtype)) for name in one.features]
                answers[number] = pa.table([pa.nulls(self._rows, pa.int64()), *nothing], names=["e", *one.columns])
            elif (copy := self._alone(one.parts)) is not None:
                row, places = latest_places(self._connection, copy, self._keys)
                answers[number] = by_row(values_at(copy, places, ["e", *one.columns]), row, self._rows)
            else:
                pieces = pieces_of(
                    self._connection,
                    one.view,
                    self._join_keys,
                    one.parts,
                    name=f"part{number}_",
                    until_us=self._until_us,
                )
                same = [p.rows_as([*_keys(self._keys), "e", "c"]) for p in pieces]
                apart = number if None in same else -1  # what can be read once is nobody else's
                groups.setdefault((apart, *same), []).append((number, pieces))
        for group in groups.values():
            self.at = wanted[group[0][0]].view
            self._load()
            found = self._joined([(wanted[number], pieces) for number, pieces in group])
            answers |= dict(zip((number for number, _ in group), found, strict=True))
        return [answers[number] for number in range(len(wanted))]

    def _alone(self, parts: Sequence[ScanPart | SortedRows]) -> SortedRows | None:
        """Return the sorted copy that is the whole history and can answer by bisection."""
        (first, *others) = parts
        return first if isinstance(first, SortedRows) and not others and not self._knowledge.counts else None

    def _load(self) -> None:
        if not self._loaded:
            _load(self._connection, self._keys)
            self._loaded = True

    def _joined(self, group: Sequence[tuple[Wanted, list[Piece]]]) -> list[pa.Table]:
        """Return the answers of views whose rows are the same in all but features."""
        run = self._connection.execute
        first = [_kept(self._connection, piece, self._keys, i, len(group[0][1])) for i, piece in enumerate(group[0][1])]
        copied = None if self._knowledge.counts else partial(_candidates, self._connection, self._keys)
        run(_usable_sql(first, self._keys, self._knowledge, copied))
        run(_hits_sql(self._knowledge))
        tied = _tied(self._connection, self._knowledge)
        pieces_by_view = [first, *(pieces for _, pieces in group[1:])]
        if not tied:
            names = [[f"w{number}_{column}" for column in one.columns] for number, (one, _) in enumerate(group)]
            columns = [one.columns for one, _ in group]
            rows = [_side_by_side(pieces, columns, names) for pieces in zip(*pieces_by_view, strict=True)]
            matched = self._connection.sql(_answer_sql(rows, [n for own in names for n in own])).to_arrow_table()
            found = [matched.select(["e", *own]) for own in names]
        else:
            found = []
            run("ALTER TABLE hits RENAME TO untied")
            for (one, _), pieces in zip(group, pieces_by_view, strict=True):
                self.at = one.view
                run("CREATE OR REPLACE TEMP TABLE hits AS SELECT * FROM untied")
                _break_ties(self._connection, pieces, one.view, self._knowledge)
                found.append(self._connection.sql(_answer_sql(pieces, one.columns)).to_arrow_table())
            run("DROP TABLE untied")
        run("DROP TABLE usable")
        run("DROP TABLE hits")
        return found


def _side_by_side(pieces: Sequence[Piece], columns: Sequence[Sequence[str]], names: Sequence[Sequence[str]]) -> Piece:
    """Return the same rows with columns of several views under names of their own."""
    renamed = [
        (piece, column, name)
        for piece, own, theirs in zip(pieces, columns, names, strict=True)
        for column, name in zip(own, theirs, strict=True)
    ]
    return replace(
        pieces[0],
        columns={name: piece.columns[column] for piece, column, name in renamed},
        refusing=frozenset(name for piece, column, name in renamed if column in piece.refusing),
    )


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
    same = " AND ".join(f"{piece.columns[f'k{i}']} = keyed.k{i}" for i in range(keys)) or "true"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE kept{place} AS SELECT h.* FROM {piece.relation} h SEMI JOIN keyed ON {same}"
    )
    return replace(piece, relation=f"kept{place}", number=f"-1 - (rowid * {pieces} + {place})")


def _candidates(connection: duckdb.DuckDBPyConnection, keys: int, copy: SortedRows, piece: Piece) -> str:
    """Return a SELECT of the rows of a sorted copy that answer any entity row, as far as the copy knows: no other can win."""
    places = np.unique(latest_places(connection, copy, keys)[1])
    names = [*_keys(keys), "e", "c"]
    found = values_at(copy, places, names).append_column("file_row_number", pa.array(places))
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
        f"CREATE OR REPLACE TEMP TABLE usable AS SELECT keyed.kid, h.e, h.c, h.id FROM ({history}) h "
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
        CREATE OR REPLACE TEMP TABLE hits AS SELECT asked.row, asked.kid, best.e, best.c, best.id
        FROM asked ASOF LEFT JOIN ({best}) best ON asked.kid = best.kid AND asked.t >= best.a"""


def _tie(knowledge: Knowledge) -> list[str]:
    """Return the columns on which rows tie that the join does not tell apart."""
    return ["kid", "e", "c"] if knowledge.filter_by_created else ["kid", "e"]


def _tied(connection: duckdb.DuckDBPyConnection, knowledge: Knowledge) -> bool:
    """Return whether any row that may answer has a rival."""
    same = " AND ".join(f"usable.{n} = hits.{n}" for n in _tie(knowledge))
    ((found, there),) = connection.execute(f"""
        SELECT (SELECT count(DISTINCT id) FROM hits), (SELECT count(*) FROM usable SEMI JOIN hits ON {same})
    """).fetchall()
    return bool(found != there)


def _break_ties(
    connection: duckdb.DuckDBPyConnection, pieces: Sequence[Piece], view: FeatureView, knowledge: Knowledge
) -> None:
    """Put the winner by P-4 into ``hits`` where several rows tie on what the join went by."""
    tied = _tie(knowledge)
    same = " AND ".join(f"usable.{n} = hits.{n}" for n in tied)
    group = ", ".join(tied)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE rivals AS
        SELECT * FROM (SELECT * FROM usable SEMI JOIN hits ON {same} QUALIFY count(*) OVER (PARTITION BY {group}) > 1)
        QUALIFY rank() OVER (PARTITION BY {group} ORDER BY c DESC NULLS LAST) = 1
    """)
    ((left, groups),) = connection.execute(
        f"SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT {group} FROM rivals)) FROM rivals"
    ).fetchall()
    if left > groups:
        values = [f"v{i}" for i in range(len(view.schema))]
        rows = "\nUNION ALL\n".join(piece.select("id", *values, among="rivals") for piece in pieces)
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE rivals AS
            SELECT rivals.* FROM rivals JOIN ({rows}) h ON rivals.id = h.id
            QUALIFY row_number() OVER (PARTITION BY {group} ORDER BY {", ".join(winner_order(view, descending=True))}) = 1
        """)
    same = " AND ".join(f"rivals.{n} = hits.{n}" for n in tied)
    connection.execute(f"UPDATE hits SET id = rivals.id FROM rivals WHERE {same}")


def _answer_sql(pieces: Sequence[Piece], chosen: Sequence[str]) -> str:
    """Return the SELECT of the event time and the ``chosen`` columns of each entity row's winner, in the entity rows' order."""
    rows = "\nUNION ALL\n".join(piece.select("id", *chosen, among="hits") for piece in pieces)
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
            f"The history of view {view.name!r} and what is asked of it do not fit into the memory allowed, although what can wait "
            f"goes to disk: {unstopped(str(error).partition(chr(10))[0])}. Allow more: `engine` in the configuration has memory_limit, "
            "and fewer threads need less. Or ask for less at a time: `historical_batches`, a full run in smaller batches, files with "
            "smaller row groups."
        )
    return BackendDataError(
        f"The history of view {view.name!r} cannot be read: {unstopped(error)}. If a file changed while it was read, try again; "
        "else write it again, with the columns and dtypes that the view declares."
    )
