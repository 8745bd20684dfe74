"""``apply``, ``plan``, ``list``, ``describe``: what is registered."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import duration, key_values, table
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import BackendError, FailoverError, UnknownFeatureError, did_you_mean
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.sources import PushSource, Source

if TYPE_CHECKING:
    from rich.console import RenderableType

    from e2i_fs.catalog import Plan
    from e2i_fs.sorted_copies import SortedCopy
    from e2i_fs.store import Store

__all__ = ["add_to"]

_PANEL = "Definitions"
AllowBreaking = Annotated[bool, typer.Option("--allow-breaking", help="Apply changes that break readers too (R-4).")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "plan", example="e2i-fs plan --exit-code", panel=_PANEL)(plan)
    command(app, "apply", example="e2i-fs apply --definitions features.py", panel=_PANEL)(apply)
    command(app, "list", example="e2i-fs list views", panel=_PANEL)(list_)
    command(app, "describe", example="e2i-fs describe hcp_conversion_features", panel=_PANEL)(describe)


def plan(
    session: Session,
    allow_breaking: AllowBreaking = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 when there is something to apply.")
    ] = False,
) -> Answer:
    """Show what `apply` would change, and change nothing."""
    definitions = session.load_definitions()
    with session.store() as store:
        made = store.apply(definitions, dry_run=True, allow_breaking=allow_breaking)
    code = NO if exit_code and made.changes else OK
    return Answer(_plan_document(made), [_plan_shown(made, "Nothing to do.", "`e2i-fs apply` does this.")], code)


def apply(session: Session, allow_breaking: AllowBreaking = False) -> Answer:
    """Register the definitions: all of them or, if anything is wrong, none."""
    definitions = session.load_definitions()
    with session.store() as store:
        made = store.apply(definitions, allow_breaking=allow_breaking)
    return Answer(_plan_document(made), [_plan_shown(made, "Everything was registered already.", "Registered.")])


def _plan_document(made: Plan) -> dict[str, Any]:
    return {
        "changes": made.changes,
        "created": made.created,
        "updated": made.updated,
        "unchanged": made.unchanged,
        "removed": made.removed,
        "breaking": made.breaking,
        "dry_run": made.dry_run,
    }


def _plan_shown(made: Plan, nothing: str, after: str) -> Text:
    text = Text()
    for sign, style, items in (("+", "green", made.created), ("~", "yellow", made.updated), ("-", "red", made.removed)):
        for item in items:
            text.append(f"{sign} {item}\n", style)
    for item in made.breaking:
        text.append(f"! breaking: {item}\n", "bold red")
    if made.unchanged:
        text.append(f"  {len(made.unchanged)} unchanged\n", "dim")
    text.append(after if made.changes else nothing)
    return text


class Kind(StrEnum):
    """What `list` can be narrowed to."""

    ENTITIES = "entities"
    VIEWS = "views"
    SERVICES = "services"


def list_(
    session: Session,
    kind: Annotated[Kind | None, typer.Argument(help="List only definitions of this kind.", show_default=False)] = None,
) -> Answer:
    """List what is registered: entities, views and services."""
    document: dict[str, Any] = {}
    shown: list[RenderableType] = []
    with session.store() as store:
        if kind in (None, Kind.ENTITIES):
            entities = store.list_entities()
            document["entities"] = [e.to_json() for e in entities]
            keys = [", ".join(f"{k}: {t!r}" for k, t in e.keys.items()) for e in entities]
            rows: list[Any] = [(e.name, k, e.description) for e, k in zip(entities, keys, strict=True)]
            shown.append(table("Entities", ["name", "join keys", "about"], rows))
        if kind in (None, Kind.VIEWS):
            views = store.list_feature_views()
            computed = store.list_on_demand_feature_views()
            document["views"] = [v.to_json() for v in views]
            document["on_demand_views"] = [v.to_json() for v in computed]
            rows = [*map(_view_row, views), *map(_view_row, computed)]
            shown.append(table("Feature views", ["name", "entities", "fields", "ttl"], rows))
        if kind in (None, Kind.SERVICES):
            services = store.list_feature_services()
            document["services"] = [s.to_json() for s in services]
            rows = [(s.name, str(len(s.features)), s.description) for s in services]
            shown.append(table("Feature services", ["name", "features", "about"], rows, right=[1]))
    return Answer(document, shown)


def _view_row(view: FeatureView | OnDemandFeatureView) -> tuple[Any, ...]:
    labels = sum(1 for f in view.schema if f.role == "label")
    fields = f"{len(view.schema) - labels}" + (f" + {labels} label{'s' if labels > 1 else ''}" if labels else "")
    if isinstance(view, OnDemandFeatureView):
        return (view.name, "on demand", fields, "")
    ttl = "no limit" if view.ttl is None else duration(view.ttl)
    return (view.name, ", ".join(map(str, view.entities)), fields, ttl)


def describe(session: Session, name: Annotated[str, typer.Argument(help="An entity, a view or a service.")]) -> Answer:
    """Show everything about one entity, view or service."""
    with session.store() as store:
        kind, definition = _find(store, name)
        copies, unknown = _copies(store, name) if isinstance(definition, FeatureView) else ([], None)
    document = {"kind": kind, **definition.to_json()}
    if copies:
        document["sorted_copies"] = [asdict(copy) for copy in copies]
    about: dict[str, Any] = {
        kind: definition.name,
        "about": definition.description or None,
        "owner": definition.owner or None,
    }
    shown: list[RenderableType] = []
    if kind == "entity":
        about["join keys"] = ", ".join(f"{k}: {t!r}" for k, t in definition.keys.items())
    elif kind == "service":
        shown.append(table(None, ["features"], [(ref,) for ref in definition.features]))
    else:
        if isinstance(definition, FeatureView):
            about["entities"] = ", ".join(map(str, definition.entities))
            about["source"] = _source(definition.source)
            about["ttl"] = "no limit" if definition.ttl is None else definition.ttl
            about["max staleness"] = definition.max_staleness
            about["online"] = definition.online
            about["sorted copies"] = unknown
            for copy in copies:
                of = f"read for {copy.covered} of {copy.files} files" if copy.covered else "not read; optimize again"
                about[f"sorted copy on {copy.backend}"] = of
        else:
            about["computed from"] = ", ".join([*definition.inputs, *definition.request_columns])
        rows = [(f.name, repr(f.dtype), f.role, f.description) for f in definition.schema]
        shown.append(table(None, ["field", "dtype", "role", "about"], rows))
    about |= {f"tag {k}": v for k, v in definition.tags.items()}
    return Answer(document, [key_values({k: v for k, v in about.items() if v is not None}), *shown])


def _copies(store: Store, name: str) -> tuple[list[SortedCopy], str | None]:
    """Return the sorted copies of a view, or why they are not known: what is registered can be told all the same."""
    try:
        return store.sorted_copies(name), None
    except (BackendError, FailoverError) as error:
        return [], f"not known: {error}"


def _find(store: Store, name: str) -> tuple[str, Any]:
    groups: dict[str, list[Any]] = {
        "view": [*store.list_feature_views(), *store.list_on_demand_feature_views()],
        "service": store.list_feature_services(),
        "entity": store.list_entities(),
    }
    for kind, definitions in groups.items():
        for definition in definitions:
            if definition.name == name:
                return kind, definition
    known = [d.name for definitions in groups.values() for d in definitions]
    raise UnknownFeatureError(f"Nothing called {name!r} is registered.{did_you_mean(name, known)}")


def _source(source: Source | None) -> str:
    if source is None:
        return "only what is written"
    own = f"{type(source).__name__} {source.where()}"
    return (
        f"{own} over {_source(source.batch_source)}" if isinstance(source, PushSource) and source.batch_source else own
    )
