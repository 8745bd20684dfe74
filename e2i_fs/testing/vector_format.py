"""The format of a file of vectors, read strictly: what is misspelt, missing or of another type is refused and named.

docs/vectors.md describes the format for authors in any language; this module is that page in Python.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Never

from e2i_fs.dtypes import KEY_KINDS, DType, Float32, dtype_from_canonical
from e2i_fs.errors import DefinitionError
from e2i_fs.testing.oracle import Answer, Row

__all__ = ["CREATED_COLUMN", "TIME_COLUMN", "Citation", "Vector", "read_file"]

FORMAT, VERSION = "e2i_fs vectors", 1
TIME_COLUMN, CREATED_COLUMN = "event_timestamp", "created_timestamp"
_STATUSES = ("PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RULE = re.compile(r"[A-Z]-\d+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_WHOLE = re.compile(r"-?[1-9]\d*")
_NO_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_INTEGER_BITS = {"int32": 31, "int64": 63}


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a case comes from; ``mapping`` says how the source's figures became times and keys."""

    title: str
    address: str
    section: str
    retrieved: date
    licence: str
    mapping: str


@dataclass(frozen=True, slots=True)
class Vector:
    """One case: a view, its history, entity rows, and the answer to each or the rule by which they are refused.

    ``entities`` are (key, time) pairs, a time of None only where the case is about its refusal. ``source_says``
    has the source's own values for each entity row, None for a row that it drops; it is None where the source agrees.
    """

    file: str
    name: str
    rules: tuple[str, ...]
    says: str
    citation: Citation
    keys: tuple[tuple[str, DType], ...]
    fields: tuple[tuple[str, DType], ...]
    ttl: timedelta | None
    created: bool
    history: tuple[Row, ...]
    filter_by_created: bool
    as_of: datetime | None
    entities: tuple[tuple[tuple[Any, ...], datetime | None], ...]
    expected: tuple[Answer, ...]
    refused: str | None = None
    source_says: tuple[tuple[Any, ...] | None, ...] | None = None
    differs: str | None = None

    @property
    def key_types(self) -> list[DType]:
        """The dtypes of the join keys."""
        return [dtype for _, dtype in self.keys]

    @property
    def types(self) -> list[DType]:
        """The dtypes of the fields, in schema order."""
        return [dtype for _, dtype in self.fields]


@dataclass(frozen=True, slots=True)
class _At:
    """A place in a file, for errors."""

    file: str
    case: str = ""
    key: str = ""

    def fail(self, problem: str) -> Never:
        case = f", case {self.case!r}" if self.case else ""
        key = f", key {self.key!r}" if self.key else ""
        raise ValueError(f"{self.file}{case}{key}: {problem}")

    def into(self, key: str | int) -> _At:
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.key else key
        return _At(self.file, self.case, f"{self.key}{step}")


def read_file(path: Path) -> list[Vector]:
    """Return the cases of one file, or raise a ValueError that names the file, the case and the key.

    An unreadable file raises the OSError of reading it.
    """
    at = _At(path.name)
    try:
        form = json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=_no_key_twice, parse_constant=_no_bare_constant
        )
    except ValueError as error:
        at.fail(f"is not JSON that a vector file may hold: {error}")
    form = _members(form, at, ("format", "version", "citation", "cases"))
    if (form["format"], form["version"]) != (FORMAT, VERSION) or isinstance(form["version"], bool):
        at.fail(f"is format {form['format']!r} version {form['version']!r}; this reads {FORMAT!r} version {VERSION}.")
    citation = _citation(form["citation"], at.into("citation"))
    found: list[Vector] = []
    for number, case in enumerate(_list(form["cases"], at.into("cases"))):
        vector = _case(case, path, citation, number)
        if vector.name in {other.name for other in found}:
            at.into("cases").fail(f"two cases are named {vector.name!r}; rename one.")
        found.append(vector)
    if not found:
        at.into("cases").fail("holds no case.")
    return found


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n]))
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _no_bare_constant(text: str) -> Never:
    raise ValueError(f"a bare {text} is no JSON; write it as text")


# ---- one case ------------------------------------------------------------------------------------------------


def _case(form: Any, path: Path, citation: Citation, number: int) -> Vector:
    name = form.get("name") if isinstance(form, dict) else None
    at = _At(path.name, name if isinstance(name, str) else f"number {number}")
    answer = "refused" if isinstance(form, dict) and "refused" in form else "expected"
    form = _members(
        form, at, ("name", "rules", "says", "view", "history", "ask", "entities", answer),
        ("citation", "source_says", "differs"),
    )  # fmt: skip
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        at.into("name").fail(f"{name!r} is not a name of lower-case letters, digits and underscores.")
    view = _members(form["view"], at.into("view"), ("keys", "fields", "ttl_us", "created"))
    keys = _columns(view["keys"], at.into("view").into("keys"))
    fields = _columns(view["fields"], at.into("view").into("fields"))
    _check_columns(keys, fields, at.into("view"))
    created = _flag(view["created"], at.into("view").into("created"))
    ask = _members(form["ask"], at.into("ask"), ("filter_by_created", "as_of"))
    entities = [
        _entity(e, keys, at.into("entities").into(n))
        for n, e in enumerate(_list(form["entities"], at.into("entities")))
    ]
    if not entities:
        at.into("entities").fail("holds no entity row.")
    refused = _rule(form["refused"], at.into("refused")) if answer == "refused" else None
    if refused is None and None in [t for _, t in entities]:
        at.into("entities").fail("a row has no time, and the case has no 'refused'.")
    expected = () if refused else _expected(form["expected"], fields, len(entities), at.into("expected"))
    return Vector(
        file=path.stem,
        name=name,
        rules=tuple(_rule(r, at.into("rules").into(n)) for n, r in enumerate(_some(form["rules"], at.into("rules")))),
        says=_text(form["says"], at.into("says")),
        citation=_citation(form["citation"], at.into("citation")) if "citation" in form else citation,
        keys=keys,
        fields=fields,
        ttl=_ttl(view["ttl_us"], at.into("view").into("ttl_us")),
        created=created,
        history=tuple(
            _row(r, keys, fields, at.into("history").into(n), created=created)
            for n, r in enumerate(_list(form["history"], at.into("history")))
        ),
        filter_by_created=_flag(ask["filter_by_created"], at.into("ask").into("filter_by_created")),
        as_of=_moment(ask["as_of"], at.into("ask").into("as_of")),
        entities=tuple(entities),
        expected=expected,
        refused=refused,
        source_says=_source_says(form, fields, [e.values for e in expected], len(entities), at),
        differs=_text(form["differs"], at.into("differs")) if "differs" in form else None,
    )


def _citation(form: Any, at: _At) -> Citation:
    names = ("title", "address", "section", "retrieved", "licence", "mapping")
    form = _members(form, at, names)
    texts = {name: _text(form[name], at.into(name)) for name in names}
    retrieved = _value(texts.pop("retrieved"), DType("date"), at.into("retrieved"))
    return Citation(**texts, retrieved=retrieved)


def _columns(form: Any, at: _At) -> tuple[tuple[str, DType], ...]:
    if not isinstance(form, dict) or not form:
        at.fail("is not an object of at least one name and dtype.")
    found = []
    for name, dtype in form.items():
        try:
            found.append((name, dtype_from_canonical(dtype)))
        except (DefinitionError, TypeError, ValueError):
            at.into(name).fail(f"{dtype!r} is not a dtype.")
    return tuple(found)


def _check_columns(keys: Sequence[tuple[str, DType]], fields: Sequence[tuple[str, DType]], at: _At) -> None:
    names = [name for name, _ in (*keys, *fields)]
    for name in names:
        if name in (TIME_COLUMN, CREATED_COLUMN) or not _NAME.fullmatch(name) or names.count(name) > 1:
            at.into(name).fail("a column has a lower-case name of its own, and not that of a time column.")
    for name, dtype in keys:
        if dtype.kind not in KEY_KINDS:
            at.into("keys").into(name).fail(f"{dtype!r} cannot be a join key.")


def _row(
    form: Any, keys: Sequence[tuple[str, DType]], fields: Sequence[tuple[str, DType]], at: _At, *, created: bool
) -> Row:
    form = _members(form, at, ("key", "event", *(("created",) if created else ()), "values"))
    return Row(
        _values(form["key"], keys, at.into("key")),
        _moment(form["event"], at.into("event")),
        _moment(form["created"], at.into("created")) if created else None,
        _values(form["values"], fields, at.into("values")),
    )


def _entity(form: Any, keys: Sequence[tuple[str, DType]], at: _At) -> tuple[tuple[Any, ...], datetime | None]:
    form = _members(form, at, ("key", "t"))
    return _values(form["key"], keys, at.into("key")), _moment(form["t"], at.into("t"))


def _expected(form: Any, fields: Sequence[tuple[str, DType]], count: int, at: _At) -> tuple[Answer, ...]:
    answers = []
    for number, one in enumerate(_list(form, at, count)):
        here = at.into(number)
        one = _members(one, here, ("values", "statuses", "event"))
        statuses = _members(one["statuses"], here.into("statuses"), [name for name, _ in fields])
        for name, status in statuses.items():
            if status not in _STATUSES:
                here.into("statuses").into(name).fail(f"{status!r} is not one of {', '.join(_STATUSES)}.")
        values = _values(one["values"], fields, here.into("values"))
        event = _moment(one["event"], here.into("event"))
        answers.append(Answer(values, tuple(statuses[name] for name, _ in fields), event))
    return tuple(answers)


def _source_says(
    form: Mapping[str, Any], fields: Sequence[tuple[str, DType]], expected: Sequence[tuple[Any, ...]], count: int, at: _At
) -> tuple[tuple[Any, ...] | None, ...] | None:  # fmt: skip
    if ("source_says" in form) != ("differs" in form):
        at.fail("'source_says' and 'differs' stand together or not at all.")
    if "source_says" not in form:
        return None
    here = at.into("source_says")
    found: list[tuple[Any, ...] | None] = []
    for number, one in enumerate(_list(form["source_says"], here, count)):
        if one is None:
            found.append(None)
            continue
        one = _members(one, here.into(number), ("values",))
        found.append(_values(one["values"], fields, here.into(number).into("values")))
    if repr(found) == repr(list(expected)):
        here.fail("says what 'expected' says, so nothing differs.")
    return tuple(found)


# ---- JSON values ---------------------------------------------------------------------------------------------


def _members(form: Any, at: _At, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    if not isinstance(form, dict):
        at.fail(f"is {_kind(form)}, not an object of {', '.join(needed)}.")
    for name in form:
        if name not in needed and name not in optional:
            at.into(name).fail(f"is unknown; the keys here are {', '.join((*needed, *optional))}.")
    for name in needed:
        if name not in form:
            at.into(name).fail("is missing.")
    return form


def _values(form: Any, columns: Sequence[tuple[str, DType]], at: _At) -> tuple[Any, ...]:
    form = _members(form, at, [name for name, _ in columns])
    return tuple(_value(form[name], dtype, at.into(name)) for name, dtype in columns)


def _list(form: Any, at: _At, count: int | None = None) -> list[Any]:
    if not isinstance(form, list):
        at.fail(f"is {_kind(form)}, not a list.")
    if count is not None and len(form) != count:
        at.fail(f"has {len(form)} elements for {count} entity rows.")
    return form


def _some(form: Any, at: _At) -> list[Any]:
    return _list(form, at) or at.fail("is empty.")


def _text(form: Any, at: _At) -> str:
    if not isinstance(form, str) or not form.strip():
        at.fail(f"is {_kind(form)}, not text that says something.")
    return form


def _rule(form: Any, at: _At) -> str:
    if not isinstance(form, str) or not _RULE.fullmatch(form):
        at.fail(f"{form!r} is not the id of a rule, like 'P-1'.")
    return form


def _flag(form: Any, at: _At) -> bool:
    if not isinstance(form, bool):
        at.fail(f"is {_kind(form)}, not true or false.")
    return form


def _ttl(form: Any, at: _At) -> timedelta | None:
    if form is None:
        return None
    if type(form) is not int or form < 1:
        at.fail(f"is {form!r}, not null or a whole number of microseconds above zero.")
    return timedelta(microseconds=form)


def _moment(form: Any, at: _At) -> datetime | None:
    moment: datetime | None = _value(form, DType("timestamp"), at)
    return moment


def _value(form: Any, dtype: DType, at: _At) -> Any:
    """Return the Python value of ``dtype`` that a JSON value stands for."""
    if form is None:
        return None
    try:
        value = _plain(form, dtype, at)
    except (ValueError, InvalidOperation, OverflowError) as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{at.file}"):
            raise
        value = None
    if value is None:
        at.fail(f"{form!r} is not how a value of {dtype!r} is written.")
    return value


def _plain(form: Any, dtype: DType, at: _At) -> Any:
    match dtype.kind:
        case "int32" | "int64":
            return _integer(form, _INTEGER_BITS[dtype.kind])
        case "float32" | "float64":
            return _float(form, dtype)
        case "bool":
            return form if isinstance(form, bool) else None
        case "string" | "json":
            return form if isinstance(form, str) else None
        case "struct":
            form = _members(form, at, [name for name, _ in dtype.fields])
            return {name: _value(form[name], inner, at.into(name)) for name, inner in dtype.fields}
        case "array" | "vector":
            inner = dtype.element or Float32
            return [_value(one, inner, at.into(n)) for n, one in enumerate(_list(form, at))]
    return _from_text(form, dtype.kind) if isinstance(form, str) else None


def _from_text(form: str, kind: str) -> Any:
    match kind:
        case "bytes":
            try:
                return base64.b64decode(form, validate=True)
            except binascii.Error:
                return None
        case "date":
            return date.fromisoformat(form) if re.fullmatch(r"\d{4}-\d\d-\d\d", form) else None
        case "timestamp":
            return datetime.fromisoformat(form) if _MOMENT.fullmatch(form) else None
        case _:
            value = Decimal(form)
            return value if value.is_finite() else None


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
