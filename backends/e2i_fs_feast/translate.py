"""Neutral definitions as real Feast objects, for a registry that the `feast` command reads.

Each object carries its neutral definition as JSON in the tag ``e2i_fs``, from which the catalogue is read back exactly.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import feast
from feast.data_format import ParquetFormat
from feast.feature_view import DUMMY_ENTITY_FIELD

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Entity, FeatureService
from e2i_fs.dtypes import DType
from e2i_fs.errors import DefinitionError, UnsupportedError
from e2i_fs.objects import is_object
from e2i_fs.reading import expand_paths, stored_source
from e2i_fs.sources import ParquetSource, PushSource, SQLSource
from e2i_fs_feast.keys import declared_key
from e2i_fs_feast.protos import declared_type

__all__ = ["TAG", "FeastEntity", "entity_objects", "feast_entities", "service_object", "view_object"]

TAG = "e2i_fs"


class FeastEntity(NamedTuple):
    """One Feast entity: Feast has one join key for each."""

    name: str
    join_key: str
    dtype: DType


def feast_entities(entity: Entity) -> list[FeastEntity]:
    """Return the Feast entities of a neutral one: itself, or one for each join key when it has several."""
    if len(entity.keys) == 1:
        return [FeastEntity(entity.name, key, dtype) for key, dtype in entity.keys.items()]
    return [FeastEntity(f"{entity.name}__{key}", key, dtype) for key, dtype in entity.keys.items()]


def _tagged(tags: Mapping[str, str], form: Any) -> dict[str, str]:
    return {**tags, TAG: json.dumps(form, separators=(",", ":"), sort_keys=True)}


def entity_objects(entity: Entity) -> list[Any]:
    """Return the Feast objects of an entity; the first one carries its definition."""
    objects: list[Any] = []
    for part in feast_entities(entity):
        form = {"part_of": entity.name} if objects else {"definition": entity.to_json()}
        objects.append(
            feast.Entity(
                name=part.name,
                join_keys=[part.join_key],
                value_type=declared_key(part.dtype).to_value_type(),
                description=entity.description,
                tags=_tagged(entity.tags, form),
                owner=entity.owner,
            )
        )
    return objects


def view_object(catalog: Catalog, name: str, generation: int, history: str, own: Path) -> Any:
    """Return the Feast feature view of a neutral one.

    ``history`` is the folder of rows written through e2i_fs, which stands in for a source where the view has none;
    ``own`` the folder for links to the files of a source that has several.
    """
    view = catalog.view(name)
    entities = [part for e in view.entities for part in entity_objects(catalog.entities[str(e)])]
    keys = [part for e in view.entities for part in feast_entities(catalog.entities[str(e)])]
    schema = [feast.Field(name=part.join_key, dtype=declared_key(part.dtype)) for part in keys]
    schema += [feast.Field(name=f.name, dtype=declared_type(f.dtype), description=f.description) for f in view.schema]
    base = catalog.bases.get(name, "")
    form = {"definition": view.to_json(), "base": base, "generation": generation}
    try:
        batch = _batch_source(catalog, name, history, own)
        source: Any = batch
        if isinstance(view.source, PushSource):
            source = feast.PushSource(name=view.source.name, batch_source=batch, tags={TAG: "source"})
        table = feast.FeatureView(
            name=name,
            entities=entities,
            schema=schema,
            source=source,
            ttl=view.ttl or timedelta(0),
            online=view.online,
            description=view.description,
            tags=_tagged(view.tags, form),
            owner=view.owner,
        )
        if not keys:
            table.entity_columns = [DUMMY_ENTITY_FIELD]  # Feast's key of a view that is about nothing in particular
    except (ValueError, AssertionError) as error:
        raise UnsupportedError(f"FeatureView {name!r}: Feast cannot hold it: {error}") from error
    return table


def _batch_source(catalog: Catalog, name: str, history: str, own: Path) -> Any:
    view = catalog.view(name)
    source = stored_source(view)
    if source is None:
        path, timestamp, created, mapping = history, view.event_column, view.created_column, {}
    elif isinstance(source, ParquetSource):
        path = _one_path(source.paths, catalog.bases.get(name, ""), own / "sources" / catalog.fingerprint(name))
        timestamp, created, mapping = source.timestamp_field, source.created_timestamp_field, dict(source.field_mapping)
    elif isinstance(source, SQLSource):
        return _postgres_source(name, source)
    else:
        raise UnsupportedError(
            f"FeatureView {name!r}: Feast has no counterpart of {type(source).__name__}; write its rows to Parquet, "
            "or serve the view from the duckdb backend."
        )
    return feast.FileSource(
        name=f"{name}__source",
        path=path,
        timestamp_field=timestamp,
        created_timestamp_column=created or "",
        field_mapping=mapping,
        file_format=ParquetFormat(),
        tags={TAG: "source"},
    )


def _postgres_source(name: str, source: SQLSource) -> Any:
    """Return Feast's source of a table or query; where the database is, Feast knows from its offline store."""
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

    return PostgreSQLSource(
        name=f"{name}__source",
        table=source.table,
        query=source.query,
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_field or "",
        field_mapping=dict(source.field_mapping),
        tags={TAG: "source"},
    )


def _one_path(paths: tuple[str, ...], base: str, links: Path) -> str:
    """Return one path for Feast: the source's own, or of several a folder with a link to each file."""
    if len(paths) == 1 and is_object(paths[0]):
        return paths[0]
    if any(map(is_object, paths)):
        raise UnsupportedError(
            f"Feast holds one path of an object store for a view, not {len(paths)}; give their folder."
        )
    if len(paths) == 1:
        return os.path.abspath(os.path.join(base, os.path.expanduser(paths[0])))
    try:
        files = expand_paths(paths, base, ".parquet")
    except FileNotFoundError as error:
        raise DefinitionError(f"There is no .parquet file at {error}; write it first, or mend the path.") from error
    links.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        link = links / f"{number:06d}.parquet"
        if not link.is_symlink():
            link.symlink_to(file)
    return str(links)


def service_object(catalog: Catalog, service: FeatureService, views: Mapping[str, Any]) -> Any:
    """Return the Feast feature service of a neutral one.

    Features of on-demand views, which Feast does not know, are in the tag alone.
    """
    wanted: dict[str, list[str]] = {}
    for ref in service.features:
        view, _, feature = str(ref).partition(":")
        if view in catalog.views:
            names = list(catalog.views[view].features) if feature == "*" else [feature]
            wanted.setdefault(view, []).extend(n for n in names if n not in wanted.get(view, ()))
    return feast.FeatureService(
        name=service.name,
        features=[views[view][names] for view, names in wanted.items()],
        tags=_tagged(service.tags, {"definition": service.to_json()}),
        description=service.description,
        owner=service.owner,
    )
