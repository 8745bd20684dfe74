"""Feast objects that e2i_fs did not make, as neutral definitions. What has no neutral form is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import feast.types as ft
import pyarrow as pa
from feast import FileSource, KafkaSource, KinesisSource
from feast import PushSource as FeastPushSource
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.entity import Entity as FeastEntity
from feast.feature_service import FeatureService as FeastService
from feast.feature_view import DUMMY_ENTITY_NAME
from feast.feature_view import FeatureView as FeastFeatureView
from feast.value_type import ValueType

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field
from e2i_fs.dtypes import (
    Array,
    Bool,
    Bytes,
    DType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    String,
    Struct,
    Timestamp,
)
from e2i_fs.errors import BackendDataError, BackendUnavailableError, E2IError
from e2i_fs.frozen import FrozenMap
from e2i_fs.reading import expand_paths, parquet_schema
from e2i_fs.sources import ParquetSource, PushSource, Source
from e2i_fs_feast.translate import TAG

__all__ = ["adopt", "parquet_path"]

_DTYPES: dict[Any, DType] = {
    ft.Int32: Int32, ft.Int64: Int64, ft.Float32: Float32, ft.Float64: Float64, ft.Bool: Bool, ft.String: String,
    ft.Bytes: Bytes, ft.UnixTimestamp: Timestamp, ft.Json: Json, ft.Uuid: String, ft.TimeUuid: String,
}  # fmt: skip
_ARROW: tuple[tuple[Any, DType], ...] = (
    (pa.types.is_string, String), (pa.types.is_large_string, String), (pa.types.is_boolean, Bool),
    (pa.types.is_int64, Int64), (pa.types.is_int32, Int32), (pa.types.is_float32, Float32),
    (pa.types.is_float64, Float64), (pa.types.is_timestamp, Timestamp), (pa.types.is_binary, Bytes),
)  # fmt: skip


class _NoNeutralFormError(Exception):
    """Something of Feast's that a neutral definition cannot say; the text says what."""


def adopt(
    registry: Any, ours: Catalog, *, project: str, folder: Path
) -> tuple[Catalog, Mapping[str, Any], tuple[str, ...]]:
    """Return ``ours`` with what of ``registry`` carries no tag of ours, the added views' messages, and what was skipped.

    ``folder`` is the repository: Feast's relative paths are taken from it.
    """
    return _Adoption(registry, ours, project, folder).run()


class _Adoption:
    def __init__(self, registry: Any, ours: Catalog, project: str, folder: Path) -> None:
        self._registry = registry
        self._ours = ours
        self._project = project
        self._folder = folder
        self._skipped: list[str] = []

    def run(self) -> tuple[Catalog, Mapping[str, Any], tuple[str, ...]]:
        messages = {m.spec.name: m for m in self._theirs(self._registry.feature_views)}
        raw = {name: FeastFeatureView.from_proto(m) for name, m in messages.items()}
        entities = self._entities(raw)
        views: dict[str, FeatureView] = {}
        for name, table in sorted(raw.items()):
            made = self._try(
                f"feature view {name!r}", lambda table=table: self._view(table, messages[table.name].spec, entities)
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
        services = {}
        for message in sorted(self._theirs(self._registry.feature_services), key=lambda m: m.spec.name):
            name = message.spec.name
            service = self._try(f"feature service {name!r}", lambda m=message: self._service(m, catalog))
            if service is not None:
                services[name] = service
        catalog = replace(catalog, services=FrozenMap({**services, **self._ours.services}))
        return catalog, {name: messages[name] for name in views}, tuple(self._skipped)

    def _theirs(self, messages: Any) -> list[Any]:
        return [m for m in messages if m.spec.project == self._project and TAG not in m.spec.tags]

    def _try(self, what: str, make: Any) -> Any:
        try:
            return make()
        except (_NoNeutralFormError, E2IError) as error:
            if isinstance(error, BackendUnavailableError):
                raise
            self._skipped.append(f"{what}: {error}")
            return None

    def _report_other_views(self) -> None:
        kinds = (
            (
                self._registry.on_demand_feature_views,
                "on-demand feature view",
                "its function is Feast's own; write it as an e2i_fs one",
            ),
            (self._registry.stream_feature_views, "stream feature view", "its transformation is Feast's own"),
            (self._registry.label_views, "label view", "it has no neutral form; write a view with role='label' fields"),
        )
        for messages, kind, why in kinds:
            for message in self._theirs(messages):
                self._skipped.append(f"{kind} {message.spec.name!r}: {why}")

    # ---- entities -----------------------------------------------------------------------------------------

    def _entities(self, tables: Mapping[str, Any]) -> dict[str, Entity]:
        columns: dict[str, DType] = {}
        for table in tables.values():
            for column in table.entity_columns:
                if column.dtype in _DTYPES:
                    columns.setdefault(column.name, _DTYPES[column.dtype])
        found: dict[str, Entity] = {}
        for message in self._theirs(self._registry.entities):
            theirs = FeastEntity.from_proto(message)
            if theirs.name == DUMMY_ENTITY_NAME:
                continue
            made = self._try(f"entity {theirs.name!r}", lambda theirs=theirs: self._entity(theirs, columns))
            if made is not None:
                found[made.name] = made
        return found

    def _entity(self, theirs: Any, columns: Mapping[str, DType]) -> Entity:
        if theirs.value_type == ValueType.UNKNOWN:
            dtype = columns.get(theirs.join_key, String)
        else:
            kind = ft.from_value_type(theirs.value_type)
            if kind not in _DTYPES:
                raise _NoNeutralFormError(f"its join key is {kind}, which has no exact neutral dtype")
            dtype = _DTYPES[kind]
        return Entity(
            theirs.name,
            join_keys={theirs.join_key: dtype},
            tags=dict(theirs.tags),
            owner=theirs.owner,
            description=theirs.description,
        )

    # ---- views --------------------------------------------------------------------------------------------

    def _view(self, table: Any, spec: Any, entities: Mapping[str, Entity]) -> FeatureView:
        if spec.source_views or spec.HasField("feature_transformation"):
            raise _NoNeutralFormError("it is derived by a transformation of Feast's")
        named = [n for n in table.entities if n != DUMMY_ENTITY_NAME]
        known = {**entities, **self._ours.entities}
        for entity in named:
            if entity not in known:
                raise _NoNeutralFormError(f"its entity {entity!r} has no neutral form")
        types = self._file_types(table)
        fields = []
        for feature in table.features:
            dtype = self._try(
                f"feature {table.name}:{feature.name}", lambda f=feature: _neutral(f.dtype, types.get(f.name), f.name)
            )
            if dtype is not None:
                fields.append(Field(feature.name, dtype, description=feature.description))
        if not fields:
            raise _NoNeutralFormError("none of its features has a neutral dtype")
        return FeatureView(
            table.name,
            entities=named,
            schema=fields,
            source=self._source(table),
            ttl=table.ttl if table.ttl and table.ttl > timedelta(0) else None,
            online=table.online,
            tags=dict(table.tags),
            owner=table.owner,
            description=table.description,
        )

    def _source(self, table: Any) -> Source | None:
        batch, stream = table.batch_source, table.stream_source
        if isinstance(stream, KafkaSource | KinesisSource):
            self._skipped.append(
                f"feature view {table.name!r}: its stream {stream.name!r}; only its batch source is read"
            )
        if batch is None:
            return None
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

    def _file_types(self, table: Any) -> Mapping[str, pa.DataType]:
        """Return the Arrow types of the view's columns as its file has them; {} when there is no readable file."""
        path = None if table.batch_source is None else parquet_path(table.batch_source)
        if path is None:
            return {}
        try:
            schema = parquet_schema(expand_paths([path], str(self._folder), ".parquet")[0])
        except (FileNotFoundError, BackendDataError):
            return {}
        renamed = dict(table.batch_source.field_mapping)
        return {renamed.get(name, name): schema.field(name).type for name in schema.names}

    # ---- services -----------------------------------------------------------------------------------------

    def _service(self, message: Any, catalog: Catalog) -> FeatureService:
        theirs = FeastService.from_proto(message)
        refs = []
        for part in theirs.feature_view_projections:
            if part.name_alias or part.join_key_map or part.version_tag is not None:
                raise _NoNeutralFormError(f"it takes {part.name!r} under another name, key or version")
            if part.name not in catalog.views:
                raise _NoNeutralFormError(f"it needs {part.name!r}, which has no neutral form")
            for feature in part.features:
                if feature.name not in catalog.views[part.name].features:
                    raise _NoNeutralFormError(f"it needs {part.name}:{feature.name}, which has no neutral form")
                refs.append(f"{part.name}:{feature.name}")
        if not refs:
            raise _NoNeutralFormError("it has no features")
        return FeatureService(
            theirs.name, features=refs, tags=dict(theirs.tags), owner=theirs.owner, description=theirs.description
        )


def parquet_path(batch: Any) -> str | None:
    """Return the path of a Feast source that is Parquet in a local file or folder, else None."""
    if not isinstance(batch, FileSource) or isinstance(batch.file_format, DeltaFormat) or "://" in batch.path:
        return None
    path: str = batch.path
    return path


def _neutral(theirs: Any, in_file: pa.DataType | None, name: str) -> DType:
    """Return the neutral dtype of a Feast one; a `Map` has that of the file's column when this is a record."""
    if isinstance(theirs, ft.Struct):
        return Struct({n: _neutral(t, None, n) for n, t in theirs.fields.items()})
    if isinstance(theirs, ft.Array):
        return Array(_neutral(theirs.base_type, None, name))
    if theirs == ft.Map and in_file is not None and pa.types.is_struct(in_file):
        return _of_arrow(in_file)
    if theirs == ft.Invalid and in_file is not None:
        return _of_arrow(in_file)
    if theirs not in _DTYPES:
        raise _NoNeutralFormError(f"{theirs} has no neutral dtype")
    return _DTYPES[theirs]


def _of_arrow(given: pa.DataType) -> DType:
    if pa.types.is_struct(given):
        return Struct({given.field(i).name: _of_arrow(given.field(i).type) for i in range(given.num_fields)})
    if pa.types.is_list(given):
        return Array(_of_arrow(given.value_type))
    for test, dtype in _ARROW:
        if test(given):
            return dtype
    raise _NoNeutralFormError(f"the file's {given} has no neutral dtype")
