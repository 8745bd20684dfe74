"""The point-in-time join on Spark: for each entity row, the row of history that answers at its time (P-1 to P-8).

History and entity rows become one frame, put in order of time for each key: a row of history stands where it becomes usable,
at its event time or, when knowledge time counts, at the later of event and created time; an entity row stands at its own
time, after the history of the same microsecond. The greatest row so far by P-4 is a running maximum. So there is one
shuffle and one sort, whatever the mode of knowledge time, linear however long a key's history is, and ties, order and
duplicates cannot matter: each entity row carries its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.functions import broadcast

from e2i_fs.backend import Knowledge
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs_feast.spark.types import order_sql

__all__ = ["winners"]

FEW = 100_000
"""Up to so many entity rows their keys are sent to every worker, so that the history of other keys is never shuffled."""


def winners(
    session: Any,
    history: Any,
    entities: pa.Table,
    view: FeatureView,
    join_keys: Mapping[str, DType],
    features: Sequence[str],
    knowledge: Knowledge,
    *,
    small: bool,
) -> pa.Table:
    """Return the winner of each entity row, in their order: ``e`` and ``features``. Only this answer reaches the driver.

    ``history`` has the form of `e2i_fs_feast.spark.history`; ``small`` says that it is not worth a semi-join.
    """
    keys = [f"k{i}" for i in range(len(join_keys))]
    rows = session.createDataFrame(entities.append_column("row", pa.array(range(len(entities)), pa.int64())))
    usable = _usable(history, keys, knowledge, pc.max(entities.column("t")).as_py())
    if keys and not small and len(entities) <= FEW:
        usable = usable.join(broadcast(rows.select(*keys).distinct()), keys, "left_semi")
    at = "greatest(e, c)" if knowledge.filter_by_created else "e"
    known = usable.selectExpr(
        *keys, f"{at} AS a", "0 AS asked", "CAST(NULL AS BIGINT) AS row", f"{_ranked(view, features)} AS h"
    )
    asked = rows.selectExpr(*keys, "t AS a", "1 AS asked", "row", "NULL AS h")
    in_time = (
        f"PARTITION BY {', '.join(keys) or '0'} ORDER BY a, asked ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    )
    answered = known.union(asked).selectExpr("asked", "row", f"max(h) OVER ({in_time}) AS h")
    places = {f.name: i for i, f in enumerate(view.schema)}
    chosen = [f"h.p{places[name]} AS f{n}" for n, name in enumerate(features)]
    found = answered.where("asked = 1").selectExpr("row", "h.e AS e", *chosen).toArrow()
    order = pc.sort_indices(found.column("row"))
    return found.take(order).drop_columns(["row"]).rename_columns(["e", *features])


def _usable(history: Any, keys: Sequence[str], knowledge: Knowledge, until_us: int) -> Any:
    """Return the rows of history that could answer any entity row at all."""
    conditions = [f"e <= {until_us}", *(f"{key} IS NOT NULL" for key in keys)]
    if knowledge.counts:
        conditions.append("c IS NOT NULL")
    if knowledge.as_of_us is not None:
        conditions.append(f"c <= {knowledge.as_of_us}")
    if knowledge.filter_by_created:
        conditions.append(f"c <= {until_us}")
    return history.where(" AND ".join(conditions))


def _ranked(view: FeatureView, features: Sequence[str]) -> str:
    """Return a row as a struct that Spark compares as P-4 does; behind what decides, the values that are asked for."""
    parts = ["'e', e", "'c', c"]
    parts += [f"'o{i}', {order_sql(f'v{i}', f.dtype)}" for i, f in enumerate(view.schema)]
    parts += [f"'p{i}', v{i}" for i, f in enumerate(view.schema) if f.name in features]
    return f"named_struct({', '.join(parts)})"
