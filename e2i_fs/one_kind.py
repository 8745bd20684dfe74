"""The values of one column are of one kind: Arrow makes some kinds into others without a word, a time of day gone with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from numbers import Number
from textwrap import shorten
from typing import Any

from e2i_fs.errors import InvalidEntityFrameError

__all__ = ["check_one_kind", "is_nothing"]

_NOTHING = ("NoneType", "NAType", "NaTType")
_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((dt.datetime,), "a time"),
    ((dt.date,), "a date"),
    ((dt.timedelta,), "a duration"),
    ((dt.time,), "a time of day"),
    ((str,), "text"),
    ((bytes, bytearray, memoryview), "bytes"),
    ((Number,), "a number"),
)


def is_nothing(kind: type) -> bool:
    """Return whether a value of this type is a missing one: None, pandas' NA or NaT."""
    return kind.__name__ in _NOTHING


@lru_cache(1024)
def _kind_of(kind: type) -> str | None:
    """Return what values of a Python type are, in words; None for those that no other kind could be made of."""
    if is_nothing(kind):
        return None
    if kind.__name__ in ("bool", "bool_"):  # Python's and numpy's
        return "a truth value"
    return next((words for types, words in _KINDS if issubclass(kind, types)), None)


def check_one_kind(values: Collection[Any], what: str, name: str) -> None:
    """Raise `InvalidEntityFrameError` if ``values``, those of the column ``name``, are of two kinds, within lists and mappings too.

    Missing values are of any kind; NaN is missing where it is the only number.

    >>> check_one_kind([1, 2.5, None], "entity_df", "visits")
    >>> check_one_kind([True, 2], "entity_df", "visits")
    Traceback (most recent call last):
    ...
    e2i_fs.errors.InvalidEntityFrameError: entity_df: column 'visits' holds a truth value, True, and a number, 2, which cannot be read as values of one type without changing some. Give the column one type.
    """
    types: set[type] = set(map(type, values))
    kinds = {kind for one in types if (kind := _kind_of(one)) is not None}
    if len(kinds) > 1:
        firsts: dict[str, Any] = {}
        for value in values:
            one: type = type(value)
            kind = _kind_of(one)
            if kind is not None and value == value:  # NaN is not
                firsts.setdefault(kind, value)
        if len(firsts) > 1:
            (kind, value), (other, another) = list(firsts.items())[:2]
            raise InvalidEntityFrameError(
                f"{what}: column {name!r} holds {kind}, {shorten(repr(value), 60)}, and {other}, {shorten(repr(another), 60)}, which "
                "cannot be read as values of one type without changing some. Give the column one type."
            )
    if any(issubclass(one, list | tuple | Mapping) for one in types):
        for inner in _inside(values):
            check_one_kind(inner, what, name)


def _inside(values: Iterable[Any]) -> Iterable[list[Any]]:
    """Return the values within lists as one, and those within mappings by key."""
    listed: list[Any] = []
    keyed: dict[Any, list[Any]] = {}
    for value in values:
        if isinstance(value, list | tuple):
            listed.extend(value)
        elif isinstance(value, Mapping):
            for key, one in value.items():
                keyed.setdefault(key, []).append(one)
    return [listed, *keyed.values()]
