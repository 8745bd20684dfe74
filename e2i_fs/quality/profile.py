"""The figures of every column, computed in one pass together with whatever else is to be counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import duckdb

from e2i_fs.clock import from_us
from e2i_fs.pit.fit import time_sql
from e2i_fs.quality.fitting import YEAR_1, YEAR_9999
from e2i_fs.quality.plain import from_plain, to_plain
from e2i_fs.quality.rows import Column, Rows

__all__ = ["ColumnProfile", "figures", "moments", "profile_of"]


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What one column holds. ``present`` and ``missing`` (NULL) add up to the rows; NaN and infinities are present.

    ``min``, ``max``, ``mean`` and ``std`` (of the sample; None below two values) leave NaN and infinities out. ``distinct``
    is an estimate within a few per cent, for text alone. ``numeric_text``, ``padded`` and ``blank`` count texts: those that
    are numbers, those with space at an end, and those with nothing but space. What does not apply is None.
    """

    name: str
    type: str
    kind: str
    present: int
    missing: int
    nan: int = 0
    infinite: int = 0
    min: Any = None
    max: Any = None
    mean: float | None = None
    std: float | None = None
    distinct: int | None = None
    numeric_text: int | None = None
    padded: int | None = None
    blank: int | None = None

    @property
    def constant(self) -> bool:
        """Whether there are values, and all of them are one."""
        return self.present > 0 and self.min is not None and self.min == self.max and not (self.nan or self.infinite)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON value that `from_dict` reads."""
        return {f.name: to_plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> ColumnProfile:
        """Return the profile that `to_dict` wrote."""
        return cls(**{name: from_plain(value) for name, value in form.items()})


def figures(column: Column) -> dict[str, str]:
    """Return the aggregates that make the profile of ``column``, by figure."""
    c = column.sql
    made = {"present": f"count({c})"}
    only = f" FILTER ({column.finite})" if column.real else ""
    if column.real:
        made |= {"nan": f"count(*) FILTER (isnan({c}))", "infinite": f"count(*) FILTER (isinf({c}))"}
    if column.kind in ("number", "bool", "time", "date", "text"):
        value = time_sql(c, column.type) if column.kind == "time" else c
        made |= {"min": f"min({value}){only}", "max": f"max({value}){only}"}
    if column.kind == "number":
        made |= {"mean": f"favg(CAST({c} AS DOUBLE)){only}", "std": f"stddev_samp(CAST({c} AS DOUBLE)){only}"}
    if column.kind == "text":
        made |= {
            "distinct": f"approx_count_distinct({c})",
            "numeric_text": f"count(*) FILTER ({numeric(c)})",
            "padded": f"count(*) FILTER ({padded(c)} AND NOT {blank(c)})",
            "blank": f"count(*) FILTER ({blank(c)})",
        }
    return made


def numeric(c: str) -> str:
    """SQL for whether a text is a number as programs write it."""
    return rf"regexp_full_match({c}, '\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*')"


def padded(c: str) -> str:
    """SQL for whether a text has white space at an end."""
    return rf"regexp_matches({c}, '^\s|\s$')"


def blank(c: str) -> str:
    """SQL for whether a text has nothing but white space, or nothing."""
    return rf"regexp_full_match({c}, '\s*')"


def profile_of(column: Column, rows: int, found: Mapping[str, Any]) -> ColumnProfile:
    """Return the profile of ``column`` from what its `figures` came to; a figure that failed is not there."""
    known: dict[str, Any] = {n: None if isinstance(value, duckdb.Error) else value for n, value in found.items()}
    present: int = known.pop("present")
    if column.kind == "time":
        known |= {end: _moment(known[end]) for end in ("min", "max")}
    return ColumnProfile(column.name, str(column.type), column.kind, present, rows - present, **known)


def _moment(us: int | None) -> Any:
    """Return a time of a column, or the microseconds themselves where no calendar has it."""
    if us is None or not YEAR_1 <= us <= YEAR_9999:
        return us
    return from_us(us)


def moments(rows: Rows, column: Column, found: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return mean and deviation of numbers, by a second look on a smaller scale where their squares are no floats."""
    mean, std = found["mean"], found["std"]
    if not any(isinstance(v, duckdb.Error) or (v is not None and not math.isfinite(v)) for v in (mean, std)):
        return mean, std
    scale = max(abs(float(found["min"])), abs(float(found["max"])))
    shrunk = f"(CAST({column.sql} AS DOUBLE) / {scale!r}::DOUBLE)"
    only = f"FILTER ({column.finite})"
    again = rows.measure({"mean": f"favg({shrunk}) {only}", "std": f"stddev_samp({shrunk}) {only}"})
    mean, std = (None if isinstance(v, duckdb.Error) or v is None else v * scale for v in again.values())
    return mean, std if std is None or math.isfinite(std) else None
