"""Rows that stand in the frame more than once."""

from __future__ import annotations

from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.question import Question
from e2i_fs.quality.leakage.report import Check, Example, Finding
from e2i_fs.quality.outcome import Outcome

__all__ = ["duplicate_rows"]

_NAME = "duplicate rows"


def duplicate_rows(bench: Bench, question: Question) -> Check:
    """Find rows that ask the same question (keys and time) as another: a join that fanned out, or one repeated.

    The keys of every entity of the store count: two triggers of one HCP at one time are two rows, whatever is asked.

    The store gives one row for each (P-6), so a frame with more was made by a join that multiplied them.
    """
    keys = [bench.names[k] for k in question.known_keys]
    asked = ", ".join([*keys, "t"])
    features = [bench.names[j.column] for j in question.judged if not j.label]
    whole = ", ".join(features)
    rows, again, differ = bench.row_of(f"""
        SELECT count(*), coalesce(sum(n - 1), 0), count(*) FILTER (kinds > 1) FROM (
            SELECT count(*) AS n, count(DISTINCT hash({whole})) AS kinds FROM x GROUP BY {asked})""")
    if not again:
        return Check(_NAME, Outcome.PASSED)
    same = " AND ".join(f"a.{c} IS NOT DISTINCT FROM b.{c}" for c in (*keys, "t"))
    shown = bench.rows_of(
        f"SELECT a.row FROM x a WHERE EXISTS (SELECT 1 FROM x b WHERE b.row < a.row AND {same}) ORDER BY 1 LIMIT 5"
    )
    why = (
        f"{differ:,} of them with other features than the row that they repeat: a join fanned out over a key that is not "
        "unique. Join each row to one row of history."
        if differ
        else "whole. Drop the copies, or weigh the rows on purpose."
    )
    message = f"{again:,} of {rows + again:,} rows repeat the keys and time of another, {why}"
    kind = LeakKind.DUPLICATE_ROWS
    examples = tuple(Example(row) for (row,) in shown)
    return Check(_NAME, Outcome.WARNING, "", (Finding(kind, message, None, again, examples, Outcome.WARNING),))
