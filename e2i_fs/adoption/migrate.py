"""Moving a store from one backend to another: definitions, then rows view by view, then a comparison of what both answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from e2i_fs.adoption.ends import Ends
from e2i_fs.backend import Backend, Copyable
from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.config import load_config
from e2i_fs.errors import BreakingChangeError, E2IError
from e2i_fs.failover.differences import Diff
from e2i_fs.failover.rebuild import copy_rows
from e2i_fs.failover.side_by_side import SideBySide, side_by_side
from e2i_fs.ops.ledger import Ledger
from e2i_fs.routing import change_catalog, check_capabilities
from e2i_fs.store import Store

__all__ = ["Migration", "Moved", "Planned", "migrate", "planned", "read_both"]

How = Literal["copied", "materialised", "there already"]
_NOTE = "migration"


@dataclass(frozen=True, slots=True)
class Moved:
    """One view: ``how`` its rows come, from ``rows`` online ones that the source has; ``error`` says why they did not, or None.

    ``copied`` is exact, pushed rows too; ``materialised`` reads the view's source again, for a source backend that cannot
    give its rows away: what was only written to it is not there.
    """

    view: str
    how: How
    rows: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """What a migration does, or would do: definitions to be made and changed on the target, and how rows come."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    breaking: tuple[str, ...]
    views: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class Migration:
    """What came of it. ``diff`` is the parity report."""

    plan: Planned
    views: tuple[Moved, ...]
    diff: Diff

    @property
    def whole(self) -> bool:
        """True when every view has its rows."""
        return not any(moved.error for moved in self.views)


def planned(ends: Ends, views: Sequence[str] | None = None) -> Planned:
    """Return what `migrate` would do. Nothing is changed on either backend.

    Raises `UnsupportedError` for a view that the target cannot keep, `UnknownFeatureError` for one that there is not.
    """
    with ends.both() as store:
        return _plan(ends, store, views)


def migrate(
    ends: Ends, views: Sequence[str] | None = None, *, sample: int = 100, seed: int = 0, allow_breaking: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> Migration:  # fmt: skip
    """Give the target the source's definitions and rows, compare what both answer, and return a `Migration`.

    Cut short, it goes on where it was when it is called again; done again, it changes nothing. Rows are copied from a source
    that is `Copyable`, else materialised by the target from the views' own sources. ``sample`` keys of each view are compared,
    drawn by ``seed``; ``told`` hears the name of each view as its turn comes. Raises `BreakingChangeError` (R-4), with nothing
    done, when a view on the target would change so that its rows are lost.
    """
    with ends.both() as store:
        plan = _plan(ends, store, views)
        if plan.breaking and not allow_breaking:
            raise BreakingChangeError(
                f"On {ends.target!r} {', '.join(plan.breaking)} would change so that the rows it has are lost (R-4); nothing was done. "
                "Pass allow_breaking=True (--allow-breaking) if nobody needs them."
            )
        _define(ends, store)
        moved = _together(ends, store, plan, told) if ends.together else _copied(ends, store, plan, told)
    if not ends.together:
        moved = _materialised(ends, moved, told)
        _keep(ends, {})
    with ends.both() as store:
        diff = store.diff(ends.source, ends.target, [each.view for each in moved], sample=sample, seed=seed)
    return Migration(plan, tuple(moved), diff)


def read_both(ends: Ends, views: Sequence[str] | None = None, *, reads: int, seed: int = 0) -> SideBySide:
    """Read the same from both ends, online and one key at a time, and return what they answered and how fast; see `side_by_side`."""
    with ends.both() as store:
        return side_by_side(
            store._router, ends.source, ends.target, store._views(views), reads=reads, seed=seed, clock=store._clock
        )


# ---- planning ---------------------------------------------------------------------------------------------


def _plan(ends: Ends, store: Store, views: Sequence[str] | None) -> Planned:
    source, target = (store._router.backend(name) for name in (ends.source, ends.target))
    wanted, own = source.definitions(), target.definitions()
    chosen = [wanted.view(name).name for name in (views if views is not None else sorted(wanted.views))]
    check_capabilities(target.capabilities, own, own.holding(wanted))
    lists: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": []}
    before, after = _labelled(own), _labelled(wanted)
    for label, form in after.items():
        lists["created" if label not in before else "unchanged" if before[label] == form else "updated"].append(label)
    breaking = [f"view {name}" for name in breaking_views(own, own.holding(wanted))]
    done = _kept(ends)
    health = {b.name: b.parity for b in store.health()} if ends.together else {}
    moves = [_how(ends, source, target, wanted, own, view, done, health) for view in chosen]
    created, updated, unchanged = (tuple(sorted(labels)) for labels in lists.values())
    return Planned(created, updated, unchanged, tuple(breaking), tuple(moves))


def _labelled(catalog: Catalog) -> dict[str, object]:
    kinds = {
        "entity": catalog.entities, "view": catalog.views, "on-demand view": catalog.on_demand, "service": catalog.services,
    }  # fmt: skip
    return {f"{kind} {name}": each.to_json() for kind, every in kinds.items() for name, each in every.items()}  # type: ignore[attr-defined]


def _how(
    ends: Ends, source: Backend, target: Backend, wanted: Catalog, own: Catalog, view: str, done: Mapping[str, object],
    health: Mapping[str, Mapping[str, str]],
) -> Moved:  # fmt: skip
    position = source.position(view)
    same = own.has(view) and own.fingerprint(view) == wanted.fingerprint(view)
    if ends.together:
        there = target.position(view) if same else None
        verified = health.get(ends.target, {}).get(view) == "verified"
        ready = verified and there is not None and there[1:] == position[1:]
    else:
        ready = same and done.get(view) == _stand(source, wanted, view)
    copies = source.capabilities.copyable and isinstance(source, Copyable)
    return Moved(view, "there already" if ready else "copied" if copies else "materialised", position.rows)


# ---- doing it ---------------------------------------------------------------------------------------------


def _define(ends: Ends, store: Store) -> None:
    wanted = store._router.backend(ends.source).definitions()
    if ends.together:
        store._router.change(lambda kept: kept.holding(wanted))
    else:
        change_catalog(store._router.backend(ends.target), lambda kept: kept.holding(wanted))


def _together(ends: Ends, store: Store, plan: Planned, told: Callable[[str], None]) -> list[Moved]:
    """Make the target's rows anew behind failover, so that what is written meanwhile is replayed after (X-4)."""
    moved = []
    for each in plan.views:
        told(each.view)
        if each.how == "there already":
            moved.append(each)
            continue
        done = store.rebuild(ends.target, [each.view], from_sources=each.how == "materialised")
        whole = each.view in done.rebuilt and each.view not in done.diverged
        moved.append(
            Moved(each.view, each.how, each.rows, None if whole else done.error or "it could not be made whole")
        )
    return moved


def _copied(ends: Ends, store: Store, plan: Planned, told: Callable[[str], None]) -> list[Moved]:
    """Copy what can be, and note what is done: a view whose source has moved on since is copied again."""
    source, target = (store._router.backend(name) for name in (ends.source, ends.target))
    wanted = source.definitions()
    done = _kept(ends)
    moved = []
    for each in plan.views:
        if each.how == "copied":
            told(each.view)
            assert isinstance(source, Copyable)
            stand = _stand(source, wanted, each.view)  # read first: what is written meanwhile is copied the next time
            copy_rows(source, each.view, target)
            done = {**done, each.view: stand}
            _keep(ends, done)
        moved.append(each)
    return moved


def _materialised(ends: Ends, moved: Sequence[Moved], told: Callable[[str], None]) -> list[Moved]:
    """Materialise on the target's own store what could not be copied, so that the run is in its own records (W-4)."""
    todo = [each.view for each in moved if each.how == "materialised"]
    if not todo:
        return list(moved)
    errors: dict[str, str] = {}
    with ends.of_target() as store:
        for view in todo:
            told(view)
            if not store.get_feature_view(view).online:
                continue
            try:
                runs = store.materialize(None, views=[view]).runs
            except E2IError as error:
                errors[view] = f"{type(error).__name__}: {error}"
            else:
                errors |= {run.view: str(run.error) for run in runs if run.error}
    return [Moved(m.view, m.how, m.rows, errors.get(m.view)) for m in moved]


# ---- going on where it was --------------------------------------------------------------------------------


def _stand(source: Backend, wanted: Catalog, view: str) -> list[object]:
    """Return what tells that the source has changed: the view's definition, and how far its rows are."""
    return [wanted.fingerprint(view), *source.position(view)]


def _kept(ends: Ends) -> dict[str, object]:
    """Return what the target's own records say is done of a migration from this source."""
    if ends.together:
        return {}
    ledger = Ledger(load_config(ends.configs[1]).state)
    try:
        note = ledger.note(_NOTE) or {}
    finally:
        ledger.close()
    return dict(note.get("views", {})) if note.get("from") == _identity(ends) else {}


def _keep(ends: Ends, done: Mapping[str, object]) -> None:
    ledger = Ledger(load_config(ends.configs[1]).state)
    try:
        ledger.set_notes({_NOTE: {"from": _identity(ends), "views": dict(done)}})
    finally:
        ledger.close()


def _identity(ends: Ends) -> str:
    options = ends.backends[0].options
    return repr((ends.backends[0].kind, options.get("path") or options.get("repo")))
