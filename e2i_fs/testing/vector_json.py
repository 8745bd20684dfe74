"""The JSON of a file of vectors: its values by dtype, and errors that name the file, the case and the key.

Each reader takes a JSON value and where it stands, and returns a plain Python value or raises a ValueError.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Any, Never

from e2i_fs.dtypes import DType, Float32

__all__ = [
    "At", "flag_of", "list_of", "members", "moment_of", "read_json", "rule_of", "some_of", "text_of", "ttl_of",
    "value_of", "values_of",
]  # fmt: skip

_RULE = re.compile(r"[A-Z]-[0-9]+")
_MOMENT = re.compile(r"[0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]\.[0-9]{6}Z")
_WHOLE = re.compile(r"-?[1-9][0-9]*")
_NO_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_INTEGER_BITS = {"int32": 31, "int64": 63}


@dataclass(frozen=True, slots=True)
class At:
    """A place in a file: what an error there begins with."""

    file: str
    case: str = ""
    key: str = ""

    def fail(self, problem: str) -> Never:
        """Raise the ValueError of ``problem`` at this place."""
        case = f", case {self.case!r}" if self.case else ""
        key = f", key {self.key!r}" if self.key else ""
        raise ValueError(f"{self.file}{case}{key}: {problem}")

    def into(self, key: str | int) -> At:
        """Return the place of a member or an element."""
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.key else key
        return At(self.file, self.case, f"{self.key}{step}")


def read_json(path: Path, at: At) -> Any:
    """Return the content of a JSON file; a key twice in one object and a bare NaN are refused."""
    try:
        return json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=_no_key_twice, parse_constant=_no_bare_constant
        )
    except ValueError as error:
        at.fail(f"is not JSON that a vector file may hold: {error}")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n]))
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _no_bare_constant(text: str) -> Never:
    raise ValueError(f"a bare {text} is no JSON; write it as text")


def members(form: Any, at: At, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """Return an object that has the needed keys and no others but the optional ones."""
    if not isinstance(form, dict):
        at.fail(f"is {_kind(form)}, not an object of {', '.join(needed)}.")
    for name in form:
        if name not in needed and name not in optional:
            at.into(name).fail(f"is unknown; the keys here are {', '.join((*needed, *optional))}.")
    for name in needed:
        if name not in form:
            at.into(name).fail("is missing.")
    return form


def values_of(form: Any, columns: Sequence[tuple[str, DType]], at: At) -> tuple[Any, ...]:
    """Return the values of columns from an object with exactly their names."""
    form = members(form, at, [name for name, _ in columns])
    return tuple(value_of(form[name], dtype, at.into(name)) for name, dtype in columns)


def list_of(form: Any, at: At, count: int | None = None) -> list[Any]:
    """Return a list, one of ``count`` elements where that is given."""
    if not isinstance(form, list):
        at.fail(f"is {_kind(form)}, not a list.")
    if count is not None and len(form) != count:
        at.fail(f"has {len(form)} elements for {count} entity rows.")
    return form


def some_of(form: Any, at: At) -> list[Any]:
    """Return a list that is not empty."""
    return list_of(form, at) or at.fail("is empty.")


def text_of(form: Any, at: At) -> str:
    """Return text that is not blank."""
    if not isinstance(form, str) or not form.strip():
        at.fail(f"is {_kind(form)}, not text that says something.")
    return form


def rule_of(form: Any, at: At) -> str:
    """Return the id of a rule of the contract."""
    if not isinstance(form, str) or not _RULE.fullmatch(form):
        at.fail(f"{form!r} is not the id of a rule, like 'P-1'.")
    return form


def flag_of(form: Any, at: At) -> bool:
    """Return true or false."""
    if not isinstance(form, bool):
        at.fail(f"is {_kind(form)}, not true or false.")
    return form


def ttl_of(form: Any, at: At) -> timedelta | None:
    """Return null or a whole number of microseconds above zero as a span of time."""
    if form is None:
        return None
    if type(form) is not int or form < 1:
        at.fail(f"is {form!r}, not null or a whole number of microseconds above zero.")
    return timedelta(microseconds=form)


def moment_of(form: Any, at: At) -> datetime | None:
    """Return null or a time, aware, in UTC."""
    moment: datetime | None = value_of(form, DType("timestamp"), at)
    return moment


def value_of(form: Any, dtype: DType, at: At) -> Any:
    """Return the Python value of ``dtype`` that a JSON value stands for; null is None."""
    if form is None:
        return None
    if dtype.kind == "struct":
        form = members(form, at, [name for name, _ in dtype.fields])
        return {name: value_of(form[name], inner, at.into(name)) for name, inner in dtype.fields}
    if dtype.kind in ("array", "vector"):
        values = [value_of(one, dtype.element or Float32, at.into(n)) for n, one in enumerate(list_of(form, at))]
        if dtype.kind == "vector" and (len(values) != dtype.numbers[0] or None in values):
            at.fail(f"{form!r} is not how a value of {dtype!r} is written.")
        return values
    try:
        value = _plain(form, dtype)
    except (ValueError, ArithmeticError):
        value = None
    if value is None:
        at.fail(f"{form!r} is not how a value of {dtype!r} is written.")
    return value


def _plain(form: Any, dtype: DType) -> Any:
    """Return the value, or None or one of Python's own errors where there is none."""
    match dtype.kind:
        case "int32" | "int64":
            return _integer(form, _INTEGER_BITS[dtype.kind])
        case "float32" | "float64":
            return _float(form, dtype)
        case "bool":
            return form if isinstance(form, bool) else None
        case "string" | "json":
            return form if isinstance(form, str) else None
    return _from_text(form, dtype) if isinstance(form, str) else None


def _from_text(form: str, dtype: DType) -> Any:
    match dtype.kind:
        case "bytes":
            return base64.b64decode(form, validate=True)
        case "date":
            return date.fromisoformat(form) if re.fullmatch(r"[0-9]{4}-[0-9][0-9]-[0-9][0-9]", form) else None
        case "timestamp":
            return datetime.fromisoformat(form) if _MOMENT.fullmatch(form) else None
        case _:
            precision, scale = dtype.numbers
            fits = Context(prec=precision, traps=[Inexact, InvalidOperation])
            plain = re.fullmatch(rf"-?[0-9]{{1,{precision}}}(\.[0-9]{{1,{scale or 1}}})?", form)
            return Decimal(form).quantize(Decimal(1).scaleb(-scale), context=fits) if plain else None


def _integer(form: Any, bits: int) -> int | None:
    """Return a whole number: JSON's own up to 2**53, text beyond, for there other readers lose digits (P-8)."""
    if type(form) is int and abs(form) <= 2**53:
        value = form
    elif isinstance(form, str) and _WHOLE.fullmatch(form) and abs(int(form)) > 2**53:
        value = int(form)
    else:
        return None
    return value if -(2**bits) <= value < 2**bits else None


def _float(form: Any, dtype: DType) -> float | None:
    if isinstance(form, str):
        return _NO_NUMBERS.get(form)
    if type(form) not in (int, float):
        return None
    value = float(form)
    if dtype.kind == "float32":
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return value if math.isfinite(value) else None


def _kind(form: Any) -> str:
    names = {type(None): "null", bool: "a truth value", str: "text", list: "a list", dict: "an object"}
    return names.get(type(form), "a number")
