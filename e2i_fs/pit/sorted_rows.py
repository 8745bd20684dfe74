"""History that lies sorted by key and P-4's order: the row that answers is found by bisection, and nothing else is read.

A copy has two files. ``rows.parquet`` has ``k0..``, ``e``, ``c`` and ``v0..`` of all rows that have a whole key and an event
time, so that of two rows of one key the later in the file is the greater; ``keys.parquet`` has each key, the place of its first
row, and how many it has. Both are written once and never changed.
"""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from e2i_fs.pit.order import winner_order
from e2i_fs.reading import exact_path

if TYPE_CHECKING:
    from e2i_fs.definitions import FeatureView

__all__ = ["KEYS", "ROWS", "SortedRows", "by_row", "latest_places", "values_at", "write_sorted"]

ROWS, KEYS = "rows.parquet", "keys.parquet"
_GROUP = 65_536  # rows of a row group: what is read at least for one answer
_AT_ONCE = 2**23  # rows whose times are looked at together: 64 MiB of them
_GROUPS_AT_ONCE = 16  # row groups whose features are read together
_PIECE = 2**20  # entity rows whose features are put in order together
_NONE = -(2**62)

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SortedRows:
    """A sorted copy in ``folder``, of the files ``of``, as a part of a view's history."""

    folder: str
    of: frozenset[str]

    @property
    def rows(self) -> str:
        """The file of the rows."""
        return os.path.join(self.folder, ROWS)

    @property
    def keys(self) -> str:
        """The file of the keys."""
        return os.path.join(self.folder, KEYS)


def write_sorted(
    connection: duckdb.DuckDBPyConnection, history: str, view: FeatureView, keys: int, folder: str
) -> tuple[int, int]:
    """Write the rows of ``history``, a SELECT of positional columns, as a sorted copy; return how many rows and keys it has."""
    names = [f"k{i}" for i in range(keys)]
    known = "".join(f" AND {name} IS NOT NULL" for name in names)
    order = ", ".join([*names, *winner_order(view)])
    rows, places = os.path.join(folder, ROWS), os.path.join(folder, KEYS)
    connection.execute(
        f"COPY (SELECT * FROM ({history}) WHERE e IS NOT NULL{known} ORDER BY {order}) TO {_text(rows)} "
        f"(FORMAT parquet, COMPRESSION lz4, ROW_GROUP_SIZE {_GROUP})"
    )
    listed = "".join(f"{name}, " for name in names)
    group = f"GROUP BY {', '.join(names)} " if names else ""
    connection.execute(
        f"COPY (SELECT {listed}min(file_row_number) AS first, count(*) AS size FROM read_parquet({_text(rows)}) "
        f"{group}HAVING count(*) > 0 ORDER BY first) TO {_text(places)} (FORMAT parquet, COMPRESSION zstd)"
    )
    for path in (rows, places):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    return pq.read_metadata(rows).num_rows, pq.read_metadata(places).num_rows


def latest_places(
    connection: duckdb.DuckDBPyConnection, copy: SortedRows, keys: int
) -> tuple[npt.NDArray[np.int64], Places]:
    """Return the numbers of the entity rows that have a winner in the copy, and the winners' places, in the order of these.

    ``entities`` is a table of the connection: ``t``, ``k0..`` and ``row``, the entity row's number.
    """
    same = " AND ".join(f"entities.k{i} = places.k{i}" for i in range(keys)) or "true"
    asked = connection.sql(
        f"SELECT row, t, first, first + size AS beyond FROM entities JOIN read_parquet({_text(copy.keys)}) places ON {same} "
        "ORDER BY first, t"  # so that places come in order too
    ).to_arrow_table()
    row, t, first, beyond = (asked.column(name).to_numpy() for name in ("row", "t", "first", "beyond"))
    places = np.empty(len(row), np.int64)
    with pq.ParquetFile(copy.rows, memory_map=True) as file:
        begins = _begins(file)
        start = 0
        while start < len(row):
            # The entity rows whose keys lie within reach, and all of the first key.
            within = np.searchsorted(beyond, first[start] + _AT_ONCE, "right")
            stop = max(int(within), int(np.searchsorted(first, first[start], "right")))
            here = slice(start, stop)
            groups = _groups(begins, int(first[start]), int(beyond[stop - 1]))
            times = file.read_row_groups(groups, columns=["e"]).column("e").to_numpy()
            begin = begins[groups[0]]
            places[here] = begin + _last_before(times, t[here], first[here] - begin, beyond[here] - begin)
            start = stop
    won = places >= 0
    return row[won], places[won]


def _last_before(times: Places, t: Places, first: Places, beyond: Places) -> Places:
    """Return for each ``t`` the index of the last of ``times[first:beyond]`` that is not after it (P-1); without any, far below 0."""
    last, end = first - 1, beyond - 1
    step = 1 << int((beyond - first).max()).bit_length() >> 1
    while step:  # the one that is looked for is ``last``, or less than two steps after it
        looked_at = np.minimum(last + step, end)
        np.copyto(last, looked_at, where=times[looked_at] <= t)
        step >>= 1
    return np.where(last >= first, last, _NONE)


def values_at(copy: SortedRows, places: Places, columns: Sequence[str]) -> pa.Table:
    """Return ``columns`` of the rows at ``places``, which ascend. Only row groups that have one are read."""
    found = []
    with pq.ParquetFile(copy.rows, memory_map=True) as file:
        begins = _begins(file)
        owner = np.searchsorted(begins, places, "right") - 1  # of each place its row group
        start = 0
        while start < len(owner):
            # Row groups that adjoin, up to a bound of rows, are read together.
            stop = int(np.searchsorted(owner, owner[start] + _GROUPS_AT_ONCE))
            groups = np.unique(owner[start:stop])
            table = file.read_row_groups(groups.tolist(), columns=list(columns))
            shift = np.concatenate(([0], np.cumsum(np.diff(begins)[groups])[:-1])) - np.array(begins)[groups]
            inside = places[start:stop] + shift[np.searchsorted(groups, owner[start:stop])]
            found.append(table.take(pa.array(inside)))
            start = stop
        empty = file.schema_arrow.empty_table().select(list(columns))
    return pa.concat_tables([*found, empty])


def by_row(values: pa.Table, row: npt.NDArray[np.int64], rows: int) -> pa.Table:
    """Return ``values``, each of the entity row in ``row``, in the order of all ``rows`` entity rows; missing where one has none."""
    place = np.full(rows, -1, np.int64)
    place[row] = np.arange(len(row))
    # In pieces: the texts of one piece of an Arrow column may be 2 GiB together, and no more.
    pieces = (place[start : start + _PIECE] for start in range(0, rows, _PIECE))
    taken = [values.take(pa.array(piece, mask=None if (piece >= 0).all() else piece < 0)) for piece in pieces]
    return pa.concat_tables([*taken, values.slice(0, 0)])


def _begins(file: pq.ParquetFile) -> list[int]:
    """Return the place of the first row of each row group, and the number of all rows."""
    sizes = (file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups))
    return [0, *itertools.accumulate(sizes)]


def _groups(begins: Sequence[int], low: int, high: int) -> list[int]:
    """Return the row groups that have a place from ``low`` to below ``high``."""
    return list(range(bisect.bisect_right(begins, low) - 1, bisect.bisect_left(begins, high)))


def _text(path: str) -> str:
    return "'" + exact_path(path).replace("'", "''") + "'"
