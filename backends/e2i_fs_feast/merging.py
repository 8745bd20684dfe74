"""Which rows of a key stay when new ones come (O-1), without reading what cannot matter.

The reference is `e2i_fs.online.merge` over rows that are decoded in full. Most writes meet a key whose rows all lie further back
than any reader looks, and are newer or older than all of them: then their times alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from e2i_fs.backend import OnlineRow
from e2i_fs.definitions import FeatureView
from e2i_fs.online import GRACE_US, merge
from e2i_fs_feast.rows import Hidden, Layout, Stored

__all__ = ["by_times", "merged"]


def by_times(
    stored: Stored | None, hidden: Hidden | None, layout: Layout, new: Sequence[OnlineRow], *, at_us: int
) -> tuple[OnlineRow, ...] | None:
    """Return the rows to keep where times alone tell; () when nothing changes, None when the rows must be compared.

    ``hidden`` is the hidden value of ``stored``; None with rows there says that Feast itself wrote them.
    """
    if len(new) != 1:
        return None
    if stored is None:
        return tuple(new)
    if hidden is None:
        return None
    if hidden.generation != layout.generation:
        return tuple(new)
    settled, event_us = at_us - GRACE_US, new[0].event_us
    if hidden.event_us > settled or event_us > settled or event_us == hidden.event_us:
        return None
    if not layout.untouched(stored, hidden) or (event_us < hidden.event_us and hidden.others):
        return None
    return tuple(new) if event_us > hidden.event_us else ()


def merged(
    kept: Sequence[OnlineRow], new: Sequence[OnlineRow], view: FeatureView, *, at_us: int
) -> tuple[OnlineRow, ...]:
    """Return the rows to keep of those there and the new ones; () when they are those that are there."""
    after = merge(kept, new, view, at_us=at_us)
    return () if len(after) == len(kept) and all(map(_same, after, kept)) else after


def _same(one: OnlineRow, other: OnlineRow) -> bool:
    # As text: -0.0 is equal to 0.0, and comes before it (P-4).
    return one is other or (one.event_us == other.event_us and repr(one) == repr(other))
