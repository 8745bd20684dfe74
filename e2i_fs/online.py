"""Which row answers online: the contract's order (O-1) and the present moment (O-2), once for all backends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from e2i_fs.backend import OnlineRow
from e2i_fs.definitions import FeatureView
from e2i_fs.values import order_key

__all__ = ["GRACE_US", "merge", "pick", "row_order"]


def row_order(row: OnlineRow, view: FeatureView) -> tuple[Any, ...]:
    """Return the tuple by which rows of one key are compared: event time, created time, values (P-4)."""
    created = (0,) if row.created_us is None else (1, row.created_us)
    return (row.event_us, created, tuple(order_key(row.values.get(f.name), f.dtype) for f in view.schema))


GRACE_US = 2_000_000
"""How far behind the clock a read may be (its deadline, another host's clock) and still find the row of its moment."""

_MOST = 64


def merge(
    kept: Sequence[OnlineRow], new: Iterable[OnlineRow], view: FeatureView, *, at_us: int
) -> tuple[OnlineRow, ...]:
    """Return the rows of one key to keep, greatest first: every one that answers at ``at_us`` or any later moment.

    So a row that lies a little ahead of the clock does not hide the present one (O-2), and the outcome is the
    same whatever the order, repetition or split of the writes (O-1). The rows that answered in the last two seconds
    are kept as well (at most 64): a read that began a moment ago must not find its row replaced by a later one.
    """
    best: dict[int, OnlineRow] = {}
    present: OnlineRow | None = None
    since = at_us - GRACE_US
    for row in (*kept, *new):
        if row.event_us > since:
            rival = best.get(row.event_us)
            if rival is None or row_order(row, view) > row_order(rival, view):
                best[row.event_us] = row
        elif (
            present is None
            or row.event_us > present.event_us
            or (row.event_us == present.event_us and row_order(row, view) > row_order(present, view))
        ):
            present = row
    later = [best[event] for event in sorted(best, reverse=True)]
    recent = sum(row.event_us <= at_us for row in later)
    if recent > _MOST:
        later, present = later[: len(later) - recent + _MOST], None
    return (*later, present) if present is not None else tuple(later)


def pick(kept: Sequence[OnlineRow], *, at_us: int) -> OnlineRow | None:
    """Return the row of ``kept`` (greatest first) that answers at ``at_us``, or None.

    >>> rows = (OnlineRow(20, None, {}), OnlineRow(10, None, {}))
    >>> pick(rows, at_us=15).event_us
    10
    """
    for row in kept:
        if row.event_us <= at_us:
            return row
    return None
