"""The contract in plain Python: what the right answer is, as slowly and as plainly as it can be said.

Nothing here knows Arrow, DuckDB or any part of the engine, so that agreeing with it means something. Times are
aware datetimes, values plain Python values (a list for an array, a dict for a struct), a missing one is None.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from e2i_fs.dtypes import DType, Float32

__all__ = ["Answer", "Row", "answer", "batch_problems", "by_key", "exact_key", "historical", "natural_order", "online"]

Rows = Mapping[Hashable, Sequence["Row"]]
"""Source rows by exact key; made by `by_key`."""


class Row(NamedTuple):
    """One source row: its join key values, when it became true, when it became known, its feature values."""

    key: tuple[Any, ...]
    event: datetime | None
    created: datetime | None
    values: tuple[Any, ...]


class Answer(NamedTuple):
    """What one key gets from one view: a value and a status (by name) for each field, and the event time."""

    values: tuple[Any, ...]
    statuses: tuple[str, ...]
    event: datetime | None


# ---- which row answers --------------------------------------------------------------------------------------


def answer(
    rows: Iterable[Row],
    t: datetime,
    types: Sequence[DType],
    *,
    ttl: timedelta | None = None,
    filter_by_created: bool = False,
    as_of: datetime | None = None,
) -> Answer:
    """Return the answer at ``t`` from the rows of one key; ``types`` are the view's field dtypes, in schema order."""
    visible = [row for row in rows if _visible(row, t, filter_by_created, as_of)]
    if not visible:
        return Answer((None,) * len(types), ("NOT_FOUND",) * len(types), None)
    latest = max(row.event for row in visible if row.event is not None)
    winner = max((row for row in visible if row.event == latest), key=lambda row: _rank(row, types))  # P-4
    assert winner.event is not None
    if ttl is not None and t - winner.event > ttl:  # P-2: equal counts
        return Answer((None,) * len(types), ("OUTSIDE_MAX_AGE",) * len(types), winner.event)
    statuses = tuple("NULL_VALUE" if value is None else "PRESENT" for value in winner.values)  # P-5
    return Answer(winner.values, statuses, winner.event)


def _visible(row: Row, t: datetime, filter_by_created: bool, as_of: datetime | None) -> bool:
    if row.event is None or row.event > t:  # T-3, P-1: equal counts
        return False
    if filter_by_created and (row.created is None or row.created > t):  # P-3
        return False
    return not (as_of is not None and (row.created is None or row.created > as_of))  # P-3


def _rank(row: Row, types: Sequence[DType]) -> tuple[Any, ...]:
    created = (0,) if row.created is None else (1, row.created)  # P-4: missing is lowest
    return (row.event, created, tuple(natural_order(v, t) for v, t in zip(row.values, types, strict=True)))


def natural_order(value: Any, dtype: DType) -> tuple[Any, ...]:
    """Return a tuple that sorts as the dtype does: missing lowest, NaN above all, -0.0 below 0.0, nested by element.

    >>> from e2i_fs.dtypes import Float64
    >>> sorted([0.0, float("nan"), -0.0, None, float("inf")], key=lambda v: natural_order(v, Float64))
    [None, -0.0, 0.0, inf, nan]
    """
    if value is None:
        return (0,)
    if dtype.kind in ("float32", "float64"):
        return (2,) if math.isnan(value) else (1, value, math.copysign(1, value))
    if dtype.kind == "struct":
        return (1, *(natural_order(value.get(name), inner) for name, inner in dtype.fields))
    if dtype.kind in ("array", "vector"):
        return (1, *(natural_order(v, dtype.element or Float32) for v in value))
    return (1, value)


# ---- whose rows they are (P-7) -------------------------------------------------------------------------------

_PYTHON_TYPES: dict[str, type] = {
    "int32": int, "int64": int, "bool": bool, "string": str, "bytes": bytes,
    "date": date, "timestamp": datetime, "decimal": Decimal,
}  # fmt: skip


def exact_key(key: Sequence[Any], types: Sequence[DType]) -> Hashable | None:
    """Return ``key`` in a form that is equal only for the same key, or None for a key that matches nothing.

    That is one with a missing column or a value of another type. A float that is a whole number is that number,
    for pandas makes it of an integer column with a gap; from 2**53 on it may have been another one, and is none.

    >>> from e2i_fs.dtypes import Int64
    >>> exact_key([7.0], [Int64]) == exact_key([7], [Int64]), exact_key(["7"], [Int64])
    (True, None)
    """
    exact = []
    for value, dtype in zip(key, types, strict=True):
        if dtype.kind in ("int32", "int64") and type(value) is float and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        if type(value) is not _PYTHON_TYPES[dtype.kind]:
            return None
        exact.append(value)
    return tuple(exact)


def by_key(rows: Iterable[Row], types: Sequence[DType]) -> Rows:
    """Return source rows by exact key; a row whose key has a missing column belongs to nobody."""
    found: dict[Hashable, list[Row]] = {}
    for row in rows:
        key = exact_key(row.key, types)
        if key is not None:
            found.setdefault(key, []).append(row)
    return found


# ---- whole requests ------------------------------------------------------------------------------------------


def historical(
    rows: Rows,
    asked: Iterable[tuple[Sequence[Any], datetime]],
    key_types: Sequence[DType],
    types: Sequence[DType],
    *,
    ttl: timedelta | None = None,
    filter_by_created: bool = False,
    as_of: datetime | None = None,
) -> list[Answer]:
    """Return one answer for each entity row ``(key, t)``, in the order asked, duplicates included (P-6)."""
    answers = []
    for key, t in asked:
        exact = exact_key(key, key_types)
        own = () if exact is None else rows.get(exact, ())
        answers.append(answer(own, t, types, ttl=ttl, filter_by_created=filter_by_created, as_of=as_of))
    return answers


def online(
    written: Rows, keys: Iterable[Sequence[Any]], now: datetime, key_types: Sequence[DType], types: Sequence[DType],
    *, ttl: timedelta | None = None,
) -> list[Answer]:  # fmt: skip
    """Return one answer for each key: the point-in-time answer at ``now`` from the rows written (O-1, O-2, O-5)."""
    return historical(written, [(key, now) for key in keys], key_types, types, ttl=ttl)


def batch_problems(
    rows: Iterable[Row],
    now: datetime,
    key_types: Sequence[DType],
    *,
    max_future_skew: timedelta = timedelta(seconds=60),
) -> list[tuple[int, str]]:
    """Return each (row number, problem) for which the whole batch is refused (W-1, O-4)."""
    found = []
    for number, row in enumerate(rows):
        if exact_key(row.key, key_types) is None:
            found.append((number, "missing key"))
        if row.event is None:
            found.append((number, "missing event time"))
        elif row.event > now + max_future_skew:
            found.append((number, "future event time"))
    return found
