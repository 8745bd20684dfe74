"""Feast objects that e2i_fs did not make, as neutral definitions. What has no neutral form is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import feast.types as ft
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FileSource, KafkaSource, KinesisSource
from feast import PushSource as FeastPushSource
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.entity import Entity as FeastEntity
from feast.feature_service import FeatureService as FeastService
from feast.feature_view import DUMMY_ENTITY_NAME
from feast.feature_view import FeatureView as FeastFeatureView
from feast.value_type import ValueType

from e2i_fs.adoption.foreign import Left
from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field
from e2i_fs.dtypes import DType, String
from e2i_fs.errors import BackendDataError, BackendUnavailableError, E2IError
from e2i_fs.frozen import FrozenMap
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.reading import expand_paths, parquet_schema
from e2i_fs.sources import ParquetSource, PushSource, Source, source_from_canonical
from e2i_fs_feast.extras import extra_of, plain_tags, said_field, said_key
from e2i_fs_feast.neutral_types import DTYPES, NoNeutralFormError, neutral_dtype
from e2i_fs_feast.translate import TAG

__all__ = ["Carry", "adopt", "expanded", "parquet_path"]

Carry = Callable[[Any, Catalog], OnDemandFeatureView]
"""Make a neutral on-demand view of Feast's message of one, or raise `NoNeutralFormError`."""


def adopt(
    registry: Any, ours: Catalog, *, project: str, folder: Path, carry: Carry | None = None
) -> tuple[Catalog, Mapping[str, Any], tuple[Left, ...]]:
    """Return ``ours`` with what of ``registry`` carries no tag of ours, the added views' messages, and what was skipped.

    ``folder`` is the repository: Feast's relative paths are taken from it. Without ``carry`` on-demand views are skipped:
    their functions are Feast's own, and nothing of theirs is run.
    """
    return _Adoption(registry, ours, project, folder, carry).run()


class _Adoption:
    def __init__(self, registry: Any, ours: Catalog, project: str, folder: Path, carry: Carry | None) -> None:
        self._registry = registry
        self._ours = ours
        self._project = project
        self._folder = folder
        self._carry = carry
        self._skipped: list[Left] = []
        self._parts: dict[str, tuple[str, tuple[str, ...]]] = {}

    def run(self) -> tuple[Catalog, Mapping[str, Any], tuple[Left, ...]]:
        messages = {m.spec.name: m for m in self._theirs(self._registry.feature_views)}
        raw = {name: FeastFeatureView.from_proto(m) for name, m in messages.items()}
        entities = self._entities(raw)
        views: dict[str, FeatureView] = {}
        for name, table in sorted(raw.items()):
            made = self._try(
                "feature view", name, lambda table=table: self._view(table, messages[table.name].spec, entities)
            )
            if made is not None:
                views[name] = made
        self._report_other_views()
        catalog = replace(
            self._ours,
            entities=FrozenMap({**entities, **self._ours.entities}),
            views=FrozenMap({**views, **self._ours.views}),
            bases=FrozenMap({**dict.fromkeys(views, str(self._folder)), **self._ours.bases}),
        )
        catalog = replace(catalog, on_demand=FrozenMap({**self._computed(catalog), **self._ours.on_demand}))
        services = {}
        for message in sorted(self._theirs(self._registry.feature_services), key=lambda m: m.spec.name):
            name = message.spec.name
            service = self._try("feature service", name, lambda m=message: self._service(m, catalog))
            if service is not None:
                services[name] = service
        catalog = replace(catalog, services=FrozenMap({**services, **self._ours.services}))
        return catalog, {name: messages[name] for name in views}, tuple(self._skipped)

    def _theirs(self, messages: Any) -> list[Any]:
        return [m for m in messages if m.spec.project == self._project and TAG not in m.spec.tags]

    def _try(self, kind: str, name: str, make: Any) -> Any:
        try:
            return make()
        except (NoNeutralFormError, E2IError) as error:
            if isinstance(error, BackendUnavailableError):
                raise
            self._skipped.append(Left(kind, name, str(error)))
            return None

    def _report_other_views(self) -> None:
        kinds = (
            (self._registry.stream_feature_views, "stream feature view", "its transformation is Feast's own"),
            (self._registry.label_views, "label view", "it has no neutral form; write a view with role='label' fields"),
        )
        for messages, kind, why in kinds:
            for message in self._theirs(messages):
                self._skipped.append(Left(kind, message.spec.name, why))

    def _computed(self, catalog: Catalog) -> dict[str, OnDemandFeatureView]:
        kind = "on-demand feature view"
        made: dict[str, OnDemandFeatureView] = {}
        for message in sorted(self._theirs(self._registry.on_demand_feature_views), key=lambda m: m.spec.name):
            if self._carry is None:
                why = "its function is Feast's own; write it as an e2i_fs one"
                self._skipped.append(Left(kind, message.spec.name, why))
                continue
            view = self._try(kind, message.spec.name, lambda m=message: self._carry(m, catalog))
            if view is not None:
                made[view.name] = view
        return made

    # ---- entities -----------------------------------------------------------------------------------------

    def _entities(self, tables: Mapping[str, Any]) -> dict[str, Entity]:
        columns: dict[str, DType] = {}
        for table in tables.values():
            for column in table.entity_columns:
                if column.dtype in DTYPES:
                    columns.setdefault(column.name, DTYPES[column.dtype])
        found: dict[str, Entity] = {}
        parts: dict[str, dict[int, tuple[Any, Entity, int]]] = {}
        for message in self._theirs(self._registry.entities):
            theirs = FeastEntity.from_proto(message)
            if theirs.name == DUMMY_ENTITY_NAME:
                continue
            made = self._try("entity", theirs.name, lambda theirs=theirs: self._entity(theirs, columns))
            if made is None:
                continue
            extra = extra_of(theirs.tags)
            if "entity" in extra:
                parts.setdefault(extra["entity"], {})[extra["number"]] = (theirs, made, extra["of"])
            else:
                found[made.name] = made
        for name, numbered in parts.items():
            whole = self._try("entity", name, lambda name=name, numbered=numbered: self._joined(name, numbered))
            if whole is not None:
                found[name] = whole
        return found

    def _entity(self, theirs: Any, columns: Mapping[str, DType]) -> Entity:
        extra = extra_of(theirs.tags)
        if theirs.value_type == ValueType.UNKNOWN:
            dtype = columns.get(theirs.join_key, String)
        else:
            kind = ft.from_value_type(theirs.value_type)
            said = said_key(kind, extra)
            if said is None and kind not in DTYPES:
                raise NoNeutralFormError(f"its join key is {kind}, which has no exact neutral dtype")
            dtype = DTYPES[kind] if said is None else said
        return Entity(
            theirs.name,
            join_keys={theirs.join_key: dtype},
            tags=plain_tags(theirs.tags),
            owner=theirs.owner,
            description=theirs.description,
        )

    def _joined(self, name: str, parts: Mapping[int, tuple[Any, Entity, int]]) -> Entity:
        """Return the entity of several join keys that Feast keeps as one entity for each."""
        count = next(iter(parts.values()))[2]
        if sorted(parts) != list(range(count)):
            raise NoNeutralFormError(
                f"of its {count} join keys only {', '.join(p.join_key for p, *_ in parts.values())}"
            )
        ordered = [parts[number] for number in range(count)]
        names = tuple(theirs.name for theirs, *_ in ordered)
        self._parts.update(dict.fromkeys(names, (name, names)))
        keys = {key: dtype for _, entity, _ in ordered for key, dtype in entity.keys.items()}
        return replace(ordered[0][1], name=name, join_keys=keys)

    def _neutral_entities(self, table: Any, known: Mapping[str, Entity]) -> list[str]:
        """Return the neutral entities of a view; those that Feast keeps in parts once, and only whole."""
        named = [n for n in table.entities if n != DUMMY_ENTITY_NAME]
        found: dict[str, None] = {}
        for entity in named:
            name, parts = self._parts.get(entity, (entity, (entity,)))
            if name not in known or not set(parts) <= set(named):
                raise NoNeutralFormError(f"its entity {entity!r} has no neutral form")
            found[name] = None
        return list(found)

    # ---- views --------------------------------------------------------------------------------------------

    def _view(self, table: Any, spec: Any, entities: Mapping[str, Entity]) -> FeatureView:
        if spec.source_views or spec.HasField("feature_transformation"):
            raise NoNeutralFormError("it is derived by a transformation of Feast's")
        named = self._neutral_entities(table, {**entities, **self._ours.entities})
        types, extra = self._file_types(table), extra_of(table.tags)
        fields = []
        for feature in table.features:
            said = extra.get("fields", {}).get(feature.name, {})
            dtype = self._try(
                "feature", f"{table.name}:{feature.name}",
                lambda f=feature, said=said: said_field(f.dtype, said) or neutral_dtype(f.dtype, types.get(f.name)),
            )  # fmt: skip
            if dtype is not None:
                fields.append(Field(feature.name, dtype, said.get("role", "feature"), feature.description))
        if not fields:
            raise NoNeutralFormError("none of its features has a neutral dtype")
        staleness = extra.get("max_staleness_us")
        return FeatureView(
            table.name,
            entities=named,
            schema=fields,
            source=self._source(table, extra),
            ttl=table.ttl if table.ttl and table.ttl > timedelta(0) else None,
            online=table.online,
            max_staleness=None if staleness is None else timedelta(microseconds=staleness),
            tags=plain_tags(table.tags),
            owner=table.owner,
            description=table.description,
        )

    def _source(self, table: Any, extra: Mapping[str, Any]) -> Source | None:
        batch, stream = table.batch_source, table.stream_source
        if isinstance(stream, KafkaSource | KinesisSource):
            why = f"its stream {stream.name!r}; only its batch source is read"
            self._skipped.append(Left("feature view", table.name, why))
        if batch is None:
            return None
        if "source" in extra and self._holds_nothing(batch):
            return None if extra["source"] is None else source_from_canonical(extra["source"])
        stored = self._batch(batch)
        if isinstance(stream, FeastPushSource):
            return (
                PushSource(stream.name, batch_source=stored)
                if not isinstance(stored, PushSource)
                else replace(stored, name=stream.name)
            )
        return stored

    def _batch(self, batch: DataSource) -> Source:
        mapping = FrozenMap(dict(batch.field_mapping))
        created = batch.created_timestamp_column or None
        path = parquet_path(batch)
        if path is not None:
            return ParquetSource(
                path,
                timestamp_field=batch.timestamp_field,
                created_timestamp_field=created,
                field_mapping=mapping,
                name=batch.name,
            )
        # Its rows come through Feast's offline store (`scan`), already under the view's own names.
        return PushSource(
            batch.name,
            timestamp_field=mapping.get(batch.timestamp_field, batch.timestamp_field),
            created_timestamp_field=None if created is None else mapping.get(created, created),
        )

    def _holds_nothing(self, batch: DataSource) -> bool:
        """True when the file that stands in for a source, which Feast must have, has no rows, or is not there."""
        path = parquet_path(batch)
        return path is not None and not any(pq.read_metadata(file).num_rows for file in self._files(path))

    def _files(self, path: str) -> tuple[str, ...]:
        try:
            return expand_paths([path], str(self._folder), ".parquet")
        except FileNotFoundError:
            return ()

    def _file_types(self, table: Any) -> Mapping[str, pa.DataType]:
        """Return the Arrow types of the view's columns as its file has them; {} when there is no readable file."""
        path = None if table.batch_source is None else parquet_path(table.batch_source)
        if path is None:
            return {}
        try:
            files = self._files(path)
            if not files:
                return {}
            schema = parquet_schema(files[0])
        except BackendDataError:
            return {}
        renamed = dict(table.batch_source.field_mapping)
        return {renamed.get(name, name): schema.field(name).type for name in schema.names}

    # ---- services -----------------------------------------------------------------------------------------

    def _service(self, message: Any, catalog: Catalog) -> FeatureService:
        theirs = FeastService.from_proto(message)
        known: dict[str, Any] = {**catalog.views, **catalog.on_demand}
        refs = []
        for part in theirs.feature_view_projections:
            if part.name_alias or part.join_key_map or part.version_tag is not None:
                raise NoNeutralFormError(f"it takes {part.name!r} under another name, key or version")
            if part.name not in known:
                raise NoNeutralFormError(f"it needs {part.name!r}, which has no neutral form")
            for feature in part.features:
                if feature.name not in known[part.name].features:
                    raise NoNeutralFormError(f"it needs {part.name}:{feature.name}, which has no neutral form")
                refs.append(f"{part.name}:{feature.name}")
        if not refs:
            raise NoNeutralFormError("it has no features")
        said = [str(ref) for ref in extra_of(theirs.tags).get("features", ())]
        return FeatureService(
            theirs.name,
            features=said if set(expanded(said, known)) == set(refs) else refs,
            tags=plain_tags(theirs.tags),
            owner=theirs.owner,
            description=theirs.description,
        )


def expanded(refs: Iterable[str], views: Mapping[str, Any]) -> list[str]:
    """Return references with each ``view:*`` as the view's features; one of an unknown view stays as it is."""
    found = []
    for ref in refs:
        view, _, feature = ref.partition(":")
        found += [f"{view}:{name}" for name in views[view].features] if feature == "*" and view in views else [ref]
    return found


def parquet_path(batch: Any) -> str | None:
    """Return the path of a Feast source that is Parquet in a local file or folder, else None."""
    if not isinstance(batch, FileSource) or isinstance(batch.file_format, DeltaFormat) or "://" in batch.path:
        return None
    path: str = batch.path
    return path
