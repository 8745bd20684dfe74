"""Values in the forms of Feast's feature server, out and in.

A time is whole seconds since 1970 there, for Feast has nothing finer: a part of a second is cut off (the value is then
never later than the true one), and ``/v1`` has it whole. Event times are exact.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import Any

from e2i_fs.dtypes import DType
from e2i_fs.json_values import as_json
from e2i_fs.server.body import json_of
from e2i_fs.server.refusals import InvalidBodyError

__all__ = ["NO_TIME", "event_text", "from_feast", "to_feast"]

NO_TIME = "1970-01-01T00:00:00Z"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_DAY = dt.date(1970, 1, 1)
_DAY = 86_400
_AS_THEY_ARE = frozenset({"int32", "int64", "string", "json", "bool"})


def to_feast(values: Sequence[Any], dtype: DType) -> list[Any]:
    """Return a column of values as Feast's feature server writes them: whole numbers exact, NaN as text, bytes base64.

    >>> from e2i_fs.dtypes import Float64, Timestamp
    >>> to_feast([1.5, float("nan"), None], Float64)
    [1.5, 'NaN', None]
    >>> to_feast([dt.datetime(2026, 3, 1, 0, 0, 0, 999_999, tzinfo=dt.UTC)], Timestamp)
    [1772323200]
    """
    if dtype.kind in _AS_THEY_ARE:
        return list(values)
    if dtype.kind in ("float32", "float64"):
        return [v if v is None or math.isfinite(v) else as_json(v) for v in values]
    write = _writer(dtype)
    return [None if v is None else write(v) for v in values]


def _writer(dtype: DType) -> Callable[[Any], Any]:
    match dtype.kind:
        case "timestamp":
            return lambda v: (v - _EPOCH) // dt.timedelta(seconds=1)
        case "date":
            return lambda v: (v - _EPOCH_DAY).days * _DAY
        case "bytes":
            return lambda v: base64.b64encode(v).decode("ascii")
        case "array":
            inner = dtype.element
            assert inner is not None
            return lambda v: to_feast(v, inner)
        case "struct":
            fields = dict(dtype.fields)
            return lambda v: {name: to_feast([v[name]], part)[0] for name, part in fields.items()}
    return as_json


def event_text(moment: dt.datetime | None) -> str:
    """Return an event time as Feast's feature server writes it, and 1970 for one that is missing.

    >>> event_text(dt.datetime(2026, 3, 1, 0, 0, 0, 250_000, tzinfo=dt.UTC))
    '2026-03-01T00:00:00.250Z'
    """
    if moment is None:
        return NO_TIME
    cut = "auto" if moment.microsecond % 1000 else "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=cut).removesuffix("+00:00") + "Z"


def from_feast(values: Sequence[Any], dtype: DType) -> list[Any]:
    """Return a column as Feast's client writes it in the forms that `e2i_fs.wire.batches` reads.

    Its times are seconds since 1970, or text that is UTC when it has no offset; its structs are text of JSON. Whatever has
    another form stays, for the reader to refuse.

    >>> from e2i_fs.dtypes import Timestamp
    >>> from_feast([1772323200, "2026-03-01T00:00:00", None], Timestamp)
    ['2026-03-01T00:00:00+00:00', '2026-03-01T00:00:00+00:00', None]
    """
    if dtype.kind in ("timestamp", "date"):
        return [_time(v, dtype.kind) for v in values]
    if dtype.kind == "struct":
        return [_struct(v) for v in values]
    if dtype.kind == "array" and dtype.element is not None:
        inner = dtype.element
        return [from_feast(v, inner) if isinstance(v, list) else v for v in values]
    return list(values)


def _time(value: Any, kind: str) -> Any:
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            if kind == "date" and value % _DAY:
                return value  # a time of the day is no date, and is not cut off
            moment = _EPOCH + dt.timedelta(seconds=value)
            return moment.isoformat() if kind == "timestamp" else moment.date().isoformat()
        if isinstance(value, str) and kind == "timestamp" and dt.datetime.fromisoformat(value).tzinfo is None:
            return f"{value}+00:00" if len(value) > len("2026-03-01") else f"{value}T00:00:00+00:00"
    except (OverflowError, ValueError):
        return value
    return value


def _struct(value: Any) -> Any:
    try:
        return json_of(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else value
    except InvalidBodyError:
        return value
