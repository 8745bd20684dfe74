"""The figures of one feature of a training split: numbers, classes, and how numbers go together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import duckdb

from e2i_fs.quality.distribution import Distribution, measured, points_of
from e2i_fs.quality.moments import moments, shifted
from e2i_fs.quality.plain import from_plain, to_plain
from e2i_fs.quality.profile import figures
from e2i_fs.quality.rows import Column, Rows

__all__ = ["CategoricalFigures", "NumericFigures", "categorical", "correlations", "numerics"]

MOST_CATEGORIES = 1_000
_AT_ONCE = 400  # aggregates in one query


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericFigures:
    """The figures of one numeric feature. ``missing_count`` counts NULL and NaN, ``nan_count`` NaN alone.

    Infinities are counted, and left out of all other figures. ``std`` is that of the sample, None below two values;
    ``p25``, ``p50`` and ``p75`` are interpolated. Figures are None when there are no values.

    >>> from e2i_fs.quality import BaselineMetrics
    >>> calls = BaselineMetrics.of({"calls": [1.0, 2.0, 6.0, None, float("inf")]}).numeric["calls"]
    >>> calls.mean, calls.p50, calls.max, calls.count, calls.missing_rate, calls.infinite_count
    (3.0, 2.0, 6.0, 3, 0.2, 1)
    """

    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    p25: float | None
    p50: float | None
    p75: float | None
    missing_count: int
    missing_rate: float
    nan_count: int
    infinite_count: int
    distribution: Distribution

    @property
    def count(self) -> int:
        """The number of finite values."""
        return self.distribution.count

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value that `from_dict` reads."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"distribution": self.distribution.to_dict()}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> NumericFigures:
        """Return the figures that `to_dict` wrote."""
        return cls(**{**form, "distribution": Distribution.from_dict(form["distribution"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalFigures:
    """The figures of one categorical feature. ``frequency`` is the share of ``most_common`` among the present values.

    ``frequency`` is None when there are none. ``counts`` has the 1,000 most frequent values with their numbers of rows;
    ``complete`` says that there are no more.

    >>> from e2i_fs.quality import BaselineMetrics
    >>> tier = BaselineMetrics.of({"tier": ["A", "B", "B", "B", None]}).categorical["tier"]
    >>> tier.unique_count, tier.most_common, tier.frequency, tier.missing_count, tier.counts
    (2, 'B', 0.75, 1, (('B', 3), ('A', 1)))
    """

    unique_count: int
    most_common: Any
    most_common_count: int
    frequency: float | None
    missing_count: int
    missing_rate: float
    counts: tuple[tuple[Any, int], ...]
    count: int

    @property
    def complete(self) -> bool:
        """Whether ``counts`` has every value."""
        return self.unique_count == len(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value that `from_dict` reads."""
        return {f.name: to_plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> CategoricalFigures:
        """Return the figures that `to_dict` wrote."""
        return cls(**{name: from_plain(value) for name, value in form.items()})


def numerics(rows: Rows, names: Sequence[str]) -> dict[str, NumericFigures]:
    """Return the figures of the numeric columns ``names``."""
    columns = {name: rows.columns[name] for name in names}
    found = rows.measure({(n, f): sql for n, column in columns.items() for f, sql in figures(column).items()})
    quartiles = {name: _quartiles(rows, column) for name, column in columns.items()}
    spread = measured(rows, {name: points_of(rows, column) for name, column in columns.items()})
    figured: dict[str, dict[str, Any]] = {name: {} for name in names}
    for (name, figure), value in found.items():
        figured[name][figure] = value
    averaged = moments(rows, figured)
    made = {}
    for name, own in figured.items():
        present = own["present"]
        mean, std = averaged[name]
        p25, p50, p75 = quartiles[name]
        made[name] = NumericFigures(
            mean=mean, std=std, min=_number(own["min"]), max=_number(own["max"]), p25=p25, p50=p50, p75=p75,
            missing_count=rows.count - present, missing_rate=(rows.count - present) / rows.count,
            nan_count=own.get("nan", 0), infinite_count=present - own.get("finite", present), distribution=spread[name],
        )  # fmt: skip
    return made


def categorical(rows: Rows, column: Column) -> CategoricalFigures:
    """Return the figures of a column of classes."""
    c = column.sql
    grouped = f"SELECT {c} AS v, count(*) AS n FROM {rows.relation} WHERE {c} IS NOT NULL GROUP BY {c}"
    found = rows.fetch(
        f"SELECT v, n, count(*) OVER (), sum(n) OVER () FROM ({grouped}) ORDER BY n DESC, v LIMIT {MOST_CATEGORIES}"
    )
    value, most, unique, present = found[0] if found else (None, 0, 0, 0)
    missing = rows.count - int(present)
    return CategoricalFigures(
        unique_count=unique, most_common=value, most_common_count=most, frequency=most / int(present) if present else None,
        missing_count=missing, missing_rate=missing / rows.count, counts=tuple((v, n) for v, n, *_ in found),
        count=int(present),
    )  # fmt: skip


def correlations(rows: Rows, measured: Mapping[str, NumericFigures]) -> dict[tuple[str, str], float | None]:
    """Return Pearson's correlation of each two columns, either way round, over the rows that have both as finite numbers.

    ``measured`` are the columns with their figures, from which they are looked at from their means.
    """
    # Named once in a subquery: hundreds of aggregates over expressions take DuckDB longer to plan than to run.
    names = list(measured)
    numbers = {name: f"n{i}" for i, name in enumerate(names)}
    looked = {n: shifted(rows.columns[n], f.min or 0.0, f.max or 0.0, f.mean) for n, f in measured.items()}
    listed = ", ".join(f"{looked[name].sql} AS {n}" for name, n in numbers.items())
    relation = f"(SELECT {listed} FROM {rows.relation})"
    made: dict[tuple[str, str], float | None] = {}
    twos = list(itertools.combinations_with_replacement(names, 2))
    for start in range(0, len(twos), _AT_ONCE):
        asked = {(a, b): f"corr({numbers[a]}, {numbers[b]})" for a, b in twos[start : start + _AT_ONCE]}
        for (a, b), value in rows.measure(asked, relation).items():
            known = None if isinstance(value, duckdb.Error) or value is None or not math.isfinite(value) else value
            # Rounding may carry a perfect correlation a little beyond 1.
            made[a, b] = made[b, a] = None if known is None else 1.0 if a == b else max(-1.0, min(1.0, known))
    return made


def _quartiles(rows: Rows, column: Column) -> tuple[float | None, float | None, float | None]:
    ((found,),) = rows.fetch(
        f"SELECT quantile_cont(CAST({column.clean} AS DOUBLE), [0.25, 0.5, 0.75]) FROM {rows.relation}"
    )
    return tuple(v + 0.0 for v in found) if found else (None, None, None)  # a zero has no sign


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
