"""Whether a whole frame was joined at another moment: a zone off, a day's end, the last row, the next one.

A sample of rows is answered again at other moments, and the moment that gives what the frame holds is the likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from e2i_fs.backend import Knowledge
from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.compare import comparable

if TYPE_CHECKING:
    from e2i_fs.quality.leakage.origins import Suspect

__all__ = ["Moments", "looks_ahead"]

_MINUTE = 60_000_000
_DAY = 24 * 60 * _MINUTE
_SAMPLE = 400
_NEARLY_ALL = 0.97
_ENOUGH = 12
"""Wrong rows below which no constant distance is claimed: any few rows lie some distance apart."""

OFFSETS = [q * 15 * _MINUTE for q in range(-56, 57)] + [s * d * _DAY for d in (1, 2, 7) for s in (1, -1)]
_OTHERS = {
    "next": ("as if the next row had been joined: direction='forward' or 'nearest'",
             "coalesce((SELECT min(e) FROM h WHERE h.kid = asked.kid AND h.e > asked.t), asked.t)"),
    "nearest": ("as if the nearest row had been joined, before or after: direction='nearest'",
                "(SELECT arg_min(e, (abs(e - asked.t), -e)) FROM h WHERE h.kid = asked.kid)"),
    "last": ("as if each key's last row had been joined without time", "(SELECT max(e) FROM h WHERE h.kid = asked.kid)"),
    "first": ("as if each key's first row had been joined without time", "(SELECT min(e) FROM h WHERE h.kid = asked.kid)"),
    "day": ("as if joined by date, to the end of the row's day",
            f"(asked.t // {_DAY} + 1) * {_DAY} - 1"),
    "before": ("as if joined with < where <= is right", "asked.t - 1"),
}  # fmt: skip
_AHEAD = ("next", "nearest", "last", "day")


@dataclass(frozen=True)
class Moments:
    """What was found: the constant distance in µs (None when there is none), and the hint in words."""

    bench: Bench
    offset: int | None
    hint: str
    at: str

    @classmethod
    def found(cls, bench: Bench, suspects: Sequence[Suspect], knowledge: Knowledge) -> Moments:
        """Return the moment that explains most of the wrong rows of a view, if any explains nearly all."""
        wrong, rows = _sampled(bench, suspects)
        if wrong < 3:
            return cls(bench, None, "", "e")
        fit = _fitting(bench, suspects, knowledge, wrong, rows)
        if not fit:
            return cls(bench, None, "", "e")
        how, _, _, at = min(fit, key=lambda s: (-s[2], s[0] != 0, isinstance(s[0], int), _oddness(s[0])))
        if isinstance(how, str):
            return cls(bench, None, _OTHERS[how][0], at)
        if not how:
            return cls(bench, None, "as if joined by event time alone, known or not", at)
        if wrong < _ENOUGH:
            return cls(bench, None, "", at)
        side = "later" if how > 0 else "earlier"
        return cls(bench, how, f"as if asked {timedelta(microseconds=abs(how))} {side}", at)

    def matching(self, s: Suspect, ttl: int | None) -> str:
        """Return SQL for the event time of the row that gives a wrong cell ``d`` its value at the distance found, or NULL."""
        if self.offset is None:
            return "NULL::BIGINT"
        _, value, _ = comparable(s.given, s.judged.dtype, s.column, f"h.v{s.judged.position}")
        _best(self.bench, self.at)
        fresh = "true" if ttl is None else f"asked.t + {self.offset} - h.e <= {ttl}"
        self.bench.run(f"""
            CREATE OR REPLACE TEMP TABLE moved AS
            SELECT asked.row, CASE WHEN {fresh} AND h.e IS NOT NULL THEN {value} END AS f, h.e
            FROM (SELECT *, t + {self.offset} AS moment FROM asked) asked
            ASOF LEFT JOIN ranked ON asked.kid = ranked.kid AND asked.moment >= ranked.a
            LEFT JOIN h ON h.kid = ranked.kid AND h.rank = ranked.rank""")
        return "(SELECT any_value(m.e) FROM moved m WHERE m.row = d.row AND m.f IS NOT DISTINCT FROM d.f)"


def looks_ahead(bench: Bench, s: Suspect, knowledge: Knowledge) -> bool:
    """Return whether a column holds what the store says at a moment that comes later, in nearly every row.

    A rising number, a weekday or a flag that alternates, joined one day ahead, is one to one with the right answers, as
    an encoding of them is. But what an encoding makes is not the history's own values, at one distance in every row.
    """
    _, value, _ = comparable(s.given, s.judged.dtype, s.column, f"v{s.judged.position}")
    (known,) = bench.row_of(f"""
        SELECT avg(CAST(f IN (SELECT {value} FROM h WHERE ({value}) IS NOT NULL) AS INT)) FROM diff{s.n} WHERE f IS NOT NULL""")
    if known is None or known < _NEARLY_ALL:
        return False
    wrong, rows = _sampled(bench, [s])
    ahead = [how for how, *_ in _fitting(bench, [s], knowledge, wrong, rows)]
    return any(how in _AHEAD if isinstance(how, str) else how >= 0 for how in ahead)


def _sampled(bench: Bench, suspects: Sequence[Suspect]) -> tuple[int, int]:
    """Make ``wrong``, the rows with a cell that differs, and ``sample`` of them and of the others; return how many each has."""
    differ = " UNION ".join(f"SELECT row FROM diff{s.n}" for s in suspects)
    bench.run(f"CREATE OR REPLACE TEMP TABLE wrong AS {differ}")
    wrong, rows = bench.row_of("SELECT (SELECT count(*) FROM wrong), (SELECT count(*) FROM x)")
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE sample AS
        SELECT row, true AS wrong FROM (SELECT row FROM wrong ORDER BY hash(row) LIMIT {_SAMPLE})
        UNION ALL
        SELECT row, false FROM (
            SELECT row FROM x ANTI JOIN wrong USING (row) ORDER BY hash(row) LIMIT {_SAMPLE})""")
    return wrong, rows


def _fitting(
    bench: Bench, suspects: Sequence[Suspect], knowledge: Knowledge, wrong: int, rows: int
) -> list[tuple[int | str, float, float, str]]:
    """Return the moments that explain nearly all rows, each with the shares that it explains and by which time it orders."""
    # Most tools know of no time of knowing; some know of it, and not of as_of.
    orders = [
        "e",
        *(["greatest(e, c)"] if knowledge.counts else []),
        *(["a"] if knowledge.as_of_us is not None else []),
    ]
    scores = [(*score, at) for at in orders for score in _scores(bench, suspects, at, wrong, rows)]
    return [s for s in scores if min(s[1], s[2]) >= _NEARLY_ALL]


def _oddness(how: int | str) -> tuple[bool, int]:
    """Return what to prefer among moments that explain as much: the row's own, one with a name, then whole hours, the nearest."""
    return (False, 0) if isinstance(how, str) else (how % (60 * _MINUTE) != 0, abs(how))


def _best(bench: Bench, at: str) -> None:
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE ranked AS
        SELECT kid, a, max(rank) OVER (PARTITION BY kid ORDER BY a ROWS UNBOUNDED PRECEDING) AS rank
        FROM (SELECT kid, {at} AS a, max(rank) AS rank FROM h WHERE {at} IS NOT NULL GROUP BY ALL)""")


def _scores(
    bench: Bench, suspects: Sequence[Suspect], at: str, wrong: int, rows: int
) -> list[tuple[int | str, float, float]]:
    """Return for each other moment the share of wrong rows that it explains, and of all rows."""
    _best(bench, at)
    offsets = ", ".join(f"({o})" for o in OFFSETS)
    others = " UNION ALL ".join(
        f"SELECT row, '{name}' AS how, kid, {sql} AS moment FROM asked JOIN sample USING (row)"
        for name, (_, sql) in _OTHERS.items()
    )
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE probe AS
        SELECT row, CAST(o AS VARCHAR) AS how, kid, t + o AS moment FROM asked JOIN sample USING (row), (VALUES {offsets}) v(o)
        UNION ALL {others}""")
    ttl = suspects[0].judged.view.ttl_us if suspects[0].judged.view else None
    same = []
    for s in suspects:
        cell, value, _ = comparable(s.given, s.judged.dtype, f"x.{s.column}", f"h.v{s.judged.position}")
        # Whoever joins to the last row, say, knows of no ttl; a shifted question is answered with it.
        fresh = "true" if ttl is None else f"(NOT regexp_matches(p.how, '^-?[0-9]') OR p.moment - h.e <= {ttl})"
        same.append(f"({cell}) IS NOT DISTINCT FROM (CASE WHEN h.e IS NOT NULL AND {fresh} THEN {value} END)")
    found = bench.rows_of(f"""
        SELECT how, avg(CAST(ok AS INT)) FILTER (wrong), coalesce(avg(CAST(ok AS INT)) FILTER (NOT wrong), 1)
        FROM (
            SELECT p.how, sample.wrong, {" AND ".join(same)} AS ok
            FROM (SELECT * FROM probe WHERE moment IS NOT NULL AND kid IS NOT NULL) p
            ASOF LEFT JOIN ranked ON p.kid = ranked.kid AND p.moment >= ranked.a
            LEFT JOIN h ON h.kid = ranked.kid AND h.rank = ranked.rank
            JOIN sample ON sample.row = p.row JOIN x ON x.row = p.row)
        GROUP BY how""")
    share = wrong / rows if rows else 0.0
    return [
        (how if how in _OTHERS else int(how), mine or 0.0, share * (mine or 0.0) + (1 - share) * other)
        for how, mine, other in found
    ]
