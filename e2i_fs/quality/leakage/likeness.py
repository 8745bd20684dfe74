"""How well one column alone tells the target: by groups, by order, by rank.

Each measure is 1 for a perfect teller and about 0 for one that tells nothing, whatever the classes' shares.
"""

from __future__ import annotations

from e2i_fs.quality.leakage.bench import Bench

__all__ = ["by_bins", "by_groups", "by_order", "by_rank"]


def by_groups(bench: Bench, value: str, y: str, *, where: str = "true", group: int = 5, least: int = 8) -> float:
    """Return how many of the errors of guessing the commonest class vanish when ``value`` is known (Goodman-Kruskal's lambda).

    0 where the groups are so small (below ``group`` rows on average) that each would tell its own rows, or the rarer classes
    so rare (below ``least`` rows) that chance would.
    """
    rows, right, groups, most = bench.row_of(f"""
        WITH g AS (SELECT {value} AS v, {y} AS y, count(*) AS n FROM s WHERE {where} AND ({value}) IS NOT NULL GROUP BY 1, 2)
        SELECT coalesce(sum(n), 0), (SELECT coalesce(sum(m), 0) FROM (SELECT max(n) AS m FROM g GROUP BY v)),
               (SELECT count(DISTINCT v) FROM g), (SELECT coalesce(max(m), 0) FROM (SELECT sum(n) AS m FROM g GROUP BY y))
        FROM g""")
    errors = rows - most
    if groups < 2 or groups * group > rows or errors < least:
        return 0.0
    return float(1 - (rows - right) / errors)


def by_order(bench: Bench, value: str, truth: str, *, least: int = 8) -> float:
    """Return the AUC of ``value`` for the condition ``truth``, folded to 0..1: ``|2 AUC - 1|``; ties count half."""
    ones, zeros, area = bench.row_of(f"""
        SELECT count(*) FILTER (z), count(*) FILTER (NOT z), coalesce(sum(r) FILTER (z), 0) FROM (
            SELECT z, rank() OVER (ORDER BY v) + (count(*) OVER (PARTITION BY v) - 1) / 2 AS r
            FROM (SELECT {value} AS v, {truth} AS z FROM s) WHERE v IS NOT NULL AND z IS NOT NULL)""")
    if min(ones, zeros) < least:
        return 0.0
    auc: float = (float(area) - ones * (ones + 1) / 2) / (ones * zeros)
    return abs(2 * auc - 1)


def by_bins(bench: Bench, value: str, y: str) -> float:
    """Return `by_groups` of a number cut into bins of equal size, for whatever shape the relation has."""
    (rows,) = bench.row_of(f"SELECT count({value}) FROM s")
    bins = min(64, rows // 20)
    if bins < 2:
        return 0.0
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE binned AS
        SELECT any_value(bin) OVER (PARTITION BY v) AS bin, y FROM (
            SELECT {value} AS v, {y} AS y, ntile({bins}) OVER (ORDER BY {value}) AS bin FROM s WHERE ({value}) IS NOT NULL)""")
    total, right, most = bench.row_of("""
        WITH g AS (SELECT bin, y, count(*) AS n FROM binned GROUP BY 1, 2)
        SELECT coalesce(sum(n), 0), (SELECT coalesce(sum(m), 0) FROM (SELECT max(n) AS m FROM g GROUP BY bin)),
               (SELECT coalesce(max(m), 0) FROM (SELECT sum(n) AS m FROM g GROUP BY y)) FROM g""")
    told: float = 0.0 if total - most < 8 else 1 - (total - right) / (total - most)
    return told


def by_rank(bench: Bench, value: str, least: int = 16) -> float:
    """Return the absolute rank correlation (Spearman) of ``value`` with the number ``yn``; 0 for too few rows or values."""
    rows, values, rho = bench.row_of(f"""
        SELECT count(*), count(DISTINCT v), coalesce(corr(a, b), 0) FROM (
            SELECT v, rank() OVER (ORDER BY v) + (count(*) OVER (PARTITION BY v) - 1) / 2 AS a,
                   rank() OVER (ORDER BY yn) + (count(*) OVER (PARTITION BY yn) - 1) / 2 AS b
            FROM (SELECT {value} AS v, yn FROM s) WHERE v IS NOT NULL AND yn IS NOT NULL)""")
    return 0.0 if rows < least or values < 8 else abs(float(rho))
