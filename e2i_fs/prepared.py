"""An online request, prepared: what every read of the same features needs, made once for a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import FeatureService
from e2i_fs.dtypes import DType
from e2i_fs.request import Request, resolve, views_of
from e2i_fs.values import AS_THEY_ARE, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Prepared", "ViewPart", "picker", "prepared"]


@dataclass(frozen=True, slots=True)
class ViewPart:
    """One view of a request: its ttl in microseconds, and the names and references of the features to read.

    ``pick`` takes what has these names from a mapping, in order; ``dtypes`` are theirs, empty where storage values are what the
    caller gets.
    """

    name: str
    ttl_us: int | None
    names: tuple[str, ...]
    refs: tuple[str, ...]
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    dtypes: tuple[DType, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A resolved online request.

    ``groups`` has the views to read, those of the same join keys together; ``touched`` the names of all views read or run;
    ``needed`` the columns that entity rows must have, ``names`` the outputs' names by reference, ``types`` their Arrow types;
    ``not_online`` a view that keeps nothing online, if there is one.
    """

    request: Request
    groups: tuple[tuple[Mapping[str, DType], tuple[ViewPart, ...]], ...]
    touched: tuple[str, ...]
    needed: frozenset[str]
    names: Mapping[str, str]
    taken: frozenset[str]
    types: Mapping[str, Callable[[], pa.DataType]]
    not_online: str | None


def prepared(
    catalog: Catalog, features: Sequence[str] | FeatureService | str, *, full_feature_names: bool = False
) -> Prepared:
    """Return the online request that ``features`` stands for; see `e2i_fs.request.resolve` for its errors."""
    if type(features) is list:
        try:
            return catalog.remembered(
                ("online", tuple(features), full_feature_names),
                lambda: _prepared(catalog, resolve(catalog, features, full_feature_names=full_feature_names)),
            )
        except TypeError:
            pass  # a reference that cannot be hashed is none: `resolve` says so
    return _prepared(catalog, resolve(catalog, features, full_feature_names=full_feature_names))


def _prepared(catalog: Catalog, request: Request) -> Prepared:
    groups: dict[Any, tuple[Mapping[str, DType], list[ViewPart]]] = {}
    for name, features in request.views.items():
        keys, fields = dict(catalog.join_keys(name)), catalog.views[name].features
        dtypes = tuple(fields[feature].dtype for feature in features)
        part = ViewPart(
            name,
            catalog.views[name].ttl_us,
            tuple(features),
            tuple(f"{name}:{feature}" for feature in features),
            picker(tuple(features)),
            () if all(dtype.kind in AS_THEY_ARE for dtype in dtypes) else dtypes,
        )
        groups.setdefault(tuple(keys.items()), (keys, []))[1].append(part)
    return Prepared(
        request,
        tuple((keys, tuple(parts)) for keys, parts in groups.values()),
        tuple(views_of(request)),
        frozenset((*request.join_keys, *request.columns)),
        {o.ref: o.name for o in request.outputs},
        frozenset(o.name for o in request.outputs),
        {o.name: partial(arrow_type, o.field.dtype) for o in request.outputs},
        next((name for name in request.views if not catalog.views[name].online), None),
    )


def picker(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return a function that takes what has these names from a mapping, in order; it raises `KeyError` for the first that is missing.

    >>> picker(["b"])({"a": 1, "b": 2}), picker(["b", "a"])({"a": 1, "b": 2})
    ((2,), (2, 1))
    """
    if len(names) > 1:
        pick: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*names)
        return pick
    return lambda mapping: tuple(mapping[name] for name in names)
