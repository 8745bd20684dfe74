"""What of a scan's hints PostgreSQL is asked to do itself. A condition that could drop a row the engine would keep is not pushed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.clock import from_us
from e2i_fs.sql.names import identifier
from e2i_fs.sql.postgres import type_name

__all__ = ["MOST_KEYS", "key_condition", "until_condition"]

MOST_KEYS = 10_000
"""Above so many distinct values of a join key no list of them is sent."""

_WHOLE = {"int2": "bigint", "int4": "bigint", "int8": "bigint"}
_TEXT = {"text": "text", "varchar": "text", "uuid": "text"}
# Not char(n), which compares without its trailing blanks; nor citext and enums, whose equality is their own.
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # what datetime can say: the years 1 to 9999


def until_condition(field: pa.Field, until_us: int | None) -> str:
    """Return the condition that leaves out rows later than ``until_us``; always those that are never visible (P-1)."""
    column, name = f"source.{identifier(field.name)}", type_name(field)
    if name not in ("timestamptz", "timestamp", "date"):
        return ""
    if until_us is None or not _FIRST_US <= until_us <= _LAST_US:
        return f"({column} IS NULL OR {column} < 'infinity')"
    moment = from_us(until_us).astimezone(UTC)
    if name == "date":
        return f"{column} <= '{_iso(moment.date())}'::date"
    zone = "+00" if name == "timestamptz" else ""
    return f"{column} <= '{_iso(moment.date())} {moment:%H:%M:%S.%f}{zone}'::{name}"


def _iso(day: date) -> str:
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}"


def key_condition(field: pa.Field, keys: pa.ChunkedArray, is_utf8: Callable[[], bool]) -> str:
    """Return the condition that a join key is among ``keys``, or "" where the two might not compare as the engine does (P-7).

    The values travel as hexadecimal digits, so that nothing in them can be taken for SQL. ``is_utf8`` asks whether the
    database can hold every letter.
    """
    name = type_name(field)
    given = keys.type
    target = _WHOLE.get(name) if pa.types.is_integer(given) else _TEXT.get(name) if pa.types.is_string(given) else None
    if target is None:
        return ""
    values = pc.unique(keys.drop_null())
    if len(values) > MOST_KEYS:
        return ""
    listed = [value for value in values.to_pylist() if not (isinstance(value, str) and "\0" in value)]
    if not all(value.isascii() for value in listed if isinstance(value, str)) and not is_utf8():
        return ""
    column = f"source.{identifier(field.name)}" + ("::text" if name == "uuid" else "")
    digits = json.dumps(listed, ensure_ascii=False).encode().hex()
    elements = f"jsonb_array_elements_text(convert_from(decode('{digits}', 'hex'), 'UTF8')::jsonb)"
    return f"{column} = ANY (ARRAY (SELECT value::{target} FROM {elements} AS asked(value)))"
