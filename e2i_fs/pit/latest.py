"""The winner of each key in a window of time: what materialisation puts online (O-6, W-3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from e2i_fs.backend import ArrowRows, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError
from e2i_fs.pit.bounded import bounded
from e2i_fs.pit.connection import connect
from e2i_fs.pit.engine import translated, typed_column
from e2i_fs.pit.history import history_sql
from e2i_fs.pit.order import winner_order

__all__ = ["LatestRows", "latest_rows"]


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
