"""How numbers are distributed, in a few hundred of them: enough to tell later whether other numbers came from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2i_fs.quality.rows import Column, Rows

__all__ = ["Distribution", "measured", "points_of"]

STEPS = 200


@dataclass(frozen=True, slots=True)
class Distribution:
    """At each of some ascending ``points``, how many finite values lie ``below`` it and how many ``upto`` it, of ``count``.

    A baseline's points are values of its own, one for each half per cent of them: between two neighbours lie at most half
    a per cent of the values, and none if `exact`.
    """

    points: tuple[float, ...]
    below: tuple[int, ...]
    upto: tuple[int, ...]
    count: int

    @property
    def exact(self) -> bool:
        """Whether every value is one of the points."""
        at_points = sum(u - b for u, b in zip(self.upto, self.below, strict=True))
        return at_points == self.count

    @property
    def largest(self) -> float:
        """The largest share that one value can have, 1 of no values."""
        if not self.count:
            return 1.0
        gaps = [b - u for u, b in zip(self.upto, self.below[1:], strict=False)]
        return max([*(u - b for u, b in zip(self.upto, self.below, strict=True)), *gaps]) / self.count

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON value that `from_dict` reads."""
        return {"points": list(self.points), "below": list(self.below), "upto": list(self.upto), "count": self.count}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Distribution:
        """Return the distribution that `to_dict` wrote."""
        return cls(tuple(form["points"]), tuple(form["below"]), tuple(form["upto"]), form["count"])


def points_of(rows: Rows, column: Column) -> tuple[float, ...]:
    """Return the values of a column by which its distribution is told: its quantiles, a half per cent apart."""
    steps = ", ".join(f"{i}/{STEPS}.0" for i in range(STEPS + 1))
    ((found,),) = rows.fetch(f"SELECT quantile_disc(CAST({column.clean} AS DOUBLE), [{steps}]) FROM {rows.relation}")
    return tuple(sorted({v + 0.0 for v in found or ()}))  # a zero has no sign


def measured(rows: Rows, wanted: Mapping[str, Sequence[float]]) -> dict[str, Distribution]:
    """Return the distribution of each column in ``wanted`` at its points, all in one pass."""
    figures, edges = {}, {}
    for name, points in wanted.items():
        value = f"CAST({rows.columns[name].clean} AS DOUBLE)"
        # A value is at a point when it is not at or below the number before it.
        edges[name] = sorted({e for p in points for e in (math.nextafter(p, -math.inf), p)})
        listed = ", ".join(f"'{e!r}'::DOUBLE" for e in edges[name])
        figures[name, "bins"] = f"histogram({value}, [{listed}]::DOUBLE[])"
        figures[name, "count"] = f"count({value})"
    found = rows.measure(figures)
    made = {}
    for name, points in wanted.items():
        for what in ("bins", "count"):
            if isinstance(found[name, what], Exception):
                raise found[name, what]
        bins, total, upto = found[name, "bins"] or {}, 0, {}
        for edge in edges[name]:
            total += bins.get(edge, 0)
            upto[edge] = total
        below = tuple(upto[math.nextafter(p, -math.inf)] for p in points)
        made[name] = Distribution(tuple(points), below, tuple(upto[p] for p in points), found[name, "count"])
    return made
