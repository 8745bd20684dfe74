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
from pyspark.sql import Window
from pyspark.sql import functions as F

from e2i_fs.backend import Knowledge
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs_feast.spark.types import order_key

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
        usable = usable.join(F.broadcast(rows.select(*keys).distinct()), keys, "left_semi")
    at = F.greatest("e", "c") if knowledge.filter_by_created else F.col("e")
    known = usable.select(
        *keys, at.alias("a"), F.lit(0).alias("asked"), F.lit(None).cast("long").alias("row"), _ranked(view, features).alias("h")
    )  # fmt: skip
    form = known.schema["h"].dataType
    asked = rows.select(*keys, F.col("t").alias("a"), F.lit(1).alias("asked"), "row", F.lit(None).cast(form).alias("h"))
    in_time = Window.partitionBy(*(keys or [F.lit(0)])).orderBy("a", "asked")
    greatest = F.max("h").over(in_time.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    answered = known.union(asked).select("asked", "row", greatest.alias("h")).where("asked = 1")
    places = {f.name: i for i, f in enumerate(view.schema)}
    chosen = [F.col(f"h.p{places[name]}").alias(f"f{n}") for n, name in enumerate(features)]
    found = answered.select("row", F.col("h.e").alias("e"), *chosen).toArrow()
    order = pc.sort_indices(found.column("row"))
    return found.take(order).drop_columns(["row"]).rename_columns(["e", *features])


def _usable(history: Any, keys: Sequence[str], knowledge: Knowledge, until_us: int | None) -> Any:
    """Return the rows of history that could answer any entity row at all."""
    usable = history.where(F.col("e") <= F.lit(until_us))
    for key in keys:
        usable = usable.where(F.col(key).isNotNull())
    if knowledge.counts:
        usable = usable.where(F.col("c").isNotNull())
    if knowledge.as_of_us is not None:
        usable = usable.where(F.col("c") <= F.lit(knowledge.as_of_us))
    if knowledge.filter_by_created:
        usable = usable.where(F.col("c") <= F.lit(until_us))
    return usable


def _ranked(view: FeatureView, features: Sequence[str]) -> Any:
    """Return a row as a struct that Spark compares as P-4 does; behind what decides, the values that are asked for."""
    parts = [F.col("e"), F.col("c")]
    parts += [order_key(F.col(f"v{i}"), f.dtype).alias(f"o{i}") for i, f in enumerate(view.schema)]
    parts += [F.col(f"v{i}").alias(f"p{i}") for i, f in enumerate(view.schema) if f.name in features]
    return F.struct(*parts)
