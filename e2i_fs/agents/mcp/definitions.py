"""From forms to definitions; `e2i_fs.wire.described` is the way back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from e2i_fs.agents.mcp.forms import CsvForm, Definitions, EntityForm, ParquetForm, PushForm, ServiceForm, ViewForm
from e2i_fs.catalog import Catalog, Definition
from e2i_fs.definitions import Entity, FeatureService, FeatureView
from e2i_fs.definitions import Field as FeatureField
from e2i_fs.dtypes import DType, dtype_from_canonical, dtype_named
from e2i_fs.errors import DefinitionError
from e2i_fs.sources import CSVSource, ParquetSource, PushSource, Source

__all__ = ["built"]

CheckSource = Callable[[Source], None]


def built(forms: Definitions, catalog: Catalog, check: CheckSource) -> list[Definition]:
    """Return the definitions that the forms stand for. ``check`` raises for a source that may not be opened."""
    made: list[Definition] = [_entity(form) for form in forms.entities]
    made += [_view(form, catalog, check) for form in forms.views]
    made += [_service(form) for form in forms.services]
    if not made:
        raise DefinitionError("The document defines nothing. Give at least one entity, view or service.")
    return made


def _entity(form: EntityForm) -> Entity:
    where = f"Entity {form.name!r}"
    keys = form.join_keys
    typed = None if keys is None else {name: _dtype(dtype, f"{where}: key {name!r}") for name, dtype in keys.items()}
    return Entity(form.name, join_keys=typed, tags=form.tags, owner=form.owner, description=form.description)


def _view(form: ViewForm, catalog: Catalog, check: CheckSource) -> FeatureView:
    where = f"View {form.name!r}"
    schema = [
        FeatureField(f.name, _dtype(f.dtype, f"{where}: field {f.name!r}"), f.role, f.description) for f in form.fields
    ]
    return FeatureView(
        form.name,
        entities=form.entities,
        schema=schema,
        source=_source(form, catalog, check),
        ttl=_duration(form.ttl_seconds, f"{where}: ttl_seconds"),
        online=form.online,
        max_staleness=_duration(form.max_staleness_seconds, f"{where}: max_staleness_seconds"),
        tags=form.tags,
        owner=form.owner,
        description=form.description,
    )


def _service(form: ServiceForm) -> FeatureService:
    about = {"tags": form.tags, "owner": form.owner, "description": form.description}
    return FeatureService(form.name, features=form.features, **about)  # type: ignore[arg-type]


def _source(form: ViewForm, catalog: Catalog, check: CheckSource) -> Source | None:
    source: Source | None
    match form.source:
        case None:
            return None
        case ParquetForm(type=_, path=path) as given:
            source = ParquetSource(path, **_times(given))
        case CsvForm(type=_, path=path) as given:
            source = CSVSource(path, delimiter=given.delimiter, **_times(given))
        case PushForm() as given:
            source = PushSource(given.name, **_times(given))
        case registered:
            source = catalog.view(registered.view).source
    if source is not None:
        check(source)
    return source


def _times(form: ParquetForm | CsvForm | PushForm) -> dict[str, Any]:
    return {
        "timestamp_field": form.timestamp_field,
        "created_timestamp_field": form.created_timestamp_field,
        "field_mapping": form.field_mapping,
    }


def _dtype(form: str | dict[str, Any], where: str) -> DType:
    try:
        return dtype_named(form) if isinstance(form, str) else dtype_from_canonical(form)
    except (TypeError, ValueError) as error:  # a parameter of another shape than its kind takes
        raise DefinitionError(f"{where}: {error}") from error


def _duration(seconds: float | None, where: str) -> timedelta | None:
    try:
        return None if seconds is None else timedelta(microseconds=int(Decimal(str(seconds)) * 1_000_000))
    except OverflowError as error:
        raise DefinitionError(f"{where} is {seconds!r}, longer than can be counted; null is no limit.") from error
