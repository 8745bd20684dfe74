"""Entities, fields, feature views and services: frozen values that mean the same on every machine (R-2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from typing import Any, Literal

from e2i_fs.dtypes import KEY_KINDS, DType, String, check_dtype, dtype_from_canonical
from e2i_fs.errors import DefinitionError, did_you_mean
from e2i_fs.frozen import FrozenMap
from e2i_fs.sources import DEFAULT_TIMESTAMP, Source, source_from_canonical

__all__ = ["Entity", "FeatureService", "FeatureView", "Field", "fingerprint"]

_FORBIDDEN = set(":*/\\@\"'`")


def check_name(name: object, what: str) -> str:
    """Return ``name`` if it can name a ``what``, else raise a `DefinitionError` that says why not."""
    if not isinstance(name, str) or not name.strip() or name != name.strip():
        raise DefinitionError(f"{what} name {name!r}: give text that is not empty and has no space at either end.")
    bad = sorted({c for c in name if c in _FORBIDDEN or not c.isprintable()})
    if bad:
        raise DefinitionError(f"{what} name {name!r}: the character {bad[0]!r} may not stand in a name.")
    if len(name) > 200:
        raise DefinitionError(f"{what} name {name[:30]!r}…: {len(name)} characters; 200 is the most.")
    return name


def fingerprint(form: Any) -> str:
    """Return the hash of a canonical form: 32 hex digits, the same on every machine and Python (R-2).

    >>> fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    True
    """
    text = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _tags(tags: object, where: str) -> FrozenMap[str]:
    if not isinstance(tags, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in tags.items()):
        raise DefinitionError(f"{where}: tags are a mapping of text to text, not {tags!r}.")
    return FrozenMap(tags)


def _duration(value: object, where: str) -> timedelta | None:
    if value is not None and (not isinstance(value, timedelta) or value <= timedelta(0)):
        raise DefinitionError(
            f"{where} is {value!r}; give a positive datetime.timedelta, or None for no limit."
            f"{' (Zero is not read as unlimited, P-2.)' if value == timedelta(0) else ''}"
        )
    return value


def _micros(value: timedelta | None) -> int | None:
    return None if value is None else value // timedelta(microseconds=1)


def _from_micros(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(microseconds=value)


@dataclass(frozen=True, slots=True)
class Entity:
    """A kind of thing that features describe, and the columns that identify one (P-7).

    ``join_keys`` is a list of column names, all of ``dtype``, or a mapping of column name to dtype; the default is one
    column named like the entity. Keys compare exactly and by type. Raises `DefinitionError` for a name or key that
    cannot be used, or a dtype that cannot be a key.

    >>> from e2i_fs import Entity
    >>> from e2i_fs.dtypes import Int64, String
    >>> Entity("route", join_keys={"origin": String, "stop": Int64}).join_keys
    {'origin': String, 'stop': Int64}
    """

    name: str
    _: KW_ONLY
    join_keys: Mapping[str, DType] | Sequence[str] | None = None
    dtype: DType = String
    tags: Mapping[str, str] = field(default_factory=FrozenMap)
    owner: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "Entity")
        where = f"Entity({self.name!r})"
        check_dtype(self.dtype, f"{where}: dtype")
        given = self.join_keys
        if given is None:
            keys = {self.name: self.dtype}
        elif isinstance(given, Mapping):
            keys = dict(given)
        elif isinstance(given, str):
            raise DefinitionError(f"{where}: join_keys is the text {given!r}; give a list, e.g. [{given!r}].")
        else:
            keys = dict.fromkeys(given, self.dtype)
            if len(keys) != len(given):
                raise DefinitionError(f"{where}: a join key is named twice in {list(given)!r}.")
        if not keys:
            raise DefinitionError(f"{where}: join_keys is empty; name at least one column.")
        for key, dtype in keys.items():
            check_name(key, f"{where}: join key")
            if check_dtype(dtype, f"{where}: join key {key!r}").kind not in KEY_KINDS:
                raise DefinitionError(
                    f"{where}: join key {key!r} is {dtype!r}, which cannot be compared exactly (P-7)."
                )
        object.__setattr__(self, "join_keys", FrozenMap(keys))
        # One spelling of one meaning: the dtype of several keys is in the keys themselves.
        object.__setattr__(self, "dtype", next(iter(keys.values())))
        object.__setattr__(self, "tags", _tags(self.tags, where))

    @property
    def keys(self) -> Mapping[str, DType]:
        """The join keys as a mapping of column name to dtype, in order."""
        return self.join_keys  # type: ignore[return-value]

    def canonical(self) -> dict[str, Any]:
        """Return the JSON value from which the fingerprint is computed (R-2)."""
        return {"entity": self.name, "join_keys": [[k, t.canonical()] for k, t in self.keys.items()]}

    def to_json(self) -> dict[str, Any]:
        """Return the whole definition as a JSON value that `from_json` reads."""
        return {**self.canonical(), "tags": dict(self.tags), "owner": self.owner, "description": self.description}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Entity:
        """Return the entity that `to_json` wrote."""
        keys = {name: dtype_from_canonical(dtype) for name, dtype in form["join_keys"]}
        return cls(form["entity"], join_keys=keys, **_about(form))


def _about(form: Mapping[str, Any]) -> dict[str, Any]:
    return {name: form[name] for name in ("tags", "owner", "description") if name in form}


@dataclass(frozen=True, slots=True)
class Field:
    """One feature of a view: its name, dtype and role.

    ``role="label"`` marks an outcome: it is never given as a model input, only to those who name it in ``labels=``
    (P-12). Raises `DefinitionError` for a bad name, dtype or role.

    >>> from e2i_fs import Field
    >>> from e2i_fs.dtypes import Bool
    >>> Field("is_churned", Bool, role="label").role
    'label'
    """

    name: str
    dtype: DType
    role: Literal["feature", "label"] = "feature"
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "Field")
        check_dtype(self.dtype, f"Field({self.name!r})")
        if self.role not in ("feature", "label"):
            hint = did_you_mean(str(self.role), ["feature", "label"])
            raise DefinitionError(f"Field({self.name!r}): role is {self.role!r}; use 'feature' or 'label'.{hint}")

    def canonical(self) -> list[Any]:
        """Return the JSON value of this field from which the view's fingerprint is computed (R-2)."""
        return [self.name, self.dtype.canonical(), self.role]

    @classmethod
    def from_canonical(cls, form: Sequence[Any], description: str = "") -> Field:
        """Return the field that `canonical` wrote, with a ``description``."""
        name, dtype, role = form
        return cls(name, dtype_from_canonical(dtype), role, description)


@dataclass(frozen=True, slots=True)
class FeatureView:
    """A group of features that share entities, event times and a source.

    ``entities`` are `Entity` objects or names of entities; the view's join keys are all of theirs, in order. Objects
    are applied together with the view. ``schema`` lists the fields. ``source`` holds the history; None means that rows
    are only written through the store. ``ttl`` is how long a row answers after its event time (P-2), ``max_staleness``
    how old the newest row may get before the view is stale (F-2); None means no limit for either. ``online=False``
    keeps the view out of online reads, writes and materialisation. Raises `DefinitionError` for a view that makes no
    sense.

    >>> from e2i_fs import FeatureView, Field
    >>> from datetime import timedelta
    >>> from e2i_fs import Entity, Int64, ParquetSource
    >>> view = FeatureView("hcp_stats", entities=[Entity("hcp_id")], schema=[Field("trx_count", Int64)],
    ...                    source=ParquetSource("hcp.parquet"), ttl=timedelta(days=7))
    >>> view.entities
    ('hcp_id',)
    """

    name: str
    _: KW_ONLY
    entities: Sequence[Entity | str]
    schema: Sequence[Field]
    source: Source | None = None
    ttl: timedelta | None = None
    online: bool = True
    max_staleness: timedelta | None = None
    tags: Mapping[str, str] = field(default_factory=FrozenMap)
    owner: str = ""
    description: str = ""
    entity_objects: tuple[Entity, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name, "FeatureView")
        where = f"FeatureView({self.name!r})"
        if isinstance(self.entities, str | Entity):
            raise DefinitionError(f"{where}: entities is {self.entities!r}; give a list, e.g. [{self.entities!r}].")
        for entity in self.entities:
            if not isinstance(entity, Entity | str):
                raise DefinitionError(f"{where}: {entity!r} is not an Entity or the name of one.")
        objects = tuple(e for e in self.entities if isinstance(e, Entity)) or self.entity_objects
        names = tuple(e.name if isinstance(e, Entity) else e for e in self.entities)
        if len(set(names)) != len(names):
            raise DefinitionError(f"{where}: an entity is named twice in {list(names)}.")
        object.__setattr__(self, "entities", names)
        object.__setattr__(self, "entity_objects", objects)
        if self.source is not None and not isinstance(self.source, Source):
            raise DefinitionError(
                f"{where}: source is {self.source!r}; give a ParquetSource, CSVSource, SQLSource, DuckDBSource "
                "or PushSource, or None when rows are only written. (A RequestSource goes to an on-demand view.)"
            )
        if not self.schema or not all(isinstance(f, Field) for f in self.schema):
            raise DefinitionError(f"{where}: schema is {self.schema!r}; give at least one Field, and only Fields.")
        object.__setattr__(self, "schema", tuple(self.schema))
        taken: dict[str, str] = {self.event_column: "the event time column"}
        if self.created_column:
            taken[self.created_column] = "the created time column"
        for entity in objects:
            taken.update(dict.fromkeys(entity.keys, f"a join key of entity {entity.name!r}"))
        for f in self.schema:
            if f.name in taken:
                raise DefinitionError(f"{where}: field {f.name!r} has the name of {taken[f.name]}; rename one of them.")
            taken[f.name] = "another field"
        _duration(self.ttl, f"{where}: ttl")
        _duration(self.max_staleness, f"{where}: max_staleness")
        object.__setattr__(self, "tags", _tags(self.tags, where))

    @property
    def entity_names(self) -> tuple[str, ...]:
        """The names of the entities, in order."""
        return self.entities  # type: ignore[return-value]

    @property
    def event_column(self) -> str:
        """The name of the event time column in this view's rows."""
        return self.source.event_column if self.source is not None else DEFAULT_TIMESTAMP

    @property
    def created_column(self) -> str | None:
        """The name of the created time column in this view's rows; None when the view has none."""
        return self.source.created_column if self.source is not None else None

    @property
    def features(self) -> Mapping[str, Field]:
        """The fields by name, in schema order."""
        return {f.name: f for f in self.schema}

    @property
    def ttl_us(self) -> int | None:
        """``ttl`` in microseconds, capped at the greatest 64-bit integer (292,000 years); None means no limit."""
        return None if self.ttl is None else min(self.ttl // timedelta(microseconds=1), 2**63 - 1)

    def canonical(self) -> dict[str, Any]:
        """Return the JSON value from which, with those of the entities, the fingerprint is computed (R-2)."""
        return {
            "view": self.name,
            "entities": list(self.entities),
            "schema": [f.canonical() for f in self.schema],
            "source": None if self.source is None else self.source.canonical(),
            "ttl_us": _micros(self.ttl),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the whole definition as a JSON value that `from_json` reads."""
        return {
            **self.canonical(),
            "source_name": self.source.name if self.source else "",
            "batch_source_name": getattr(getattr(self.source, "batch_source", None), "name", ""),
            "online": self.online,
            "max_staleness_us": _micros(self.max_staleness),
            "field_descriptions": {f.name: f.description for f in self.schema if f.description},
            "tags": dict(self.tags),
            "owner": self.owner,
            "description": self.description,
        }

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> FeatureView:
        """Return the view that `to_json` wrote."""
        about = form.get("field_descriptions", {})
        source = form["source"]
        if source is not None:
            source = {"name": form.get("source_name", ""), **source}
            if source.get("batch_source"):
                source["batch_source"] = {"name": form.get("batch_source_name", ""), **source["batch_source"]}
        return cls(
            form["view"],
            entities=form["entities"],
            schema=[Field.from_canonical(f, about.get(f[0], "")) for f in form["schema"]],
            source=None if source is None else source_from_canonical(source),
            ttl=_from_micros(form["ttl_us"]),
            online=form.get("online", True),
            max_staleness=_from_micros(form.get("max_staleness_us")),
            **_about(form),
        )


@dataclass(frozen=True, slots=True)
class FeatureService:
    """A named list of features: the inputs of one model.

    ``features`` are references (``view:feature`` or ``view:*``) or feature views, each meaning ``view:*``. Raises
    `DefinitionError` for an empty list or anything else in it.

    >>> from e2i_fs import FeatureService
    >>> FeatureService("hcp_conversion", features=["hcp_stats:trx_count"]).features
    ('hcp_stats:trx_count',)
    """

    name: str
    _: KW_ONLY
    features: Sequence[str | FeatureView]
    tags: Mapping[str, str] = field(default_factory=FrozenMap)
    owner: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "FeatureService")
        where = f"FeatureService({self.name!r})"
        if isinstance(self.features, str) or not self.features:
            raise DefinitionError(f"{where}: features is {self.features!r}; give a list of 'view:feature' references.")
        refs = []
        for ref in self.features:
            if isinstance(getattr(ref, "name", None), str):
                ref = f"{ref.name}:*"  # type: ignore[union-attr]
            if not isinstance(ref, str) or ref.count(":") != 1 or not all(ref.split(":")):
                raise DefinitionError(f"{where}: {ref!r} is not a reference; write 'view:feature' or 'view:*'.")
            refs.append(ref)
        object.__setattr__(self, "features", tuple(refs))
        object.__setattr__(self, "tags", _tags(self.tags, where))

    @property
    def refs(self) -> tuple[str, ...]:
        """The references, in order."""
        return self.features  # type: ignore[return-value]

    def canonical(self) -> dict[str, Any]:
        """Return the JSON value from which the fingerprint is computed (R-2)."""
        return {"service": self.name, "features": list(self.features)}

    def to_json(self) -> dict[str, Any]:
        """Return the whole definition as a JSON value that `from_json` reads."""
        return {**self.canonical(), "tags": dict(self.tags), "owner": self.owner, "description": self.description}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> FeatureService:
        """Return the service that `to_json` wrote."""
        return cls(form["service"], features=form["features"], **_about(form))
