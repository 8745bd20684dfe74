"""Values as JSON that every reader keeps exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from e2i_fs.dtypes import DType
from e2i_fs.json_values import SAFE_INTEGER, as_json

__all__ = ["Told", "plain", "plain_column"]

K = TypeVar("K")
V = TypeVar("V")
_AS_THEY_ARE = frozenset({"int32", "string", "json", "bool"})


def plain(value: Any) -> Any:
    """Return ``value`` as JSON that every reader keeps exact: times in UTC, whole numbers beyond 2**53 as text.

    >>> plain({"at": datetime(2026, 3, 1), "n": 2**60, "score": float("inf")})
    {'at': '2026-03-01T00:00:00+00:00', 'n': '1152921504606846976', 'score': 'Infinity'}
    """
    return as_json(_in_utc(value), safe_integers=True)


def plain_column(values: Sequence[Any], dtype: DType | None) -> Sequence[Any]:
    """Return a column as `plain` has it, which a dtype makes quicker; None for one that has none.

    >>> from e2i_fs.dtypes import Float64
    >>> plain_column([0.5, float("nan"), None], Float64)
    [0.5, 'NaN', None]
    """
    if dtype is not None and dtype.kind in _AS_THEY_ARE:
        return values
    if dtype is not None and dtype.kind in ("float32", "float64"):
        return [v if v is None or math.isfinite(v) else as_json(v) for v in values]
    if dtype is not None and dtype.kind == "int64":
        return [v if v is None or abs(v) <= SAFE_INTEGER else str(v) for v in values]
    told: list[Any] = plain(list(values))
    return told


class Told(dict[K, V]):
    """What a function says of each thing that it is asked about, said once: for columns in which few things stand often.

    >>> list(map(Told(abs).__getitem__, [-1, 1, -1]))
    [1, 1, 1]
    """

    def __init__(self, say: Callable[[K], V]) -> None:
        super().__init__()
        self._say = say

    def __missing__(self, key: K) -> V:
        said = self[key] = self._say(key)
        return said


def _in_utc(value: Any) -> Any:
    match value:
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
        case Mapping():
            return {key: _in_utc(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_in_utc(inner) for inner in value]
    return value
