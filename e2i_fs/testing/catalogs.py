"""Catalogues of every kind of definition, with names and texts that are awkward to write down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field
from e2i_fs.dtypes import DType
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.sources import CSVSource, DuckDBSource, ParquetSource, PushSource, RequestSource, Source, SQLSource
from e2i_fs.testing.draw import Draw
from e2i_fs.testing.values import ALL_KINDS, draw_dtype

__all__ = ["SOURCE_KINDS", "draw_catalog"]

SOURCE_KINDS = ("parquet", "push", "none", "csv", "duckdb", "sql")
_KEYS = ("int64", "string", "int32", "bool", "bytes", "date", "timestamp", "decimal")
_NAMES = (
    "stats", "driver", "hcp_id", "class", "fs", "timedelta", "1st", "a b", "a-b", "日本", "__x__", "match", "list", "a.b",
    "definitions", "Tier", "tier", "annotations",
)  # fmt: skip
_TEXTS = (
    "", "plain", 'says "no"', "it's", "both ' and \"", "two\nlines", "back\\slash\\", '"""', "tab\there", "\u202eback",
    "#no comment", "{}%s$", "\x00", "émile 日本", "'); import os  # ",
)  # fmt: skip
_TTLS = (None, timedelta(days=1), timedelta(hours=36), timedelta(microseconds=1), timedelta(days=2, microseconds=1))
_FUNCTION = '''def {name}({argument}: Columns) -> Columns:
    """{doc}"""
    text = 'it"s'
    return {{"out": [0.5 for _ in {argument}[{first!r}]]}}
'''


def draw_catalog(draw: Draw, *, sources: Sequence[str] = SOURCE_KINDS, kinds: Sequence[str] = ALL_KINDS) -> Catalog:
    """Return a catalogue of up to three entities, views, on-demand views and services, drawn from awkward names and texts.

    ``sources`` are the kinds of `SOURCE_KINDS` that views may have, ``kinds`` the kinds of dtype of their fields.

    >>> from e2i_fs.testing.draw import Seeded
    >>> draw_catalog(Seeded(1)).revision == draw_catalog(Seeded(1)).revision
    True
    """
    names = draw.shuffled(_NAMES)
    entities = [_entity(draw, names[i], f"k{i}") for i in range(draw.integer(1, 3))]
    views = []
    for name in names[3 : 3 + draw.integer(1, 3)]:
        about = draw.shuffled(entities)[: draw.integer(0, len(entities))]
        views.append(_view(draw, name, about, sources, tuple(kinds)))
    computed = [_computed(draw, name, views) for name in names[6 : 6 + draw.integer(0, 2)]]
    every: list[FeatureView | OnDemandFeatureView] = [*views, *computed]
    refs = [f"{view.name}:{f.name}" for view in every for f in view.schema]
    refs += [f"{view.name}:*" for view in views]
    services = [
        FeatureService(name, features=draw.shuffled(refs)[: draw.integer(1, len(refs))], **_about(draw))
        for name in names[9 : 9 + draw.integer(0, 2)]
    ]
    catalog, _ = Catalog().planned([*entities, *views, *computed, *services], "/")
    return catalog


def _about(draw: Draw) -> dict[str, Any]:
    tags = {draw.choice(_TEXTS): draw.choice(_TEXTS) for _ in range(draw.integer(0, 2))}
    return {"tags": tags, "owner": draw.choice(_TEXTS), "description": draw.choice(_TEXTS)}


def _entity(draw: Draw, name: str, key: str) -> Entity:
    keys = {f"{key}_{i}": _key(draw) for i in range(draw.integer(1, 2))}
    return Entity(name, join_keys=keys, **_about(draw))


def _key(draw: Draw) -> DType:
    kind = draw.choice(_KEYS)
    return DType(kind, numbers=(10, 2)) if kind == "decimal" else DType(kind)


def _view(draw: Draw, name: str, about: list[Entity], sources: Sequence[str], kinds: tuple[str, ...]) -> FeatureView:
    fields = [
        Field(field, draw_dtype(draw, kinds), draw.choice(["feature", "feature", "label"]), draw.choice(_TEXTS))
        for field in draw.shuffled(["f1", "f 2", "class", "日本"])[: draw.integer(1, 3)]
    ]
    return FeatureView(
        name,
        entities=about,
        schema=fields,
        source=_source(draw, name, draw.choice(list(sources))),
        ttl=draw.choice(_TTLS),
        online=not draw.chance(0.2),
        max_staleness=draw.choice(_TTLS),
        **_about(draw),
    )


def _source(draw: Draw, view: str, kind: str) -> Source | None:
    times: dict[str, Any] = {
        "timestamp_field": draw.choice(["event_timestamp", "at"]),
        "created_timestamp_field": draw.choice([None, "created"]),
        "field_mapping": draw.choice([{}, {"raw": "f1"}, {"at": "when"}]),
    }
    match kind:
        case "parquet":
            return ParquetSource(draw.choice(["data/a.parquet", "/x/it's.parquet"]), **times, name=draw.choice(_TEXTS))
        case "csv":
            return CSVSource(["a.csv", "b.csv"], delimiter=draw.choice([",", "\t"]), **times)
        case "duckdb":
            return DuckDBSource("w.duckdb", table="t", **times)
        case "sql":
            return SQLSource("postgresql://${USER}@h/d", query="SELECT \"a\" FROM 'b'", **times)
        case "push" if draw.chance(0.5):
            return PushSource(f"push {view}", batch_source=ParquetSource("data/p.parquet", **times))
        case "push":
            return PushSource(f"push {view}", timestamp_field=times["timestamp_field"])
        case _:
            return None


def _computed(draw: Draw, name: str, views: Sequence[FeatureView]) -> OnDemandFeatureView:
    inputs = tuple(f"{views[0].name}:{f.name}" for f in views[0].schema if f.role == "feature")
    asked = () if inputs and draw.chance(0.5) else (RequestSource("asked", schema=[Field("amount", draw_dtype(draw, ("float64", "timestamp")))]),)  # fmt: skip
    first = inputs[0].partition(":")[2] if inputs else "amount"
    function, about = draw.choice(["computed", "other", "fs"]), _about(draw)
    code = _FUNCTION.format(name=function, argument=draw.choice(["columns", "inputs"]), doc=draw.choice(["", "Adds."]), first=first)  # fmt: skip
    return OnDemandFeatureView(
        name, inputs=inputs, request=asked, schema=(Field("out", DType("float64")),), code=code, function=function, **about
    )  # fmt: skip
