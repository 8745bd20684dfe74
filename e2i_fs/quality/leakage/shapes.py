"""Whether a column and a number to predict determine each other in some other shape than one that only rises or falls.

A cut of the target ("above the median", a quartile, "low, middle, high") has few values, each for one stretch of the
target. A curve, ``(y - mean) ** 2`` say, has many. What tells a copy from a strong feature is that a copy is exact at
the finest scale, and in the midst of the rows: an honest group may lie apart from another, but does not end where
the other begins, in a place full of both.
"""

from __future__ import annotations

from e2i_fs.quality.leakage.bench import Bench

__all__ = ["by_curve", "by_cuts"]

LEAST_POINTS = 24
"""Distinct pairs of column and target, below which a shape is no evidence. Rows that repeat a pair (an entity's) are one."""
LEAST_EACH = 5
"""Points for each value of a cut, on average, and in all but the commonest."""
SHARP = 0.6
"""How dense the rows stand on both sides of a cut, against the middle of its two values, at the least.

1 for an even spread, 1.3 for a normal one cut in the middle; two normal ones that just touch have 0.3.
"""
WIDEST_GAP = 3.0
"""How wide the widest gap about a cut is, against what chance makes of as many gaps of one size, at the most."""
FINEST = 0.5
"""How far neighbours lie from one another, against rows four apart, at the most: 1/4 on a smooth curve, 1 in noise."""
_APART = 4


def by_cuts(bench: Bench, value: str) -> float:
    """Return how nearly a column of few values is a cut of the number ``yn``: 1 when each value is one stretch of it.

    Along the rising target the column's value changes ``k - 1`` times for ``k`` values, if it is a cut; the measure is how
    many of the further changes that chance would make do not occur. 0 for too few points, and where the values'
    stretches lie apart or thin out towards each other (`SHARP`, `WIDEST_GAP`): so do the targets of honest groups.
    """
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE points AS
        SELECT v, yn, count(*) AS n FROM (SELECT CAST({value} AS VARCHAR) AS v, yn FROM s) WHERE v IS NOT NULL AND yn IS NOT NULL GROUP BY ALL""")
    points, most, kinds, even = bench.row_of("""
        SELECT coalesce(sum(n), 0), coalesce(max(n), 0), count(*), coalesce(sum(n * n), 0)
        FROM (SELECT v, count(*) AS n FROM points GROUP BY v)""")
    if kinds < 2 or points < max(LEAST_POINTS, LEAST_EACH * kinds) or points - most < LEAST_EACH:
        return 0.0
    (changes,) = bench.row_of(
        "SELECT count(*) FROM (SELECT v != lag(v) OVER (ORDER BY yn, v) AS changed FROM points) WHERE changed"
    )
    by_chance = (points - 1) * (1 - even / points**2)
    told = 1 - (changes - kinds + 1) / float(by_chance)
    return told if told > 0 and _in_the_midst(bench) else 0.0


def _in_the_midst(bench: Bench) -> bool:
    """Return whether neighbouring values of a cut meet where rows are dense, at most of the places where two meet."""
    sharp, wide = bench.row_of("""
        WITH gaps AS (SELECT yn, yn - lag(yn) OVER w AS gap, lead(yn) OVER w - yn AS next FROM (SELECT DISTINCT yn FROM points) WINDOW w AS (ORDER BY yn)),
        spread AS (  -- equal targets, over the room that is theirs: counts have no density otherwise
            SELECT v, p.yn AS exact, p.yn + ((i + 0.5) / m - 0.5) * least(gap, next) AS yn
            FROM (SELECT *, least(n, 1000) AS m FROM points) p JOIN gaps USING (yn), range(CAST(m AS BIGINT)) rows(i)),
        spans AS (
            SELECT v, median(yn) AS middle, count(DISTINCT exact) > 1 AS spans,
                   quantile_cont(yn, [0.02, 0.12, 0.25, 0.75, 0.88, 0.98]) AS q FROM spread GROUP BY v),
        dense AS (
            SELECT *, CASE WHEN spans THEN 0.2 * (q[4] - q[3]) / nullif(q[2] - q[1], 0) ELSE 0 END AS below,
                   CASE WHEN spans THEN 0.2 * (q[4] - q[3]) / nullif(q[6] - q[5], 0) ELSE 0 END AS above FROM spans),
        met AS (
            SELECT sqrt(lag(above) OVER w * below) AS sharp, lag(q[5]) OVER w AS since, q[2] AS until
            FROM dense WINDOW w AS (ORDER BY middle, v)),
        widest AS (
            SELECT max(gap) * (count(gap) - 1) / nullif(sum(gap) - max(gap), 0) / (1 + ln(count(gap))) AS wide FROM met JOIN gaps
            ON yn >= least(since, until) AND yn - gap <= greatest(since, until) WHERE since IS NOT NULL GROUP BY since, until)
        SELECT (SELECT median(coalesce(sharp, 0)) FROM met WHERE since IS NOT NULL), (SELECT median(wide) FROM widest)""")
    return sharp is not None and sharp >= SHARP and (wide is None or wide <= WIDEST_GAP)


def by_curve(bench: Bench, value: str) -> float:
    """Return how nearly a number is a function of the number ``yn``, or ``yn`` of it, whatever the shape: 1 for exactly.

    Chatterjee's coefficient: with the points in the order of the one, how little the ranks of the other jump from each to
    the next, 0 on average for what is independent; the better of both ways round. 0 for too few points, for a column
    much coarser than the target, and where neighbours lie as far apart as rows further off (`FINEST`): two things that
    each entity has its own level of are near each other by entity, and noise within.
    """
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE points AS
        SELECT DISTINCT v, yn FROM (SELECT {value} AS v, yn FROM s) WHERE v IS NOT NULL AND yn IS NOT NULL""")
    points, fine, wanted = bench.row_of("SELECT count(*), count(DISTINCT v), count(DISTINCT yn) FROM points")
    if points < 2 * LEAST_POINTS or fine < LEAST_POINTS or fine < wanted / 4:
        return 0.0
    return max(_function(bench, "yn", "v"), _function(bench, "v", "yn"))


def _function(bench: Bench, of: str, what: str) -> float:
    points, jumps, near, far, most = bench.row_of(f"""
        SELECT count(*), sum(abs(near - r)), median(abs(near - r)), median(abs(far - r)), 2 * sum(l * (n - l)) FROM (
            SELECT r, l, n, lead(r) OVER w AS near, lead(r, {_APART}) OVER w AS far FROM (
                SELECT {of} AS x, {what} AS z, count(*) OVER () AS n, count(*) OVER (ORDER BY {what}) AS r,
                       count(*) OVER (ORDER BY {what} DESC) AS l FROM points) WINDOW w AS (ORDER BY x, hash(z), z))""")
    if not most or near > FINEST * far:
        return 0.0
    told = 1 - float(points) * float(jumps) / float(most)
    return float(told / (1 - 3 / (points + 1)))  # against what a line has in so few points
