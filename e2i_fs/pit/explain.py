"""Why one entity row got its answer: every row of its key, and why each lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import duckdb
import pyarrow as pa

from e2i_fs.backend import Knowledge, ScanPart
from e2i_fs.clock import from_us
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, unstopped
from e2i_fs.pit.connection import connect
from e2i_fs.pit.engine import typed_column
from e2i_fs.pit.history import history_sql
from e2i_fs.pit.order import winner_order

__all__ = ["Candidate", "Explanation", "Verdict", "every_row", "explain_row"]

Verdict = Literal["chosen", "expired", "beaten", "future", "not yet known", "no event time"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of history that might have answered, and its verdict with the rule behind it.

    ``chosen`` answers; ``expired`` won and is older than the ttl (P-2); ``beaten`` lost to a greater row (P-4);
    ``future`` has a later event time (P-1); ``not yet known`` was created too late or never (P-3).
    """

    event_timestamp: datetime | None
    created_timestamp: datetime | None
    values: Mapping[str, Any]
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The candidates of one entity row in one view, greatest first (P-4)."""

    view: str
    key: Mapping[str, Any]
    timestamp: datetime
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        key = ", ".join(f"{k}={v!r}" for k, v in self.key.items())
        lines = [f"{self.view} for {key} at {self.timestamp.isoformat()}: {len(self.candidates)} candidate rows"]
        lines += [
            f"  {c.verdict:<14} event {c.event_timestamp and c.event_timestamp.isoformat()}"
            f"  created {c.created_timestamp and c.created_timestamp.isoformat()}  {dict(c.values)}  ({c.reason})"
            for c in self.candidates
        ]
        return "\n".join(lines)


def explain_row(
    entity: pa.Table,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    parts: Sequence[ScanPart],
    knowledge: Knowledge,
) -> Explanation:
    """Explain the answer of one view for one entity row: a table of one row with ``t`` and ``k0..``."""
    connection = connect()
    try:
        connection.register("entity", entity)
        history = history_sql(connection, view, join_keys, parts)
        same = " AND ".join(f"h.k{i} = entity.k{i}" for i in range(len(join_keys))) or "true"
        order = ", ".join(winner_order(view, descending=True))
        rows = connection.sql(
            f"SELECT h.* FROM ({history}) h JOIN entity ON {same} ORDER BY (e IS NULL), {order}"
        ).to_arrow_table()
    except duckdb.Error as error:
        raise BackendDataError(f"The history of view {view.name!r} cannot be read: {unstopped(error)}.") from error
    finally:
        connection.close()
    offset = len(join_keys)
    columns = [
        typed_column(rows.column(offset + 2 + i), f.dtype, view, f.name).to_pylist() for i, f in enumerate(view.schema)
    ]
    t = entity.column("t")[0].as_py()
    won = False
    candidates = []
    events, createds = rows.column(offset).to_pylist(), rows.column(offset + 1).to_pylist()
    for i, (e, c) in enumerate(zip(events, createds, strict=True)):
        verdict, reason = _verdict(view, e, c, t, knowledge, won=won)
        won = won or verdict in ("chosen", "expired")
        values = {f.name: column[i] for f, column in zip(view.schema, columns, strict=True)}
        candidates.append(
            Candidate(None if e is None else from_us(e), None if c is None else from_us(c), values, verdict, reason)
        )
    key = {name: entity.column(f"k{i}")[0].as_py() for i, name in enumerate(join_keys)}
    return Explanation(view.name, key, from_us(t), tuple(candidates))


def every_row(
    keys: pa.Table | None, view: FeatureView, join_keys: Mapping[str, DType], parts: Sequence[ScanPart]
) -> pa.Table:
    """Return every row of history of the keys ``k0..`` (of all when None): ``k0..``, ``e``, ``c``, ``v0..``, in no order.

    Unlike `explain_row` it judges nothing: whoever compares many rows at once does so in one pass of their own.
    """
    connection = connect()
    try:
        history = history_sql(connection, view, join_keys, parts)
        if keys is not None:
            connection.register("asked", keys)
            same = " AND ".join(f"h.k{i} = asked.k{i}" for i in range(len(join_keys))) or "true"
            history = f"SELECT h.* FROM ({history}) h SEMI JOIN asked ON {same}"
        rows = connection.sql(history).to_arrow_table()
    except duckdb.Error as error:
        raise BackendDataError(f"The history of view {view.name!r} cannot be read: {error}.") from error
    finally:
        connection.close()
    n = len(join_keys)
    columns = [typed_column(rows.column(i), t, view, name) for i, (name, t) in enumerate(join_keys.items())]
    columns += [rows.column("e"), rows.column("c")]
    columns += [typed_column(rows.column(n + 2 + i), f.dtype, view, f.name) for i, f in enumerate(view.schema)]
    return pa.table(columns, names=rows.column_names)


def _verdict(
    view: FeatureView, e: int | None, c: int | None, t: int, knowledge: Knowledge, *, won: bool
) -> tuple[Verdict, str]:
    if e is None:
        return "no event time", "a row without an event time is never visible (T-3)"
    if e > t:
        return "future", f"its event is {timedelta(microseconds=e - t)} after the entity row's time (P-1)"
    if knowledge.counts and c is None:
        return "not yet known", "it has no created time, so when it was known is unknown (P-3)"
    if knowledge.as_of_us is not None and c is not None and c > knowledge.as_of_us:
        return "not yet known", f"it became known {timedelta(microseconds=c - knowledge.as_of_us)} after as_of (P-3)"
    if knowledge.filter_by_created and c is not None and c > t:
        return "not yet known", f"it became known {timedelta(microseconds=c - t)} after the entity row's time (P-3)"
    if won:
        return "beaten", "a greater row by event time, created time or values is visible (P-4)"
    if view.ttl_us is not None and t - e > view.ttl_us:
        return "expired", f"it is {timedelta(microseconds=t - e)} old, the ttl is {view.ttl} (P-2)"
    return "chosen", "the greatest visible row (P-4)"
