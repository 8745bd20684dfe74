"""Neutral definitions as the Python file that a person would have written: formatted, importable, and equal when run."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from e2i_fs.adoption.code import Call, Code, Listed, Mapped, Names, assigned, comment, duration, laid_out, quoted, texts
from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Entity, FeatureService, FeatureView, Field
from e2i_fs.dtypes import DType
from e2i_fs.on_demand import OnDemandFeatureView, borrowed_names, kept_text
from e2i_fs.sources import DEFAULT_TIMESTAMP, PushSource, RequestSource, Source

__all__ = ["is_plain_function", "python_text"]

_TAKEN = frozenset({"fs", "timedelta", "annotations", "definitions"})


def python_text(catalog: Catalog, *, about: str, notes: Sequence[str] = ()) -> str:
    """Return a Python file that defines everything in ``catalog``; run, each definition is equal to the one given.

    ``about`` becomes its docstring, each of ``notes`` a comment line below. Names, tags and descriptions may hold any
    text: it is quoted. Relative paths stay as they are, so the file belongs beside the configuration that they are
    taken from.

    >>> from e2i_fs import Entity
    >>> catalog, _ = Catalog().planned([Entity("hcp_id")], "/")
    >>> print(python_text(catalog, about="What is known of HCPs.").splitlines()[-1])
    hcp_id = fs.Entity("hcp_id")
    """
    return _Writer(catalog).text(about, notes)


class _Writer:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        functions = [view.function for view in catalog.on_demand.values() if _stands_alone(view)]
        self._names = Names({*_TAKEN, *functions})
        self._functions: set[str] = set()
        self._sources: list[tuple[Source | RequestSource, str, str]] = []
        self._entities: dict[str, str] = {}

    def text(self, about: str, notes: Sequence[str]) -> str:
        entities = [self._entity(entity) for entity in self._catalog.entities.values()]
        views = [self._view(view) for view in self._catalog.views.values()]
        computed = [self._computed(view) for view in self._catalog.on_demand.values()]
        services = [self._service(service) for service in self._catalog.services.values()]
        sources = [text for _, _, text in self._sources]
        body = [*sources, *entities, *views, *computed, *services]
        begin = [f'"""{_docstring(about)}"""', *(["\n".join(map(comment, notes))] if notes else [])]
        timed = any(view.ttl or view.max_staleness for view in self._catalog.views.values())
        imports = ["from datetime import timedelta"] if timed else []
        head = "\n\n".join([*begin, "from __future__ import annotations", *imports, "import e2i_fs as fs"]) + "\n"
        functions = [False, *("\ndef " in text for text in body)]
        gaps = ["\n\n" if one or other else "\n" for one, other in itertools.pairwise(functions)]
        return head + "".join(gap + text for gap, text in zip(gaps, body, strict=True))

    def _entity(self, entity: Entity) -> str:
        name = self._entities[entity.name] = self._names.give(entity.name, "entity")
        plain = entity.keys == {entity.name: entity.dtype} and repr(entity.dtype) == "String"
        keys = {} if plain else {"join_keys": Mapped({key: _dtype(dtype) for key, dtype in entity.keys.items()})}
        return assigned(name, Call("fs.Entity", [quoted(entity.name)], {**keys, **_about(entity)}))

    def _view(self, view: FeatureView) -> str:
        named: dict[str, Code] = {
            "entities": Listed([self._entities[name] for name in view.entity_names]),
            "schema": Listed([_field(f) for f in view.schema]),
        }
        if view.source is not None:
            named["source"] = self._source(view.source)
        if view.ttl is not None:
            named["ttl"] = duration(view.ttl)
        if not view.online:
            named["online"] = "False"
        if view.max_staleness is not None:
            named["max_staleness"] = duration(view.max_staleness)
        call = Call("fs.FeatureView", [quoted(view.name)], {**named, **_about(view)})
        return assigned(self._names.give(view.name, "view"), call)

    def _source(self, source: Source | RequestSource) -> str:
        """Return the variable that holds ``source``, which is written before it is used; equal ones are one."""
        known = next((name for kept, name, _ in self._sources if kept == source), None)
        if known is not None:
            return known
        call = self._request(source) if isinstance(source, RequestSource) else self._stored(source)
        name = self._names.give(source.name or source.kind if isinstance(source, Source) else source.name, "source")
        self._sources.append((source, name, assigned(name, call)))
        return name

    def _request(self, source: RequestSource) -> Call:
        return Call("fs.RequestSource", [quoted(source.name)], {"schema": Listed([_field(f) for f in source.schema])})

    def _stored(self, source: Source) -> Call:
        first: list[Code] = []
        named: dict[str, Code] = {}
        batch = source.batch_source if isinstance(source, PushSource) else None
        for each in fields(source):
            value = getattr(source, each.name)
            if each.name in ("path", "connection") or (each.name == "name" and isinstance(source, PushSource)):
                first.append(_paths(value))
            elif each.name == "batch_source":
                named |= {} if value is None else {each.name: self._source(value)}
            elif isinstance(value, Mapping):
                named |= {each.name: Mapped({k: quoted(v) for k, v in value.items()})} if value else {}
            elif batch is None or each.name not in ("timestamp_field", "created_timestamp_field"):
                default = DEFAULT_TIMESTAMP if each.name == "timestamp_field" else each.default
                named |= {} if value == default else {each.name: quoted(value)}
        return Call(f"fs.{type(source).__name__}", first, named)

    def _computed(self, view: OnDemandFeatureView) -> str:
        requests: list[Code] = [self._source(source) for source in view.request]
        schema = Listed([_field(f) for f in view.schema])
        if not _stands_alone(view):
            named: dict[str, Code] = {
                "inputs": _tuple(map(quoted, view.inputs)),
                "request": _tuple(map(str, requests)),
                "schema": Call("tuple", [schema]),
                "code": quoted(view.code),
                "function": quoted(view.function),
                **({"singleton": "True"} if view.singleton else {}),
            }
            call = Call("fs.OnDemandFeatureView", [quoted(view.name)], {**named, **_about(view)})
            return assigned(self._names.give(view.name, "view"), call)
        named = {} if view.name == view.function else {"name": quoted(view.name)}
        named |= {"sources": Listed([*map(quoted, view.inputs), *requests]), "schema": schema}
        named |= {"singleton": "True"} if view.singleton else {}
        about = _about(view)
        if view.description == _doc_of(view.code):
            about.pop("description", None)
        decorator = laid_out(Call("@fs.on_demand_feature_view", (), {**named, **about}))
        text = f"{decorator}\n{view.code}"
        if [v.function for v in self._catalog.on_demand.values()].count(view.function) > 1:
            # The next function of this name takes its place at the top level: this one is kept under a name of its own.
            text += f"\n\n{self._names.give(view.name, 'view')} = {view.function}\n"
        return text

    def _service(self, service: FeatureService) -> str:
        call = Call("fs.FeatureService", [quoted(service.name)], {"features": texts(service.refs), **_about(service)})
        return assigned(self._names.give(service.name, "service"), call)


def _dtype(dtype: DType) -> Code:
    if dtype.kind == "struct":
        return Call("fs.Struct", [Mapped({name: _dtype(inner) for name, inner in dtype.fields})])
    if dtype.element is not None:
        return Call(f"fs.{dtype.kind.capitalize()}", [_dtype(dtype.element)])
    name = f"fs.{dtype.kind.capitalize()}"
    return Call(name, [str(n) for n in dtype.numbers]) if dtype.numbers else name


def _field(field: Field) -> Call:
    named: dict[str, Code] = {} if field.role == "feature" else {"role": quoted(field.role)}
    if field.description:
        named["description"] = quoted(field.description)
    return Call("fs.Field", [quoted(field.name), _dtype(field.dtype)], named)


def _about(definition: Any) -> dict[str, Code]:
    about: dict[str, Code] = {}
    if definition.tags:
        about["tags"] = Mapped({key: quoted(value) for key, value in definition.tags.items()})
    about |= {name: quoted(text) for name in ("owner", "description") if (text := getattr(definition, name))}
    return about


def _paths(value: Any) -> Code:
    if isinstance(value, tuple):
        return quoted(value[0]) if len(value) == 1 else texts(value)
    return quoted(value)


def _tuple(items: Any) -> str:
    listed = list(items)
    return "(" + ", ".join(listed) + ("," if len(listed) == 1 else "") + ")"


def _docstring(text: str) -> str:
    shown = quoted(text)[1:-1]
    return shown.replace('\\"', '"').replace("\\'", "'").replace('"', "'")


def _doc_of(code: str) -> str:
    node = ast.parse(code).body[0]
    assert isinstance(node, ast.FunctionDef)
    return inspect.cleandoc(ast.get_docstring(node, clean=False) or "")


def _stands_alone(view: OnDemandFeatureView) -> bool:
    """True when the decorator over the kept text makes the same view again."""
    return is_plain_function(view) and view.function not in _TAKEN and bool(view.description or not _doc_of(view.code))


def is_plain_function(view: OnDemandFeatureView) -> bool:
    """Return whether the kept text is one function that can be written into any file as it is, and is kept as it is again."""
    try:
        view.code.encode()
        body = ast.parse(view.code).body
    except (SyntaxError, UnicodeEncodeError, ValueError):
        return False
    return (
        len(body) == 1
        and isinstance(body[0], ast.FunctionDef)
        and body[0].name == view.function
        and not body[0].decorator_list
        and kept_text(view.code, body[0]) == view.code
        and len(view.code.splitlines()) == view.code.count("\n")
        and not borrowed_names(view.code, view.function)
    )
