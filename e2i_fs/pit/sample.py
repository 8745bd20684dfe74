"""A sample of the keys of a view: the same ones wherever they lie, so that two backends are asked of the same keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from e2i_fs.backend import Key, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.pit.connection import connect
from e2i_fs.pit.engine import translated, typed_column
from e2i_fs.pit.history import history_sql
from e2i_fs.values import arrow_type, python_value, storage_values

__all__ = ["Sampled", "key_columns", "sampled_keys"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """A key that was drawn: the ``number`` it was drawn by, and times of it (µs): of events and of knowing, the newest and one at random."""

    number: int
    times: frozenset[int]


def sampled_keys(
    view: FeatureView,
    join_keys: Mapping[str, DType],
    parts: Sequence[ScanPart],
    online: Iterable[tuple[Sequence[Key], Sequence[int]]],
    *,
    sample: int,
    seed: int,
) -> dict[Key, Sampled]:
    """Return at most ``sample`` keys of the history in ``parts`` and of the pieces of keys and event times in ``online``.

    The keys with the smallest hash of key and ``seed`` are taken, so the same key is drawn on every backend that has
    it, whatever the order of rows, files and threads (T-4). Rows with a missing key or event time are none (T-3, P-7).
    """
    connection = connect()
    names = [f"k{i}" for i in range(len(join_keys))]
    found: dict[Key, Sampled] = {}
    try:
        history = history_sql(connection, view, join_keys, parts)
        _add(found, _smallest(connection, history, names, sample, seed), view, join_keys)
        for keys, events in online:
            columns = [*key_columns(keys, join_keys), pa.array(events, pa.int64())]
            connection.register("piece", pa.table(columns, names=[*names, "e"]))
            _add(
                found,
                _smallest(connection, "SELECT *, CAST(NULL AS BIGINT) AS c FROM piece", names, sample, seed),
                view,
                join_keys,
            )
    except duckdb.Error as error:
        raise translated(error, view) from error
    finally:
        connection.close()
    return dict(sorted(found.items(), key=lambda item: item[1].number)[:sample])


def key_columns(keys: Sequence[Key], join_keys: Mapping[str, DType]) -> list[pa.Array]:
    """Return keys of storage values as columns in the dtypes of the join keys."""
    return [
        pa.array([python_value(key[i], dtype) for key in keys], arrow_type(dtype))
        for i, dtype in enumerate(join_keys.values())
    ]


def _smallest(
    connection: duckdb.DuckDBPyConnection, rows: str, names: Sequence[str], sample: int, seed: int
) -> pa.Table:
    known = "".join(f" AND {name} IS NOT NULL" for name in names)
    listed = "".join(f"{name}, " for name in names)
    group = f"GROUP BY {', '.join(names)} " if names else ""
    return connection.sql(f"""
        SELECT {listed}hash({listed}'{int(seed)}') AS number, max(e) AS newest, arg_min(e, hash(e, '{int(seed)}')) AS one,
               max(c) AS last_known, arg_min(c, hash(c, '{int(seed)}')) AS one_known
        FROM ({rows}) WHERE e IS NOT NULL{known}
        {group}HAVING count(*) > 0 ORDER BY number LIMIT {int(sample)}
    """).to_arrow_table()


def _add(found: dict[Key, Sampled], drawn: pa.Table, view: FeatureView, join_keys: Mapping[str, DType]) -> None:
    columns: list[list[Any]] = []
    for i, (name, dtype) in enumerate(join_keys.items()):
        columns.append(storage_values(typed_column(drawn.column(i), dtype, view, name), dtype))
    keys: Iterable[Key] = zip(*columns, strict=True) if columns else [()] * len(drawn)
    rest = (drawn.column(name).to_pylist() for name in ("number", "newest", "one", "last_known", "one_known"))
    for key, number, *times in zip(keys, *rest, strict=True):
        before = found.get(key)
        own = frozenset(time for time in times if time is not None)
        found[key] = Sampled(number, own | (before.times if before else frozenset()))
