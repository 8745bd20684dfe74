"""The format of a file of vectors, read strictly: what is misspelt, missing or of another type is refused and named.

docs/vectors.md describes the format for authors in any language; this module is that page in Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from e2i_fs.dtypes import KEY_KINDS, DType, dtype_from_canonical
from e2i_fs.errors import DefinitionError
from e2i_fs.testing.oracle import Answer, Row
from e2i_fs.testing.vector_json import (
    At,
    flag_of,
    list_of,
    members,
    moment_of,
    read_json,
    rule_of,
    some_of,
    text_of,
    ttl_of,
    value_of,
    values_of,
)

__all__ = ["CREATED_COLUMN", "TIME_COLUMN", "Citation", "Vector", "read_file"]

FORMAT, VERSION = "e2i_fs vectors", 1
TIME_COLUMN, CREATED_COLUMN = "event_timestamp", "created_timestamp"
_STATUSES = ("PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


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


def read_file(path: Path) -> list[Vector]:
    """Return the cases of one file, or raise a ValueError that names the file, the case and the key.

    An unreadable file raises the OSError of reading it.
    """
    at = At(path.name)
    form = members(read_json(path, at), at, ("format", "version", "citation", "cases"))
    if (form["format"], form["version"]) != (FORMAT, VERSION) or isinstance(form["version"], bool):
        at.fail(f"is format {form['format']!r} version {form['version']!r}; this reads {FORMAT!r} version {VERSION}.")
    citation = _citation(form["citation"], at.into("citation"))
    found: list[Vector] = []
    for number, case in enumerate(list_of(form["cases"], at.into("cases"))):
        vector = _case(case, path, citation, number)
        if vector.name in {other.name for other in found}:
            at.into("cases").fail(f"two cases are named {vector.name!r}; rename one.")
        found.append(vector)
    if not found:
        at.into("cases").fail("holds no case.")
    return found


# ---- one case ------------------------------------------------------------------------------------------------


def _case(form: Any, path: Path, citation: Citation, number: int) -> Vector:
    name = form.get("name") if isinstance(form, dict) else None
    at = At(path.name, name if isinstance(name, str) else f"number {number}")
    answer = "refused" if isinstance(form, dict) and "refused" in form else "expected"
    form = members(
        form, at, ("name", "rules", "says", "view", "history", "ask", "entities", answer),
        ("citation", "source_says", "differs"),
    )  # fmt: skip
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        at.into("name").fail(f"{name!r} is not a name of lower-case letters, digits and underscores.")
    view = members(form["view"], at.into("view"), ("keys", "fields", "ttl_us", "created"))
    keys = _columns(view["keys"], at.into("view").into("keys"))
    fields = _columns(view["fields"], at.into("view").into("fields"))
    _check_columns(keys, fields, at.into("view"))
    created = flag_of(view["created"], at.into("view").into("created"))
    ask = members(form["ask"], at.into("ask"), ("filter_by_created", "as_of"))
    entities = [
        _entity(e, keys, at.into("entities").into(n))
        for n, e in enumerate(list_of(form["entities"], at.into("entities")))
    ]
    if not entities:
        at.into("entities").fail("holds no entity row.")
    refused = rule_of(form["refused"], at.into("refused")) if answer == "refused" else None
    if refused is None and None in [t for _, t in entities]:
        at.into("entities").fail("a row has no time, and the case has no 'refused'.")
    expected = () if refused else _expected(form["expected"], fields, len(entities), at.into("expected"))
    return Vector(
        file=path.stem,
        name=name,
        rules=tuple(
            rule_of(r, at.into("rules").into(n)) for n, r in enumerate(some_of(form["rules"], at.into("rules")))
        ),
        says=text_of(form["says"], at.into("says")),
        citation=_citation(form["citation"], at.into("citation")) if "citation" in form else citation,
        keys=keys,
        fields=fields,
        ttl=ttl_of(view["ttl_us"], at.into("view").into("ttl_us")),
        created=created,
        history=tuple(
            _row(r, keys, fields, at.into("history").into(n), created=created)
            for n, r in enumerate(list_of(form["history"], at.into("history")))
        ),
        filter_by_created=flag_of(ask["filter_by_created"], at.into("ask").into("filter_by_created")),
        as_of=moment_of(ask["as_of"], at.into("ask").into("as_of")),
        entities=tuple(entities),
        expected=expected,
        refused=refused,
        source_says=_source_says(form, fields, [e.values for e in expected], len(entities), at),
        differs=text_of(form["differs"], at.into("differs")) if "differs" in form else None,
    )


def _citation(form: Any, at: At) -> Citation:
    names = ("title", "address", "section", "retrieved", "licence", "mapping")
    form = members(form, at, names)
    texts = {name: text_of(form[name], at.into(name)) for name in names}
    retrieved = value_of(texts.pop("retrieved"), DType("date"), at.into("retrieved"))
    return Citation(**texts, retrieved=retrieved)


def _columns(form: Any, at: At) -> tuple[tuple[str, DType], ...]:
    if not isinstance(form, dict) or not form:
        at.fail("is not an object of at least one name and dtype.")
    found = []
    for name, dtype in form.items():
        try:
            found.append((name, dtype_from_canonical(dtype)))
        except (DefinitionError, TypeError, ValueError):
            at.into(name).fail(f"{dtype!r} is not a dtype.")
    return tuple(found)


def _check_columns(keys: Sequence[tuple[str, DType]], fields: Sequence[tuple[str, DType]], at: At) -> None:
    names = [name for name, _ in (*keys, *fields)]
    for name in names:
        if name in (TIME_COLUMN, CREATED_COLUMN) or not _NAME.fullmatch(name) or names.count(name) > 1:
            at.into(name).fail("a column has a lower-case name of its own, and not that of a time column.")
    for name, dtype in keys:
        if dtype.kind not in KEY_KINDS:
            at.into("keys").into(name).fail(f"{dtype!r} cannot be a join key.")


def _row(
    form: Any, keys: Sequence[tuple[str, DType]], fields: Sequence[tuple[str, DType]], at: At, *, created: bool
) -> Row:
    form = members(form, at, ("key", "event", *(("created",) if created else ()), "values"))
    return Row(
        values_of(form["key"], keys, at.into("key")),
        moment_of(form["event"], at.into("event")),
        moment_of(form["created"], at.into("created")) if created else None,
        values_of(form["values"], fields, at.into("values")),
    )


def _entity(form: Any, keys: Sequence[tuple[str, DType]], at: At) -> tuple[tuple[Any, ...], datetime | None]:
    form = members(form, at, ("key", "t"))
    return values_of(form["key"], keys, at.into("key")), moment_of(form["t"], at.into("t"))


def _expected(form: Any, fields: Sequence[tuple[str, DType]], count: int, at: At) -> tuple[Answer, ...]:
    answers = []
    for number, one in enumerate(list_of(form, at, count)):
        here = at.into(number)
        one = members(one, here, ("values", "statuses", "event"))
        statuses = members(one["statuses"], here.into("statuses"), [name for name, _ in fields])
        for name, status in statuses.items():
            if status not in _STATUSES:
                here.into("statuses").into(name).fail(f"{status!r} is not one of {', '.join(_STATUSES)}.")
        values = values_of(one["values"], fields, here.into("values"))
        event = moment_of(one["event"], here.into("event"))
        answers.append(Answer(values, tuple(statuses[name] for name, _ in fields), event))
    return tuple(answers)


def _source_says(
    form: Mapping[str, Any], fields: Sequence[tuple[str, DType]], expected: Sequence[tuple[Any, ...]], count: int, at: At
) -> tuple[tuple[Any, ...] | None, ...] | None:  # fmt: skip
    if ("source_says" in form) != ("differs" in form):
        at.fail("'source_says' and 'differs' stand together or not at all.")
    if "source_says" not in form:
        return None
    here = at.into("source_says")
    found: list[tuple[Any, ...] | None] = []
    for number, one in enumerate(list_of(form["source_says"], here, count)):
        if one is None:
            found.append(None)
            continue
        one = members(one, here.into(number), ("values",))
        found.append(values_of(one["values"], fields, here.into(number).into("values")))
    if repr(found) == repr(list(expected)):
        here.fail("says what 'expected' says, so nothing differs.")
    return tuple(found)
