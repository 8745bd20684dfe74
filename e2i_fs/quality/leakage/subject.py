"""The target of an audit as SQL sees it: classes, numbers, or neither; and a sample of rows to judge by."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from e2i_fs.quality.leakage.bench import Bench

__all__ = ["Subject", "Unjudgeable", "as_number", "kind_of"]

MOST_CLASSES = 20
LEAST_ROWS = 8
"""Rows of the rarer class, below which a perfect likeness is no evidence: chance makes one of a few rows."""
_SAMPLE = 200_000


class Unjudgeable(Exception):  # no error: why a check is inconclusive
    """Says why a check cannot judge."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The target: ``classes`` of it when it has few values, and whether it is (also) a number.

    The table ``s`` has the sampled rows whose target is known: all of ``x``, ``y`` (class as text) and ``yn`` (number).
    """

    rows: int
    classes: int
    numeric: bool

    @property
    def binary(self) -> bool:
        """Whether there are two classes."""
        return self.classes == 2

    @classmethod
    def of(cls, bench: Bench, target: str) -> Subject:
        """Make ``s`` and return what the target is, or raise `Unjudgeable`."""
        column = bench.names[target]
        given = bench.types[column]
        kind = kind_of(given)
        number = as_number(column, given) if kind in ("number", "bool") else "NULL::DOUBLE"
        known = f"{column} IS NOT NULL" + (f" AND NOT isnan({column})" if pa.types.is_floating(given) else "")
        step = max(1, bench.rows // _SAMPLE)
        bench.run(f"""
            CREATE OR REPLACE TEMP TABLE s AS SELECT *, CAST({column} AS VARCHAR) AS y, {number} AS yn FROM x
            WHERE {known} AND hash(row) % {step} = 0""")
        rows, values, most = bench.row_of(
            "SELECT coalesce(sum(n), 0), count(*), coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM s GROUP BY y)"
        )
        if not rows:
            raise Unjudgeable(f"the target {target!r} is missing in every row")
        if values == 1:
            raise Unjudgeable(f"the target {target!r} has one value only, so nothing can tell it")
        if kind == "other":
            raise Unjudgeable(f"the target {target!r} is {given}; a number, a truth value or text can be judged")
        few = values <= MOST_CLASSES and values <= rows / 2
        if kind == "text" and not few:
            raise Unjudgeable(
                f"the target {target!r} is text of {values} values; at most {MOST_CLASSES} classes can be judged"
            )
        if rows < 2 * LEAST_ROWS or (few and rows - most < LEAST_ROWS):
            raise Unjudgeable(
                f"of {rows} rows only {rows - most} differ from the commonest target; in so few, any likeness may be chance"
            )
        return cls(rows, values if few else 0, kind == "number" and values > 2)


def kind_of(given: pa.DataType) -> str:
    """Return ``number``, ``bool``, ``text``, ``time`` or ``other``."""
    if pa.types.is_boolean(given):
        return "bool"
    if pa.types.is_integer(given) or pa.types.is_floating(given) or pa.types.is_decimal(given):
        return "number"
    if pa.types.is_string(given) or pa.types.is_large_string(given):
        return "text"
    return "time" if pa.types.is_timestamp(given) or pa.types.is_date(given) else "other"


def as_number(column: str, given: pa.DataType) -> str:
    """Return SQL for a column as a DOUBLE, NULL where it is no number."""
    kind = kind_of(given)
    if kind == "time":
        return f"CAST(epoch_us(CAST({column} AS TIMESTAMP)) AS DOUBLE)"
    if kind == "text":
        return _number_in(column)
    if kind in ("number", "bool"):
        plain = f"CAST({column} AS DOUBLE)"
        return f"CASE WHEN isnan({plain}) THEN NULL ELSE {plain} END"
    return "NULL::DOUBLE"


def _number_in(column: str) -> str:
    """Return SQL for the number that a whole text is, as people write them: 1,234.50 or 1.234,50, with a currency or not."""
    bare = rf"regexp_replace({column}, '^\s*[A-Z]{{3}}\b|\b[A-Z]{{3}}\s*$|[\s\x{{A0}}_%$€£¥]', '', 'g')"
    return rf"""nullif(coalesce(TRY_CAST({column} AS DOUBLE), CASE
        WHEN regexp_full_match({bare}, '[+-]?[0-9]{{1,3}}(,[0-9]{{3}})+(\.[0-9]*)?') THEN TRY_CAST(replace({bare}, ',', '') AS DOUBLE)
        WHEN regexp_full_match({bare}, '[+-]?[0-9.]*,[0-9]+') THEN TRY_CAST(replace(replace({bare}, '.', ''), ',', '.') AS DOUBLE)
        ELSE TRY_CAST({bare} AS DOUBLE) END), 'nan'::DOUBLE)"""
