"""The rows that statistics are of, brought into one table of DuckDB, which spills to disk: read once, for all features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from e2i_fs.backend import ArrowRows, Backend, Copyable, Key, OnlineRow
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import UnsupportedError
from e2i_fs.pit.history import history_sql
from e2i_fs.pit.order import winner_order
from e2i_fs.values import arrow_type, python_value

__all__ = ["Gathered", "gather_history", "gather_online"]


class Gathered(NamedTuple):
    """What was gathered in the table ``gathered`` (``e`` and, in schema order, ``v0..``): its rows, and their newest event time (µs)."""

    rows: int
    newest_us: int | None
    expired: int = 0


def gather_history(
    connection: duckdb.DuckDBPyConnection,
    backend: Backend,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    features: Sequence[str],
    within: tuple[int | None, int | None],
) -> Gathered:
    """Gather the rows of history that a request may see (T-3, P-7), of event times ``within`` both ends, in µs."""
    parts = backend.scan(view.name, [f.name for f in view.schema], until_us=within[1])
    history = history_sql(connection, view, join_keys, parts)
    return _gather(connection, history, view, join_keys, features, within)


def gather_online(
    connection: duckdb.DuckDBPyConnection,
    backend: Backend,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    features: Sequence[str],
    within: tuple[int | None, int | None],
    *,
    now_us: int,
) -> Gathered:
    """Gather the row of each key that answers at ``now_us`` (O-2); those that the ttl lets answer no more are counted."""
    if not view.online:
        raise UnsupportedError(f"View {view.name!r} is not online (online=False); ask with where='offline'.")
    if not backend.capabilities.copyable or not isinstance(backend, Copyable):
        raise UnsupportedError(
            f"The backend of view {view.name!r} cannot list what it has online (it is not copyable), so there are no "
            "statistics of it. Ask with where='offline', or of a backend that can, such as duckdb."
        )
    connection.execute(f"CREATE TEMP TABLE kept AS {history_sql(connection, view, join_keys, [])}")
    for number, (keys, rows, _) in enumerate(backend.online_rows(view.name)):
        piece = ArrowRows(_table(keys, rows, view, join_keys).to_reader())
        name = f"piece{number}_"
        connection.execute(f"INSERT INTO kept {history_sql(connection, view, join_keys, [piece], name=name)}")
        connection.unregister(f"{name}0")
    group = f"PARTITION BY {', '.join(f'k{i}' for i in range(len(join_keys)))} " if join_keys else ""
    order = ", ".join(winner_order(view, descending=True))
    answering = f"SELECT * FROM kept WHERE e <= {now_us} QUALIFY row_number() OVER ({group}ORDER BY {order}) = 1"
    return _gather(connection, answering, view, join_keys, features, within, _oldest(view, now_us))


def _oldest(view: FeatureView, now_us: int) -> int | None:
    return None if view.ttl_us is None else now_us - view.ttl_us


def _gather(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    features: Sequence[str],
    within: tuple[int | None, int | None],
    oldest_us: int | None = None,
) -> Gathered:
    positions = [i for i, f in enumerate(view.schema) if f.name in features]
    conditions = ["e IS NOT NULL", *(f"k{i} IS NOT NULL" for i in range(len(join_keys)))]
    conditions += [f"e {sign} {end}" for sign, end in zip((">=", "<="), within, strict=True) if end is not None]
    columns = ", ".join(["e", *(f"v{i}" for i in positions)])
    connection.execute(f"CREATE TEMP TABLE gathered AS SELECT {columns} FROM ({rows}) WHERE {' AND '.join(conditions)}")
    expired = 0
    if oldest_us is not None:
        ((expired,),) = connection.execute(f"SELECT count(*) FROM gathered WHERE e < {oldest_us}").fetchall()
        connection.execute(f"DELETE FROM gathered WHERE e < {oldest_us}")
    ((count, newest),) = connection.execute("SELECT count(*), max(e) FROM gathered").fetchall()
    return Gathered(count, newest, expired)


def _table(
    keys: Sequence[Key], rows: Sequence[OnlineRow], view: FeatureView, join_keys: Mapping[str, DType]
) -> pa.Table:
    """Return online rows as a table of the view's own columns."""
    stamp = DType("timestamp")
    columns = {name: _column([key[i] for key in keys], dtype) for i, (name, dtype) in enumerate(join_keys.items())}
    columns[view.event_column] = _column([row.event_us for row in rows], stamp)
    if view.created_column:
        columns[view.created_column] = _column([row.created_us for row in rows], stamp)
    columns |= {f.name: _column([row.values.get(f.name) for row in rows], f.dtype) for f in view.schema}
    return pa.table(columns)


def _column(values: Sequence[Any], dtype: DType) -> pa.Array:
    """Return storage values as an Arrow column of the dtype's own type."""
    if dtype.kind == "timestamp":  # by its number: a stored one may be no time that Python knows
        return pa.array(values, pa.int64()).cast(arrow_type(dtype))
    return pa.array([python_value(value, dtype) for value in values], arrow_type(dtype))
