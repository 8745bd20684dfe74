"""Values as JSON can hold them: for commands, and for agents that speak a protocol of JSON."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

__all__ = ["SAFE_INTEGER", "as_json"]

SAFE_INTEGER = 2**53 - 1  # the greatest whole number that every JSON reader keeps exact


def as_json(value: Any, *, safe_integers: bool = False) -> Any:
    """Return ``value`` as what JSON can hold: times as ISO text, durations as seconds, NaN and infinities as text.

    Bytes are base64, decimals text. Whole numbers are exact numbers, which many a reader of JSON rounds beyond 2**53;
    with ``safe_integers`` those are text.

    >>> as_json({"age": dt.timedelta(minutes=1), "score": float("nan")})
    {'age': 60.0, 'score': 'NaN'}
    >>> as_json([2**53 - 1, 2**53 + 1], safe_integers=True)
    [9007199254740991, '9007199254740993']
    """
    match value:
        case Enum():
            return value.value
        case None | bool() | str():
            return value
        case int():
            return str(value) if safe_integers and abs(value) > SAFE_INTEGER else value
        case float():
            return (
                value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
            )
        case dt.timedelta():
            return value.total_seconds()
        case dt.datetime() | dt.date():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case Mapping():
            return {str(k): as_json(v, safe_integers=safe_integers) for k, v in value.items()}
        case AbstractSet():
            return sorted(as_json(v, safe_integers=safe_integers) for v in value)
        case Sequence():
            return [as_json(v, safe_integers=safe_integers) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name), safe_integers=safe_integers) for f in fields(value)}
    raise TypeError(f"{value!r} has no JSON form")
