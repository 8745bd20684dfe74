"""The figures of every column, computed in one pass together with whatever else is to be counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import duckdb

from e2i_fs.clock import from_us
from e2i_fs.pit.fit import time_sql
from e2i_fs.quality.fitting import YEAR_1, YEAR_9999
from e2i_fs.quality.plain import from_plain, reading, to_plain
from e2i_fs.quality.rows import Column, counting
from e2i_fs.quality.texts import Texts

__all__ = ["ColumnProfile", "figures", "profile_of"]


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """The figures of one column. ``present`` and ``missing`` (NULL or NaN) add up to the number of rows.

    ``nan`` counts the missing that are NaN, ``infinite`` the present that are infinite; ``min``, ``max``, ``mean`` and
    ``std`` (of the sample; None below two values) leave both out. ``distinct`` is for text only, and an estimate within
    a few per cent when there are many values. ``numeric_text``, ``padded`` and ``blank`` count texts that are numbers,
    that have space at an end, and that are nothing but space. Whatever does not apply is None.

    >>> from e2i_fs.quality import QCReport
    >>> (calls,) = QCReport.of({"calls": [1.0, 5.0, None, float("nan")]}).columns
    >>> calls.name, calls.kind, calls.present, calls.missing, calls.nan, calls.min, calls.mean
    ('calls', 'number', 2, 2, 1, 1.0, 3.0)
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
        """Whether there are values, and all of them are the same."""
        return self.present > 0 and self.min is not None and self.min == self.max and not self.infinite

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value that `from_dict` reads."""
        return {f.name: to_plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> ColumnProfile:
        """Return the profile that `to_dict` wrote. Raises `RequestError` for anything else."""
        with reading("profile of a column", form, [f.name for f in fields(cls)]):
            return cls(**{name: from_plain(value) for name, value in form.items()})


def figures(column: Column) -> dict[str, str]:
    """Return the aggregates that make the profile of ``column``, by figure."""
    c, clean = column.sql, column.clean
    made = {"present": f"count({c})"}
    if column.real:
        made |= {"nan": counting(f"isnan({column.raw})"), "finite": f"count({clean})"}
    if column.kind in ("number", "bool", "time", "date", "text"):
        value = time_sql(c, column.inner) if column.kind == "time" else clean
        plus = " + 0::FLOAT" if column.real else ""  # or else whether a zero has a sign depended on the order of rows
        made |= {"min": f"min({value}){plus}", "max": f"max({value}){plus}"}
    if column.kind == "number":
        made |= {"mean": f"favg(CAST({clean} AS DOUBLE))", "std": f"stddev_samp(CAST({clean} AS DOUBLE))"}
    if column.kind == "text":
        made["distinct"] = f"approx_count_distinct({c})"
    return made


def profile_of(column: Column, rows: int, found: Mapping[str, Any], texts: Texts | None) -> ColumnProfile:
    """Return the profile of ``column`` from what its `figures` and `texts_of` came to; a figure that failed is None."""
    known: dict[str, Any] = {n: None if isinstance(value, duckdb.Error) else value for n, value in found.items()}
    present: int = known.pop("present")
    if column.kind == "time":
        known |= {end: _moment(known[end]) for end in ("min", "max")}
    if column.real:
        known["infinite"] = present - known.pop("finite")
    if texts is not None:
        known |= {"distinct": texts.distinct, "numeric_text": texts.numeric}
        known |= {"padded": texts.padded, "blank": texts.blank}
    return ColumnProfile(column.name, str(column.type), column.kind, present, rows - present, **known)


def _moment(us: int | None) -> Any:
    """Return a time of a column, or the microseconds themselves where no calendar has it."""
    if us is None or not YEAR_1 <= us <= YEAR_9999:
        return us
    return from_us(us)
