"""Whether a text says the outcome among other things: "seen on Monday; patient churned: yes", or JSON with it inside."""

from __future__ import annotations

from e2i_fs.quality.leakage.bench import Bench

__all__ = ["in_words", "is_prose"]

LEAST = 12
"""Texts of the rarer side, below which a word proves nothing: with many words one of them fits a few texts."""
MOST_TEXTS = 4_000
_LONGEST = 4_000
_PROSE = 0.9


def is_prose(bench: Bench, column: str) -> bool:
    """Return whether nearly all of a column's texts have parts, as sentences and JSON have, and ids have not."""
    (share,) = bench.row_of(
        rf"SELECT avg(CAST(regexp_matches({column}, '\S\s+\S|[:{{]') AS INT)) FROM s WHERE {column} IS NOT NULL"
    )
    return share is not None and share >= _PROSE


def in_words(bench: Bench, column: str, enough: float) -> str:
    """Return which word, or two in a row, stands in a text just where the target is of one class, in words, or ''.

    Just where: of the errors of guessing "this class or not" at least ``enough`` (0 to 1) vanish when it is known whether the
    word is there. Case and punctuation do not count. One text stands for its rows once.
    """
    found = bench.rows_of(rf"""
        WITH said AS (
            SELECT row_number() OVER (ORDER BY id) AS i, y, regexp_extract_all(lower(left(id, {_LONGEST})), '[\p{{L}}\p{{N}}]+') AS w
            FROM (SELECT {column} AS id, mode(y) AS y FROM s WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY hash({column}), 1 LIMIT {MOST_TEXTS})),
        terms AS (
            SELECT DISTINCT i, y, unnest([w[k], w[k] || ' ' || w[k + 1]]) AS term FROM said, range(1, len(w) + 1) words(k)),
        classes AS (SELECT y, count(*) AS of_class, (SELECT count(*) FROM said) AS texts FROM said GROUP BY y),
        here AS (SELECT term, y, count(*) AS hits, sum(count(*)) OVER (PARTITION BY term) AS there FROM terms WHERE term IS NOT NULL GROUP BY term, y),
        told AS (
            SELECT term, y, least(of_class, texts - of_class) AS errors,
                   least(hits, there - hits) + least(of_class - hits, texts - there - of_class + hits) AS left_over
            FROM here JOIN classes USING (y))
        SELECT term, y FROM told WHERE errors >= {LEAST} AND 1 - left_over / errors >= {enough}
        ORDER BY left_over / errors, length(term), term, y LIMIT 1""")
    if not found:
        return ""
    term, name = found[0]
    return f"it says so: {term!r} stands in it just where the target is {name!r}"
