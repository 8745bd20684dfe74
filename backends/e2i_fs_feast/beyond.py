"""What Feast's messages say that no neutral definition does: named one by one, so that nothing is left out silently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from e2i_fs.adoption.foreign import Left
from e2i_fs.catalog import Catalog
from e2i_fs_feast.adopt import parquet_path
from e2i_fs_feast.translate import TAG

__all__ = ["beyond", "elsewhere"]

_CARRIED: Mapping[str, frozenset[str]] = {
    "entity": frozenset({"name", "project", "value_type", "description", "join_key", "tags", "owner"}),
    "feature view": frozenset({
        "name", "project", "entities", "features", "entity_columns", "tags", "ttl", "batch_source", "stream_source", "online",
        "description", "owner",
    }),
    "on-demand feature view": frozenset({
        "name", "project", "features", "sources", "user_defined_function", "feature_transformation", "description", "tags",
        "owner", "mode", "entities", "entity_columns", "singleton",
    }),
    "feature service": frozenset({"name", "project", "features", "tags", "description", "owner"}),
    "feature": frozenset({"name", "value_type", "description"}),
    "data source": frozenset({
        "name", "project", "type", "field_mapping", "timestamp_field", "created_timestamp_column", "data_source_class_type",
        "batch_source", "meta", "file_options", "request_data_options", "push_options",
        # where the rows lie, which `elsewhere` tells of the view
        "bigquery_options", "kafka_options", "kinesis_options", "redshift_options", "custom_options", "snowflake_options",
        "spark_options", "trino_options", "athena_options", "date_partition_column", "timestamp_field_type",
    }),
}  # fmt: skip
_OWN_TAGS = ("feast:", "feast.io/struct", "__")
_OTHERS = {
    "permissions": "permission", "saved_datasets": "saved dataset", "validation_references": "validation reference",
}  # fmt: skip


def beyond(registry: Any, catalog: Catalog, project: str) -> Iterator[Left]:
    """Yield what the messages of the definitions in ``catalog`` say beyond these, and what has no like at all.

    What e2i_fs itself applied says nothing beyond: Feast's own settings of it are made by e2i_fs.
    """
    lists = (
        ("entity", registry.entities, catalog.entities),
        ("feature view", registry.feature_views, catalog.views),
        ("on-demand feature view", registry.on_demand_feature_views, catalog.on_demand),
        ("feature service", registry.feature_services, catalog.services),
    )
    for kind, messages, known in lists:
        for message in messages:
            spec = message.spec
            if spec.project != project or TAG in spec.tags or spec.name not in known:
                continue
            yield from _more(kind, spec.name, spec)
            for feature in getattr(spec, "features", ()) if kind != "feature service" else ():
                yield from _more("feature", f"{spec.name}:{feature.name}", feature)
    used = set(_sources(registry, project))
    for source in registry.data_sources:
        if source.project == project and TAG not in source.tags:
            if source.name in used:
                yield from _more("data source", source.name, source)
            else:
                yield Left("data source", source.name, "no view uses it; a source is part of the view that names it")
    for attribute, kind in _OTHERS.items():
        for message in getattr(registry, attribute):
            spec = getattr(message, "spec", message)
            if spec.project == project:
                yield Left(kind, spec.name, "there is no neutral like of it")


def _sources(registry: Any, project: str) -> Iterator[str]:
    """Yield the names of the sources that views use, whatever their kind."""
    views = (registry.feature_views, registry.stream_feature_views, registry.label_views)
    for message in (m for messages in views for m in messages if m.spec.project == project):
        for field in ("batch_source", "stream_source", "source"):
            source = getattr(message.spec, field, None)
            if source is not None:
                yield from (source.name, source.batch_source.name)
    for message in registry.on_demand_feature_views:
        yield from (source.request_data_source.name for source in message.spec.sources.values())


def _more(kind: str, name: str, spec: Any) -> Iterator[Left]:
    for field, value in spec.ListFields():
        if field.name in _CARRIED[kind] or (field.name == "version" and value == "latest"):
            continue
        if field.name == "tags" and kind == "feature" and all(key.startswith(_OWN_TAGS) for key in value):
            continue  # how Feast writes down a dtype
        said = " ".join(str(dict(value) if field.name == "tags" else value).split())
        yield Left(kind, name, f"its {field.name} ({said if len(said) < 80 else said[:80] + '…'}) has no neutral like")


def elsewhere(tables: Iterable[Any]) -> Iterator[Left]:
    """Yield the adopted feature views (as Feast objects) whose history only Feast's offline store can read."""
    for table in tables:
        batch = table.batch_source
        if batch is not None and parquet_path(batch) is None:
            where = getattr(batch, "path", None) or batch.name
            why = (
                f"its history is in a {type(batch).__name__} ({where}) that only Feast reads, so it is defined as a push source "
                'without one: served from here with {"backend": "feast", "repo": ...}, empty elsewhere until rows are written'
            )
            yield Left("feature view", table.name, why)
