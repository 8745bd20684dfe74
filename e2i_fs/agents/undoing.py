"""What a registration that failed half-way changed is taken back, as far as nothing is lost by that; the rest is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from e2i_fs.agents.registered import catalog_of
from e2i_fs.catalog import Catalog, Definition, Plan
from e2i_fs.definitions import Entity, FeatureView
from e2i_fs.errors import BreakingChangeError, E2IError
from e2i_fs.protocol import FeatureStore
from e2i_fs.sources import PushSource

__all__ = ["Attempt", "undo", "undo_words"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A view that was to be applied; ``plan`` is what that did, None while it is not known whether it arrived."""

    view: FeatureView
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class _Touched:
    """What this run made (``created``) and what it put another definition in the place of (``updated``), as kind and name."""

    created: tuple[tuple[str, str], ...]
    updated: tuple[tuple[str, str], ...]


def undo(store: FeatureStore, before: Catalog, attempt: Attempt, undone: list[str], left: list[str]) -> None:
    """Bring the definitions back to ``before``; add what was undone, and what is ``left`` behind with what to do.

    What was not there is deleted. What was there gets its former definition again, unless the store says that rows
    would be lost by it (R-4). After a breaking change they are lost already: then it is done, and said.

    Without a plan it is what is there now as this attempt would have made it, and was not ``before``.
    """
    view, plan = attempt.view, attempt.plan
    touched = _planned(view, plan) if plan is not None else _arrived(store, before, view, left)
    breaking = plan is not None and bool(plan.breaking)
    _restore(store, before, touched, breaking=breaking, undone=undone, left=left)
    for kind, name in touched.created:  # views before the entities that they need
        try:
            store.delete(name, kind=kind)
        except E2IError as error:  # said to the caller: this is what stays half-registered
            left.append(f"{kind} {name}: {type(error).__name__}: {error}")
        else:
            undone.append(f"{kind} {name}")
    if plan is not None and view.name in before.views:
        left.append(_rows_words(before.views[view.name], breaking=breaking))


def undo_words(undone: Sequence[str], left: Sequence[str]) -> str:
    """Return one sentence for what became of the registration."""
    if left:
        return f"Left behind: {'; '.join(left)}." + (f" Taken back again: {', '.join(undone)}." if undone else "")
    if undone:
        return f"What this run had registered was taken back again: {', '.join(undone)}."
    return "Nothing had been registered, and what was there before stays as it was."


def _restore(
    store: FeatureStore,
    before: Catalog,
    touched: _Touched,
    *,
    breaking: bool,
    undone: list[str],
    left: list[str],
) -> None:
    """Apply the former definitions of what was updated, all or none."""
    former: list[Definition] = []
    for kind, name in touched.updated:
        # Without its entities as objects: one that somebody else changes meanwhile is not set back with the view.
        former.append(before.entities[name] if kind == "entity" else replace(before.views[name], entity_objects=()))
    if not former:
        return
    names = [f"{kind} {name}" for kind, name in touched.updated]
    try:
        store.apply(former, allow_breaking=breaking)
    except BreakingChangeError:  # said to the caller, who may choose the other way
        left.append(
            f"the new definition of {', '.join(names)}, for taking it back would drop the rows that were there before (R-4), "
            "which are all there; register the frame again once the store takes it"
        )
    except E2IError as error:  # said to the caller: this is what stays half-registered
        left.append(
            f"the new definition of {', '.join(names)}: {type(error).__name__}: {error}. Apply the former one again"
        )
    else:
        undone.extend(f"{name} (its former definition stands again)" for name in names)


def _rows_words(former: FeatureView, *, breaking: bool) -> str:
    """Say what became of the rows of a view that was there before."""
    if not breaking:
        return f"view {former.name} was there before and stays, with whatever rows arrived; write them again"
    source = former.source.batch_source if isinstance(former.source, PushSource) else former.source
    rows = f"the rows that were written to view {former.name} before are gone, for the change was breaking (R-4)"
    if source is None:
        return f"{rows}; write them again from where they came from"
    return f"{rows}; those of its source are still there: materialise the view to have them online again"


def _planned(view: FeatureView, plan: Plan) -> _Touched:
    named = _named(view)
    return _Touched(
        tuple((kind, name) for kind, name in named if f"{kind} {name}" in plan.created),
        tuple((kind, name) for kind, name in named if f"{kind} {name}" in plan.updated),
    )


def _arrived(store: FeatureStore, before: Catalog, view: FeatureView, left: list[str]) -> _Touched:
    try:
        now = catalog_of(store)
    except E2IError as error:
        left.append(f"whether anything was registered could not be asked: {type(error).__name__}: {error}")
        return _Touched((), ())
    mine = {("view", view.name): view.to_json(), **{("entity", e.name): e.to_json() for e in view.entity_objects}}
    created, updated = [], []
    for kind, name in _named(view):
        old, new = (_kept(catalog, kind).get(name) for catalog in (before, now))
        if new is None or new.to_json() != mine[kind, name]:
            continue
        if old is None:
            created.append((kind, name))
        elif old.to_json() != new.to_json():
            updated.append((kind, name))
    return _Touched(tuple(created), tuple(updated))


def _named(view: FeatureView) -> list[tuple[str, str]]:
    """Return what a registration of ``view`` may touch, the view before the entities that it needs."""
    return [("view", view.name), *(("entity", e.name) for e in view.entity_objects)]


def _kept(catalog: Catalog, kind: str) -> Mapping[str, FeatureView | Entity]:
    return catalog.views if kind == "view" else catalog.entities
