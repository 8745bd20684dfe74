"""What an expectation means of one row, as SQL: true for a row that breaks it."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Mapping
from typing import Any

from e2i_fs.clock import to_us
from e2i_fs.errors import RequestError
from e2i_fs.pit.fit import time_sql
from e2i_fs.quality.bounds import above, after, among, below
from e2i_fs.quality.expectations import Expectation
from e2i_fs.quality.fitting import unfit
from e2i_fs.quality.plain import literal
from e2i_fs.quality.rows import Column

__all__ = ["broken", "looked_at"]

_WORDS = {"number": "numbers", "bool": "true and false", "text": "text", "time": "times", "date": "dates",
          "bytes": "bytes", "null": "nothing but missing values"}  # fmt: skip


def looked_at(expectation: Expectation, columns: Mapping[str, Column]) -> str:
    """Return SQL that is true for the rows that ``expectation`` looks at: all, or those with the values it needs."""
    if expectation.kind in ("not_null", "row_count_between", "in_time"):
        return "true"
    if expectation.kind == "has_dtype":  # a write does not take NaN for missing
        return f"{columns[expectation.columns[0]].raw} IS NOT NULL"
    return " AND ".join(f"{columns[n].sql} IS NOT NULL" for n in expectation.columns)


def broken(expectation: Expectation, columns: Mapping[str, Column]) -> str:
    """Return SQL that is true for the rows that break ``expectation``, false or NULL for others.

    Raises `RequestError` where it makes no sense for the column's type: that cannot be judged, so it has failed.
    """
    column = columns[expectation.columns[0]]
    given: Any = expectation.parameters
    match expectation.kind:
        case "not_null":
            return f"{column.sql} IS NULL"
        case "in_range":
            outside = []
            for bound, beyond in ((given["min"], below), (given["max"], above)):
                if bound is not None:
                    _comparable(column, bound, expectation)
                    outside.append(beyond(column, bound))
            return f"({' OR '.join(outside)})"
        case "in_set":
            for value in given["values"]:
                _comparable(column, value, expectation)
            return f"NOT ({among(column, given['values'])})"
        case "matches":
            if column.kind not in ("text", "null"):
                raise RequestError(f"{expectation!r}: the column holds {_holds(column)}, and only text can match.")
            return f"NOT regexp_full_match(CAST({column.sql} AS VARCHAR), {literal(given['pattern'])})"
        case "has_dtype":
            return unfit(column, given["dtype"])
        case "at_most":
            other = columns[expectation.columns[1]]
            if "null" not in (column.kind, other.kind) and not _alike(column.kind, other.kind):
                raise RequestError(
                    f"{expectation!r}: {_holds(column)} and {_holds(other)} cannot be compared; mend the types first."
                )
            return after(column, other)
        case "in_time":
            moment = time_sql(column.sql, column.inner)
            late = f"{moment} > {to_us(given['latest'])}"
            early = "false" if given["oldest"] is None else f"{moment} < {to_us(given['oldest'])}"
            return f"({column.sql} IS NULL OR {late} OR {early})"
    raise RequestError(f"{expectation!r} is not about single rows.")


def _alike(one: str, other: str) -> bool:
    return one == other or {one, other} == {"time", "date"}


def _holds(column: Column) -> str:
    return f"{_WORDS.get(column.kind, 'values')} ({column.type})"


def _comparable(column: Column, value: Any, expectation: Expectation) -> None:
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "bool"), ((int, float, decimal.Decimal), "number"), (str, "text"), (dt.datetime, "time"),
        (dt.date, "date"), (bytes, "bytes"),
    )  # fmt: skip
    kind = next(kind for types, kind in kinds if isinstance(value, types))
    if column.kind != "null" and not _alike(column.kind, kind):
        raise RequestError(
            f"{expectation!r}: the column holds {_holds(column)}, with which {value!r} cannot be compared; "
            "parse the column, or expect values of its own type."
        )
