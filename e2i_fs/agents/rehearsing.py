"""A change of a view that could not be taken back is done first on a view of its own, where failing costs nothing."""

from __future__ import annotations

from dataclasses import replace

from e2i_fs.agents.preparing import Prepared
from e2i_fs.catalog import Catalog
from e2i_fs.definitions import FeatureView
from e2i_fs.sources import PushSource

__all__ = ["needs_rehearsal", "rehearsal_of"]


def needs_rehearsal(before: Catalog, view: FeatureView, *, allow_breaking: bool) -> bool:
    """Return whether putting ``view`` in the place of the one that is there loses rows, or taking it back would (R-4).

    A new view can be deleted, and a change of words or limits put back; a feature added cannot be taken away again
    without the view's rows. Raises `BreakingChangeError` for a change that needs ``allow_breaking``.
    """
    if view.name not in before.views:
        return False
    after, plan = before.planned([view], "", allow_breaking=allow_breaking)
    _, back = after.planned([before.views[view.name]], "", allow_breaking=True)
    return bool(plan.breaking or back.breaking)


def rehearsal_of(prepared: Prepared, rows: int) -> Prepared:
    """Return the same registration of the first ``rows``, under names of its own, so that it touches nothing that is there."""
    view = prepared.view
    entities = [replace(e, name=_named(e.name)) for e in view.entity_objects]
    source = view.source
    if isinstance(source, PushSource):
        source = replace(source, name=_named(source.name))
    twin = replace(view, name=_named(view.name), entities=entities, source=source)
    return replace(prepared, view=twin, batch=prepared.batch.slice(0, rows))


def _named(name: str) -> str:
    return f"{name}__rehearsal"
