"""Values in reports: as JSON and back, as SQL, and as people read them."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from e2i_fs.dtypes import DType, dtype_from_canonical
from e2i_fs.errors import RequestError

__all__ = ["from_plain", "literal", "reading", "several", "to_plain"]


def to_plain(value: Any) -> Any:
    """Return a value as what JSON can hold; what JSON has no word for becomes ``{"kind": text}``.

    >>> to_plain([1, float("nan"), decimal.Decimal("1.50")])
    [1, {'float': 'nan'}, {'decimal': '1.50'}]
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"float": str(value)}
        case dt.datetime():
            return {"time": value.isoformat()}
        case dt.date():
            return {"date": value.isoformat()}
        case dt.timedelta():
            return {"seconds": value.total_seconds()}
        case decimal.Decimal():
            return {"decimal": str(value)}
        case bytes():
            return {"bytes": value.hex()}
        case DType():
            return {"dtype": value.canonical()}
        case tuple() | list():
            return [to_plain(v) for v in value]
    return {"other": str(value)}


def from_plain(form: Any) -> Any:
    """Return the value of which `to_plain` made ``form``; lists become tuples.

    >>> from_plain([1, {"float": "nan"}, {"decimal": "1.50"}])
    (1, nan, Decimal('1.50'))
    """
    if isinstance(form, list):
        return tuple(from_plain(f) for f in form)
    if isinstance(form, dict):
        ((kind, inner),) = form.items()
        if kind not in _READ:
            raise ValueError(f"{kind!r} is no kind of value")
        return _READ[kind](inner)
    return form


_READ: dict[str, Any] = {
    "float": float,
    "time": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "seconds": lambda s: dt.timedelta(seconds=s),
    "decimal": decimal.Decimal,
    "bytes": bytes.fromhex,
    "dtype": dtype_from_canonical,
    "other": lambda text: text,
}


@contextmanager
def reading(what: str, form: Any, names: Iterable[str]) -> Iterator[None]:
    """Read what ``to_dict`` wrote of ``what``, a form with ``names``. Raises `RequestError` that says what lacks or is wrong.

    >>> with reading("check", {"kind": "psi"}, ["kind", "value"]):
    ...     pass
    Traceback (most recent call last):
    e2i_fs.errors.RequestError: This is no check that to_dict wrote: it lacks 'value'. Make it anew, or read the whole of what to_dict gave.
    """
    start, todo = f"This is no {what} that to_dict wrote", "Make it anew, or read the whole of what to_dict gave."
    if not isinstance(form, Mapping):
        raise RequestError(f"{start}: it is {form!r:.80}, and no mapping. {todo}")
    lacking = [name for name in names if name not in form]
    if lacking:
        raise RequestError(f"{start}: it lacks {', '.join(map(repr, lacking))}. {todo}")
    try:
        yield
    except RequestError:
        raise  # of a part of it, or of a value that cannot be
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RequestError(f"{start}: {type(error).__name__}: {error}. {todo}") from error


def literal(value: Any) -> str:
    """Return a value as SQL. A naive time is UTC (T-1).

    >>> literal("it's"), literal(dt.date(2024, 3, 1)), literal(True)
    ("'it''s'", "DATE '2024-03-01'", 'true')
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"({value})"
        case float():
            return f"'{value!r}'::DOUBLE"
        case str():  # a literal ends at a NUL
            parts = ["'" + part.replace("'", "''") + "'" for part in value.split("\x00")]
            return parts[0] if len(parts) == 1 else f"({' || chr(0) || '.join(parts)})"
        case dt.datetime():
            moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
            return f"TIMESTAMPTZ '{moment.astimezone(dt.UTC).isoformat()}'"
        case dt.date():
            return f"DATE '{value.isoformat()}'"
        case decimal.Decimal() if value.is_finite():
            return f"({value:f})"
        case bytes():
            return "'" + "".join(f"\\x{b:02X}" for b in value) + "'::BLOB"
    raise RequestError(f"{value!r} cannot be compared with a column's values; give a number, text, a time or a date.")


def several(count: int, noun: str) -> str:
    """Return a count and its noun, with an s where there are several.

    >>> several(1, "row"), several(12000, "row")
    ('1 row', '12,000 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
