"""Worlds for backends that read no files: their rows in batches, their time columns from a push source."""

from __future__ import annotations

from dataclasses import replace

from e2i_fs.clock import from_us
from e2i_fs.definitions import FeatureView
from e2i_fs.sources import PushSource
from e2i_fs.testing.worlds import World

__all__ = ["push_source", "written_only"]


def push_source(view: FeatureView) -> PushSource:
    """Return a source from which a view that is only written to has its time columns."""
    return PushSource(
        f"{view.name}_push", timestamp_field=view.event_column, created_timestamp_field=view.created_column
    )


def written_only(world: World, *, times: bool) -> World:
    """Return ``world`` without the rows that no batch may hold, and all others in batches.

    Without ``times`` no time column but ``event_timestamp`` can be had.
    """
    late = from_us(2**52)
    views = []
    for view in world.views:
        good = tuple(view.rows[n] for n in view.writable(late)) or ()
        numbers = tuple(range(len(good)))
        half = len(numbers) // 2
        batches = tuple(b for b in (numbers[half:], numbers[:half]) if b)
        view = replace(view, rows=good, parts=((),), batches=batches)
        if not times:
            rows = tuple(row._replace(created=None) for row in good)
            view = replace(view, rows=rows, event_column="event_timestamp", created_column=None)
        views.append(view)
    return replace(world, views=tuple(views))
