"""Neutral definitions as Python in Feast's own classes, as a user of Feast would write them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import feast.types as ft

from e2i_fs.adoption.code import Call, Code, Listed, Mapped, Names, assigned, comment, duration, laid_out, quoted, texts
from e2i_fs.adoption.foreign import Left
from e2i_fs.adoption.python_text import is_plain_function
from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field
from e2i_fs.frozen import FrozenMap
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.reading import stored_source
from e2i_fs.sources import ParquetSource, PushSource, RequestSource
from e2i_fs_feast.adopt import expanded
from e2i_fs_feast.extras import EXTRA, RESULTS, field_extra, tagged, view_extra
from e2i_fs_feast.keys import declared_key
from e2i_fs_feast.neutral_types import DTYPES
from e2i_fs_feast.protos import declared_type
from e2i_fs_feast.translate import TAG, feast_entities

__all__ = ["FeastText", "StandIn", "Statement", "feast_text"]

_CLASSES = (
    "Entity", "FeatureService", "FeatureView", "Field", "FileSource", "PushSource", "RequestSource", "ValueType",
)  # fmt: skip
_RESERVED = frozenset({"timedelta", "on_demand_feature_view", "annotations", *_CLASSES, *dir(ft)})


class Statement(NamedTuple):
    """One statement of the file: the neutral definition for which it was written, and the Feast object's own name."""

    kind: str
    name: str
    feast_name: str
    text: str


class StandIn(NamedTuple):
    """A file without rows that stands in for a source, for Feast must have one: its path and the view it is for."""

    path: str
    view: FeatureView


@dataclass(frozen=True)
class FeastText:
    """The statements in order, the files that must be there, and what was left out."""

    about: str
    statements: tuple[Statement, ...]
    stand_ins: tuple[StandIn, ...]
    left: tuple[Left, ...]
    types: tuple[str, ...]

    expected: Catalog

    def text(self) -> str:
        """Return the whole file."""
        return self._head() + "".join(gap + s.text for gap, s in zip(self._gaps(), self.statements, strict=True))

    def statement_at(self, line: int) -> Statement | None:
        """Return the statement in which this line of the file is, counted from 1."""
        end = self._head().count("\n")
        for gap, statement in zip(self._gaps(), self.statements, strict=True):
            end += (gap + statement.text).count("\n")
            if line <= end:
                return statement
        return None

    def _gaps(self) -> list[str]:
        functions = [False, *("\ndef " in s.text for s in self.statements)]
        return ["\n\n" if one or other else "\n" for one, other in itertools.pairwise(functions)]

    def _head(self) -> str:
        used = "".join(s.text for s in self.statements)
        classes = [name for name in _CLASSES if f"{name}(" in used or f"{name}." in used]
        theirs = laid_out_import("feast", classes) if classes else ""
        if "@on_demand_feature_view(" in used:
            theirs += "from feast.on_demand_feature_view import on_demand_feature_view\n"
        theirs += laid_out_import("feast.types", self.types) if self.types else ""
        notes = "".join(f"{comment(f'Left out: {each}')}\n" for each in self.left)
        imports = "from datetime import timedelta\n" if "ttl=timedelta(" in used else ""
        pieces = [f'"""{self.about}"""\n', notes, "from __future__ import annotations\n", imports, theirs]
        return "\n".join(piece for piece in pieces if piece)


def laid_out_import(module: str, names: Sequence[str]) -> str:
    """Return an import of several names, on one line if it fits."""
    flat = f"from {module} import {', '.join(names)}\n"
    return flat if len(flat) <= 89 else f"from {module} import (\n" + "".join(f"    {n},\n" for n in names) + ")\n"


def feast_text(catalog: Catalog, *, about: str, folder: str, without: Sequence[Left] = ()) -> FeastText:
    """Return ``catalog`` in Feast's words, for a repository in ``folder``.

    What Feast cannot hold, and what ``without`` names, is left out and named, and what needs it too.
    """
    return _Writer(catalog, folder, without).run(about)


class _Writer:
    def __init__(self, catalog: Catalog, folder: str, without: Sequence[Left]) -> None:
        self._catalog = catalog
        self._without = {(left.kind, left.name): left.why for left in without}
        self._now = ("", "")
        self._views = dict(catalog.views)
        self._folder = folder
        functions = [view.function for view in catalog.on_demand.values()]
        self._names = Names({*_RESERVED, *functions})
        self._files = Names(())
        self._statements: list[Statement] = []
        self._stand_ins: list[StandIn] = []
        self._left: list[Left] = []
        self._types: set[str] = set()
        self._sources: list[tuple[Any, str]] = []
        self._source_names: set[str] = set()
        self._variables: dict[tuple[str, str], str] = {}
        self._feast_names: dict[str, str] = {}

    def run(self, about: str) -> FeastText:
        for name, entity in self._catalog.entities.items():
            self._try("entity", name, lambda entity=entity: self._entity(entity))
        for name in self._catalog.views:
            self._try("feature view", name, lambda name=name: self._view(self._catalog.view(name)))
        for name, view in self._catalog.on_demand.items():
            self._try("on-demand feature view", name, lambda view=view: self._computed(view))
        for name, service in self._catalog.services.items():
            self._try("feature service", name, lambda service=service: self._service(service))
        types = tuple(sorted(self._types))
        return FeastText(
            about, tuple(self._statements), tuple(self._stand_ins), tuple(self._left), types, self._expected()
        )

    def _expected(self) -> Catalog:
        """Return the catalogue that the text says: without what is left out, its paths as they are written."""

        def said(kind: str, every: Mapping[str, Any]) -> FrozenMap[Any]:
            return FrozenMap({name: each for name, each in every.items() if (kind, name) in self._variables})

        return Catalog(
            entities=said("entity", self._catalog.entities),
            views=said("feature view", self._views),
            services=said("feature service", self._catalog.services),
            on_demand=said("on-demand feature view", self._catalog.on_demand),
        )

    def _try(self, kind: str, name: str, make: Any) -> None:
        begun = len(self._statements), len(self._stand_ins), len(self._sources), set(self._source_names)
        self._now = (kind, name)
        try:
            if (kind, name) in self._without:
                raise _CannotSayError(self._without[kind, name])
            if kind.endswith("view"):
                self._check_name(name, table=kind == "feature view")
            make()
        except _CannotSayError as error:
            del self._statements[begun[0] :], self._stand_ins[begun[1] :], self._sources[begun[2] :]
            self._source_names = begun[3]
            self._left.append(Left(kind, name, str(error)))

    def _check_name(self, name: str, *, table: bool) -> None:
        taken = self._feast_names.setdefault(name.lower(), name)
        if taken != name:
            raise _CannotSayError(f"Feast tells no views apart whose names differ only by case, and {taken!r} is there")
        odd = next((char for char in name if not (char.isalnum() or char == "_")), None)
        if odd is not None:
            raise _CannotSayError(
                f"Feast makes a table of this name without quoting it, which {odd!r} breaks; rename it"
            )

    def _add(self, kind: str, name: str, variable: str, text: str) -> None:
        self._statements.append(Statement(*self._now, name, text))
        self._variables[kind, name] = variable

    def _known(self, kind: str, name: str) -> str:
        found = self._variables.get((kind, name))
        if found is None:
            raise _CannotSayError(f"it needs the {kind} {name!r}, which is left out")
        return found

    # ---- entities -----------------------------------------------------------------------------------------

    def _entity(self, entity: Entity) -> None:
        parts = feast_entities(entity)
        if len(parts) > 1:
            for part in parts:
                if part.name in self._catalog.entities or ("part", part.name) in self._variables:
                    raise _CannotSayError(f"Feast keeps each of its keys as an entity, and {part.name!r} is taken")
        for number, part in enumerate(parts):
            theirs = declared_key(part.dtype)
            extra: dict[str, Any] = {} if DTYPES.get(theirs) == part.dtype else {"dtype": part.dtype.canonical()}
            if len(parts) > 1:
                extra |= {"entity": entity.name, "number": number, "of": len(parts)}
            named: dict[str, Code] = {
                "name": quoted(part.name),
                "join_keys": texts([part.join_key]),
                "value_type": f"ValueType.{theirs.to_value_type().name}",
            }
            call = Call("Entity", (), {**named, **_about(entity, extra)})
            variable = self._names.give(part.name, "entity")
            self._add("part", part.name, variable, assigned(variable, call))
        self._variables["entity", entity.name] = ""

    # ---- views --------------------------------------------------------------------------------------------

    def _view(self, view: FeatureView) -> None:
        for entity in view.entity_names:
            self._known("entity", entity)
        parts = [part for e in view.entity_names for part in feast_entities(self._catalog.entities[e])]
        if view.ttl is not None and view.ttl.days > 3_650_000:
            raise _CannotSayError(f"Feast holds no ttl of {view.ttl}")
        fields: list[Code] = [self._field(Field(part.join_key, part.dtype), declared_key(part.dtype)) for part in parts]
        fields += [self._field(f, declared_type(f.dtype)) for f in view.schema]
        source, extra = self._source(view)
        named: dict[str, Code] = {"name": quoted(view.name)}
        if parts:
            named["entities"] = Listed([self._variables["part", part.name] for part in parts])
        named |= {"schema": Listed(fields), "source": source}
        if view.ttl is not None:
            named["ttl"] = duration(view.ttl)
        if not view.online:
            named["online"] = "False"
        variable = self._names.give(view.name, "view")
        call = Call("FeatureView", (), {**named, **_about(view, {**view_extra(view), **extra})})
        self._add("feature view", view.name, variable, assigned(variable, call))

    def _field(self, field: Field, theirs: Any) -> Call:
        named: dict[str, Code] = {"name": quoted(field.name), "dtype": self._type(theirs)}
        return Call("Field", (), named | ({"description": quoted(field.description)} if field.description else {}))

    def _type(self, theirs: Any) -> Code:
        if isinstance(theirs, ft.Struct):
            self._types.add("Struct")
            return Call("Struct", [Mapped({name: self._type(inner) for name, inner in theirs.fields.items()})])
        if isinstance(theirs, ft.Array):
            self._types.add("Array")
            return Call("Array", [self._type(theirs.base_type)])
        name = str(ft.PRIMITIVE_FEAST_TYPES_TO_STRING[theirs.name])
        self._types.add(name)
        return name

    def _source(self, view: FeatureView) -> tuple[str, dict[str, Any]]:
        """Return the variable of the view's source, and what has to be said of it beside."""
        stored = stored_source(view)
        extra: dict[str, Any] = {}
        if stored is None:
            path = f"data/{self._files.give(view.name, 'view')}.parquet"
            stand_in = StandIn(path, view)
            self._stand_ins.append(stand_in)
            extra = {"source": None if view.source is None else view.source.canonical()}
            stored = ParquetSource(path, timestamp_field=view.event_column, created_timestamp_field=view.created_column)
        elif not isinstance(stored, ParquetSource):
            raise _CannotSayError(f"Feast has no counterpart of {type(stored).__name__}; write its rows to Parquet")
        else:
            stored = replace(stored, path=self._path(stored.paths, self._catalog.bases.get(view.name, "")))
            push = view.source if isinstance(view.source, PushSource) else None
            self._views[view.name] = replace(view, source=replace(push, batch_source=stored) if push else stored)
        name = self._file_source(stored, view.name)
        if isinstance(view.source, PushSource):
            name = self._push_source(view.source.name, name)
        return name, extra

    def _path(self, paths: tuple[str, ...], base: str) -> str:
        if len(paths) > 1:
            raise _CannotSayError(
                f"it reads {len(paths)} paths, and a Feast source is one; put the files into one folder"
            )
        path = os.path.expanduser(paths[0])
        whole = os.path.join(base, path)
        if any(mark in path for mark in "*?[") and not os.path.exists(whole):
            raise _CannotSayError(f"it reads the pattern {path!r}, and a Feast source is a file or a folder")
        if os.path.isabs(path) or os.path.realpath(base) == os.path.realpath(self._folder):
            return path
        return os.path.relpath(whole, self._folder)

    def _file_source(self, source: ParquetSource, view: str) -> str:
        known = next((variable for kept, variable in self._sources if kept == source), None)
        if known is not None:
            return known
        name = next(
            n
            for n in (source.name, f"{view}__source", f"{view}__source_2")
            if n and n.lower() not in self._source_names
        )
        self._source_names.add(name.lower())
        named: dict[str, Code] = {
            "name": quoted(name), "path": quoted(source.paths[0]), "timestamp_field": quoted(source.timestamp_field),
        }  # fmt: skip
        if source.created_timestamp_field:
            named["created_timestamp_column"] = quoted(source.created_timestamp_field)
        if source.field_mapping:
            named["field_mapping"] = Mapped({key: quoted(value) for key, value in source.field_mapping.items()})
        variable = self._names.give(name, "source")
        self._sources.append((source, variable))
        self._add("source", name, variable, assigned(variable, Call("FileSource", (), named)))
        return variable

    def _push_source(self, name: str, batch: str) -> str:
        known = next((variable for kept, variable in self._sources if kept == (name, batch)), None)
        if known is not None:
            return known
        if name.lower() in self._source_names:
            raise _CannotSayError(f"Feast has one source of each name, and {name!r} is taken")
        self._source_names.add(name.lower())
        variable = self._names.give(name, "source")
        call = Call("PushSource", (), {"name": quoted(name), "batch_source": batch})
        self._sources.append(((name, batch), variable))
        self._add("source", name, variable, assigned(variable, call))
        return variable

    # ---- on-demand views and services ---------------------------------------------------------------------

    def _computed(self, view: OnDemandFeatureView) -> None:
        if not is_plain_function(view) or view.function in _RESERVED:
            raise _CannotSayError("its function is not a plain one that stands by itself")
        functions = [other.function for other in self._catalog.on_demand.values()]
        if functions.count(view.function) > 1:
            raise _CannotSayError(f"another on-demand view has a function named {view.function!r} too")
        groups = _grouped(view.inputs)
        sources: list[Code] = [self._picked("feature view", name, features) for name, features in groups.items()]
        requests = [self._request(source) for source in view.request]
        schema = [Field(f.name, RESULTS.get(f.dtype.kind, f.dtype), description=f.description) for f in view.schema]
        fields = {f.name: {"dtype": f.dtype.canonical()} for f in view.schema if f.dtype.kind in RESULTS}
        fields |= {f.name: more for f in view.schema if f.name not in fields and (more := field_extra(f))}
        ordered = [f"{name}:{f}" for name in sorted(groups) for f in groups[name]]
        extra: dict[str, Any] = {} if ordered == list(view.inputs) else {"inputs": list(view.inputs)}
        order = [source.name for source in view.request]
        extra |= {} if order == sorted(order) else {"request": order}
        extra |= {"fields": fields} if fields else {}
        asked = {f.name: more for source in view.request for f in source.schema if (more := field_extra(f))}
        extra |= {"asked": asked} if asked else {}
        named: dict[str, Code] = {} if view.name == view.function else {"name": quoted(view.name)}
        named |= {
            "sources": Listed([*sources, *requests]),
            "schema": Listed([self._field(f, declared_type(f.dtype)) for f in schema]),
            "mode": quoted("python"),
            **({"singleton": "True"} if view.singleton else {}),
        }
        decorator = laid_out(Call("@on_demand_feature_view", (), {**named, **_about(view, extra)}))
        self._add("on-demand feature view", view.name, view.function, f"{decorator}\n{view.code}")

    def _request(self, source: RequestSource) -> str:
        known = next((variable for kept, variable in self._sources if kept == source), None)
        if known is not None:
            return known
        if source.name.lower() in self._source_names:
            raise _CannotSayError(f"Feast has one source of each name, and {source.name!r} is taken")
        self._source_names.add(source.name.lower())
        fields = Listed([self._field(f, declared_type(f.dtype)) for f in source.schema])
        variable = self._names.give(source.name, "source")
        call = Call("RequestSource", (), {"name": quoted(source.name), "schema": fields})
        self._sources.append((source, variable))
        self._add("source", source.name, variable, assigned(variable, call))
        return variable

    def _picked(self, kind: str, name: str, features: Sequence[str]) -> Code:
        """Return a view in Feast's words, with some of its features picked if it is not all of them."""
        variable = self._known(kind, name)
        known = self._catalog.views if kind == "feature view" else self._catalog.on_demand
        if list(features) == list(known[name].features):
            return variable
        picked = ", ".join(map(quoted, features))
        return f"{variable}[[{picked}]]"

    def _service(self, service: FeatureService) -> None:
        views: dict[str, Any] = {**self._catalog.views, **self._catalog.on_demand}
        refs = expanded(service.refs, views)
        groups = _grouped(refs)
        picked = [
            self._picked("feature view" if name in self._catalog.views else "on-demand feature view", name, features)
            for name, features in groups.items()
        ]
        plain = [f"{name}:{feature}" for name, features in groups.items() for feature in features]
        extra = {} if plain == list(service.refs) else {"features": list(service.refs)}
        variable = self._names.give(service.name, "service")
        named: dict[str, Code] = {"name": quoted(service.name), "features": Listed(picked)}
        self._add(
            "feature service", service.name, variable,
            assigned(variable, Call("FeatureService", (), {**named, **_about(service, extra)})),
        )  # fmt: skip


class _CannotSayError(Exception):
    """Something that Feast has no words for; the text says what."""


def _about(definition: Any, extra: Mapping[str, Any]) -> dict[str, Code]:
    about: dict[str, Code] = {}
    if definition.description:
        about["description"] = quoted(definition.description)
    own = next((tag for tag in (TAG, EXTRA) if tag in definition.tags), None)
    if own is not None:
        raise _CannotSayError(
            f"it has a tag {own!r}, by which e2i_fs knows what it wrote itself; name the tag otherwise"
        )
    tags = tagged(definition.tags, extra)
    if tags:
        about["tags"] = Mapped({key: quoted(value) for key, value in tags.items()})
    return about | ({"owner": quoted(definition.owner)} if definition.owner else {})


def _grouped(refs: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for ref in refs:
        view, _, feature = ref.partition(":")
        group = groups.setdefault(view, [])
        if feature not in group:
            group.append(feature)
    return groups
