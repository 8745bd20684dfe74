"""Rows that are there twice, counted exactly over any number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from e2i_fs.quality.rows import EXAMPLES, Column, Rows

__all__ = ["Distinct", "distinct_rows"]


@dataclass(frozen=True, slots=True)
class Distinct:
    """``rows`` looked at, how many ``distinct`` ones are among them, and the first few rows that repeat an earlier one."""

    rows: int
    distinct: int
    examples: tuple[int, ...] = ()

    @property
    def repeated(self) -> int:
        """The rows beyond the first of each kind."""
        return self.rows - self.distinct


def distinct_rows(rows: Rows, columns: Sequence[Column], *, whole: bool) -> Distinct:
    """Return how many rows differ in ``columns``; with ``whole`` a missing value equals another, else such rows are left out.

    Equal rows have equal hashes. So where no hash is there twice no row is; only rows whose hash is there twice are
    compared themselves.
    """
    if not columns:
        return Distinct(0, 0)
    listed = ", ".join(c.sql for c in columns)
    present = "true" if whole else " AND ".join(f"{c.sql} IS NOT NULL" for c in columns)
    hashed = f"SELECT hash({listed}) AS h, count(*) AS n FROM {rows.relation} WHERE {present} GROUP BY h"
    ((groups, all_rows, twice),) = rows.fetch(
        f"SELECT count(*), coalesce(sum(n), 0), count(*) FILTER (n > 1) FROM ({hashed})"
    )
    if not twice:
        return Distinct(int(all_rows), int(groups))
    suspects = f"(SELECT h FROM ({hashed}) WHERE n > 1)"
    ((kinds, members),) = rows.fetch(
        f"SELECT count(*), sum(n) FROM (SELECT count(*) AS n FROM {rows.relation} "
        f"WHERE {present} AND hash({listed}) IN {suspects} GROUP BY {listed})"
    )
    distinct = int(all_rows) - int(members) + int(kinds)
    if not int(all_rows) - distinct:
        return Distinct(int(all_rows), distinct)
    numbered = f"(SELECT row_number() OVER () - 1 AS r, {listed} FROM {rows.relation})"
    examples = rows.fetch(
        f"SELECT r FROM (SELECT r, row_number() OVER (PARTITION BY h ORDER BY r) AS nth FROM "
        f"(SELECT r, hash({listed}) AS h FROM {numbered} WHERE {present}) WHERE h IN {suspects}) "
        f"WHERE nth > 1 ORDER BY r LIMIT {EXAMPLES}"
    )
    return Distinct(int(all_rows), distinct, tuple(r for (r,) in examples))
