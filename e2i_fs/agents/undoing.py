"""What a registration that failed half-way made is removed again, so that nothing is half-registered."""

from __future__ import annotations

from collections.abc import Sequence

from e2i_fs.agents.needs import catalog_of
from e2i_fs.catalog import Catalog, Plan
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import E2IError
from e2i_fs.protocol import FeatureStore

__all__ = ["undo", "undo_words"]


def undo(store: FeatureStore, before: Catalog, view: FeatureView, plan: Plan | None) -> tuple[list[str], list[str]]:
    """Delete what this run created; return what was deleted, and what is left behind with why.

    With a ``plan`` that is what it says was created. Without one the apply itself failed, which may yet have arrived
    (a lost answer): then it is what was not there ``before``, and is there now as this run would have made it. A view
    that was there before stays as it is, with whatever rows arrived.
    """
    undone: list[str] = []
    left: list[str] = []
    for kind, name in _created(store, before, view, plan, left):
        try:
            store.delete(name, kind=kind)
        except E2IError as error:  # said to the caller: this is what stays half-registered
            left.append(f"{kind} {name}: {type(error).__name__}: {error}")
        else:
            undone.append(f"{kind} {name}")
    if view.name in before.views:
        left.append(f"view {view.name} was there before and stays, with whatever rows arrived; write them again")
    return undone, left


def undo_words(undone: Sequence[str], left: Sequence[str]) -> str:
    """Return one sentence for what became of the registration."""
    if left:
        return f"Left behind: {'; '.join(left)}." + (f" Removed again: {', '.join(undone)}." if undone else "")
    if undone:
        return f"What this run had created was removed again: {', '.join(undone)}."
    return "Nothing had been registered."


def _created(
    store: FeatureStore, before: Catalog, view: FeatureView, plan: Plan | None, left: list[str]
) -> list[tuple[str, str]]:
    """Return what is to be deleted, views before the entities that they need."""
    named = [("view", view.name), *(("entity", e.name) for e in view.entity_objects)]
    if plan is not None:
        return [(kind, name) for kind, name in named if f"{kind} {name}" in plan.created]
    try:
        now = catalog_of(store)
    except E2IError as error:
        left.append(f"whether anything was registered could not be asked: {type(error).__name__}: {error}")
        return []
    mine = {e.name: e for e in view.entity_objects}
    found = []
    if (
        view.name not in before.views
        and view.name in now.views
        and now.views[view.name].canonical() == view.canonical()
    ):
        found.append(("view", view.name))
    for name, entity in mine.items():
        if (
            name not in before.entities
            and name in now.entities
            and now.entities[name].canonical() == entity.canonical()
        ):
            found.append(("entity", name))
    return found
