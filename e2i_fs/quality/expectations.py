"""Expectations of a frame, as small frozen values: `not_null`, `in_range`, `in_set` and others.

Every one takes two options. ``mostly`` is the least share, from 0 to 1, of the values or rows examined that must meet
it. ``severity`` says what a failure does: ``"block"`` fails the report, ``"warn"`` only warns. Only `not_null` looks at
missing values; the others ignore them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from e2i_fs.dtypes import DType, check_dtype
from e2i_fs.errors import RequestError, did_you_mean
from e2i_fs.frozen import FrozenMap
from e2i_fs.quality.plain import from_plain, literal, reading, to_plain

__all__ = [
    "Expectation", "at_most", "has_dtype", "in_range", "in_set", "matches", "not_null", "row_count_between", "unique",
]  # fmt: skip

DIMENSION = {
    "not_null": "completeness", "in_range": "validity", "in_set": "validity", "matches": "validity",
    "has_dtype": "validity", "at_most": "consistency", "unique": "uniqueness", "row_count_between": "",
    "in_time": "timeliness",
}  # fmt: skip
SEVERITIES = ("block", "warn")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation of a frame. Make it with the function of its kind, such as `not_null`.

    ``mostly`` is the least share of values or rows, 0 to 1, that must meet it. A failure of ``severity`` ``"block"``
    fails the report; ``"warn"`` only warns.

    >>> from e2i_fs.quality import in_range
    >>> in_range("adherence_rate", 0, 1)
    in_range('adherence_rate', min=0, max=1)
    """

    kind: str
    columns: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=FrozenMap)
    mostly: float = 1.0
    severity: str = "block"

    def __post_init__(self) -> None:
        if self.kind not in DIMENSION:
            raise RequestError(f"No expectation is of kind {self.kind!r}.{did_you_mean(self.kind, DIMENSION)}")
        for name in self.columns:
            if not isinstance(name, str):
                raise RequestError(f"{self.kind}: {name!r} is not the name of a column.")
        if isinstance(self.mostly, bool) or not isinstance(self.mostly, int | float) or not 0 < self.mostly <= 1:
            raise RequestError(f"{self!r}: mostly is {self.mostly!r}; give a share above 0, at most 1.")
        if self.severity not in SEVERITIES:
            hint = did_you_mean(str(self.severity), SEVERITIES)
            raise RequestError(f"{self!r}: severity is {self.severity!r}; use 'block' or 'warn'.{hint}")
        object.__setattr__(self, "parameters", FrozenMap(self.parameters))

    @property
    def dimension(self) -> str:
        """The dimension of quality that it belongs to; ``""`` for the number of rows."""
        return DIMENSION[self.kind]

    def __repr__(self) -> str:
        said = [repr(c) for c in self.columns]
        said += [f"{name}={value!r}" for name, value in self.parameters.items() if value is not None]
        said += [f"mostly={self.mostly!r}"] if self.mostly != 1 else []
        said += [f"severity={self.severity!r}"] if self.severity != "block" else []
        return f"{self.kind}({', '.join(said)})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value that `from_dict` reads."""
        parameters = {name: to_plain(value) for name, value in self.parameters.items()}
        return {
            "kind": self.kind, "columns": list(self.columns), "parameters": parameters, "mostly": self.mostly,
            "severity": self.severity,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Expectation:
        """Return the expectation that `to_dict` wrote. Raises `RequestError` for anything else."""
        with reading("expectation", form, [f.name for f in fields(cls)]):
            parameters = FrozenMap({name: from_plain(value) for name, value in form["parameters"].items()})
            return cls(form["kind"], tuple(form["columns"]), parameters, form["mostly"], form["severity"])


def not_null(column: str, *, mostly: float = 1.0, severity: str = "block") -> Expectation:
    """Expect a value in every row. NULL and NaN are both missing, whatever kind of frame they came in.

    >>> from e2i_fs.quality import not_null
    >>> not_null("hcp_id").dimension
    'completeness'
    """
    return Expectation("not_null", (column,), FrozenMap(), mostly, severity)


def in_range(
    column: str, min: Any = None, max: Any = None, *, mostly: float = 1.0, severity: str = "block"
) -> Expectation:
    """Expect present values from ``min`` to ``max``, both included; None means no bound.

    >>> from e2i_fs.quality import in_range
    >>> in_range("gap_days", min=0)
    in_range('gap_days', min=0)
    """
    if min is None and max is None:
        raise RequestError(f"in_range({column!r}): give min, max or both.")
    for bound in (min, max):
        if isinstance(bound, float) and math.isnan(bound):
            raise RequestError(f"in_range({column!r}): NaN is no bound.")
        if bound is not None:
            literal(bound)
    if min is not None and max is not None and type(min) is type(max) and min > max:
        raise RequestError(f"in_range({column!r}): min {min!r} is above max {max!r}; no value can lie there.")
    return Expectation("in_range", (column,), FrozenMap({"min": min, "max": max}), mostly, severity)


def in_set(column: str, values: Iterable[Any], *, mostly: float = 1.0, severity: str = "block") -> Expectation:
    """Expect present values to be among ``values``.

    >>> from e2i_fs.quality import in_set
    >>> in_set("tier", ["A", "B"])
    in_set('tier', values=('A', 'B'))
    """
    if isinstance(values, str):
        raise RequestError(f"in_set({column!r}): values is the text {values!r}; give a list, e.g. [{values!r}].")
    known = tuple(values)
    if not known or None in known:
        raise RequestError(
            f"in_set({column!r}): give at least one value, and no None (not_null speaks of missing ones)."
        )
    for value in known:
        if isinstance(value, float) and math.isnan(value):
            raise RequestError(f"in_set({column!r}): NaN counts as missing, so it is no value of a set; use not_null.")
        literal(value)
    return Expectation("in_set", (column,), FrozenMap({"values": known}), mostly, severity)


def matches(column: str, pattern: str, *, mostly: float = 1.0, severity: str = "block") -> Expectation:
    """Expect the whole of each present text to match a regular expression (RE2).

    >>> from e2i_fs.quality import matches
    >>> matches("hcp_id", "hcp_[0-9]+").columns
    ('hcp_id',)
    """
    if not isinstance(pattern, str):
        raise RequestError(f"matches({column!r}): the pattern is {pattern!r}; give it as text.")
    return Expectation("matches", (column,), FrozenMap({"pattern": pattern}), mostly, severity)


def has_dtype(column: str, dtype: DType, *, mostly: float = 1.0, severity: str = "block") -> Expectation:
    """Expect present values that a store can take as ``dtype`` without changing them, by the rules of writing (W-1).

    Whole numbers fit a float column; text is never a number. Since a write takes NaN as a value (P-8), NaN counts here
    as present: it is a float, and not a whole number.

    >>> from e2i_fs import Int64
    >>> from e2i_fs.quality import has_dtype
    >>> has_dtype("trx_count", Int64)
    has_dtype('trx_count', dtype=Int64)
    """
    check_dtype(dtype, f"has_dtype({column!r})")
    return Expectation("has_dtype", (column,), FrozenMap({"dtype": dtype}), mostly, severity)


def at_most(column: str, other: str, *, mostly: float = 1.0, severity: str = "block") -> Expectation:
    """Expect ``column`` to be at most ``other`` in each row that has both, for example a start and an end.

    >>> from e2i_fs.quality import at_most
    >>> at_most("nrx_count", "trx_count").dimension
    'consistency'
    """
    return Expectation("at_most", (column, other), FrozenMap(), mostly, severity)


def unique(*columns: str, mostly: float = 1.0, severity: str = "block") -> Expectation:
    """Expect no two rows to have the same values in ``columns`` together. Rows that lack one of them are ignored.

    >>> from e2i_fs.quality import unique
    >>> unique("patient_id", "brand_id").columns
    ('patient_id', 'brand_id')
    """
    if not columns:
        raise RequestError("unique(): name at least one column.")
    return Expectation("unique", columns, FrozenMap(), mostly, severity)


def row_count_between(min: int = 0, max: int | None = None, *, severity: str = "block") -> Expectation:
    """Expect at least ``min`` and at most ``max`` rows.

    >>> from e2i_fs.quality import row_count_between
    >>> row_count_between(min=10)
    row_count_between(min=10)
    """
    for bound in (min, max):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 0):
            raise RequestError(f"row_count_between: {bound!r} is not a number of rows.")
    if max is not None and min > max:
        raise RequestError(f"row_count_between: min {min} is above max {max}.")
    return Expectation("row_count_between", (), FrozenMap({"min": min, "max": max}), 1.0, severity)
