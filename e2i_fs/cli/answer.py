"""What a command has to say: one JSON document, the same for people, and an exit code."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING, Any

from e2i_fs.cli.exits import OK

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Answer", "as_json", "write_json"]


@dataclass(frozen=True, slots=True)
class Answer:
    """``document`` is printed with ``--json``, ``shown`` (rich renderables) without; ``code`` ends the process."""

    document: Any
    shown: Sequence[RenderableType] = ()
    code: int = OK


def as_json(value: Any) -> Any:
    """Return ``value`` as what JSON can hold: times as ISO text, durations as seconds, NaN and infinities as text.

    >>> as_json({"age": dt.timedelta(minutes=1), "score": float("nan")})
    {'age': 60.0, 'score': 'NaN'}
    """
    match value:
        case None | bool() | int() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return value.value
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
            return {str(k): as_json(v) for k, v in value.items()}
        case AbstractSet():
            return sorted(as_json(v) for v in value)
        case Sequence():
            return [as_json(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    raise TypeError(f"{value!r} has no JSON form")


def write_json(document: Any, stream: IO[str]) -> None:
    """Write one JSON document and a line end."""
    stream.write(json.dumps(as_json(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    stream.flush()
