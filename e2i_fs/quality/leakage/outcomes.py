"""Whether the labels of a frame are the store's: at the row's time, at the label's, or later by one distance for all rows."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

from e2i_fs.quality.leakage.answers import Answers
from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.compare import comparable
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.origins import load_history
from e2i_fs.quality.leakage.question import Judged, Question
from e2i_fs.quality.leakage.report import Check, Example, Finding
from e2i_fs.quality.outcome import Outcome

__all__ = ["label_values"]

_NAME = "label values"
_HOUR = 3_600_000_000
_SAMPLE = 1_000
_NEARLY_ALL = 0.999
_HORIZONS = [h * _HOUR for h in (1, 2, 3, 4, 6, 8, 12)] + [d * 24 * _HOUR for d in range(1, 91)]


def label_values(bench: Bench, question: Question, answers: Answers) -> Check:
    """Hold the labels of the frame against the store's (each row's own), whatever the horizon they were taken at.

    Without the time of the label it is not known when it was taken: at the row's time, at the next event, at the last,
    or a constant time later. The likeliest of these is held to; if the labels then are others', they were shuffled.
    """
    found: list[Finding] = []
    notes: list[str] = []
    unsure = False
    for j in (j for j in question.judged if j.label):
        if j.view is None:
            notes.append(f"{j.ref} is computed on demand")
            unsure = True
            continue
        said = _held(bench, question, answers, j)
        if isinstance(said, Finding):
            found.append(said)
        else:
            unsure = unsure or said[0]
            notes.append(said[1])
    outcome = Outcome.FAILED if found else Outcome.INCONCLUSIVE if unsure else Outcome.PASSED
    return Check(_NAME, outcome, "; ".join(notes), tuple(found))


def _held(bench: Bench, question: Question, answers: Answers, j: Judged) -> Finding | tuple[bool, str]:
    """Return the finding, or whether nothing can be said, and the words."""
    assert j.view is not None
    load_history(bench, question, answers.results[j.ref], j.view.name, as_of_us=answers.knowledge[j.view.name].as_of_us)
    column = bench.names[j.column]
    cell, value, _ = comparable(bench.types[column], j.dtype, f"x.{column}", f"h.v{j.position}")
    times = question.label_times
    if times is None:
        own = "t"
    else:
        bench.put("labelled", pa.table({"row": pa.array(range(len(times)), pa.int64()), "l": times}))
        own = "(SELECT any_value(l) FROM labelled WHERE labelled.row = asked.row)"
    horizons: dict[str, str] = {"own": own}
    if times is None:
        horizons["next"] = "(SELECT min(e) FROM h WHERE h.kid = asked.kid AND h.e > asked.t)"
        horizons["last"] = "(SELECT max(e) FROM h WHERE h.kid = asked.kid)"
        horizons |= {str(us): f"t + {us}" for us in _HORIZONS}
    shares = {}
    for how, at in horizons.items():
        _labels_at(bench, cell, value, at, f"WHERE hash(row) % greatest(1, {bench.rows} // {_SAMPLE}) = 0")
        rows, there, same = bench.row_of(
            "SELECT count(*), count(v), coalesce(avg(CAST(f = v AS INT)), 0) FROM at_label WHERE f IS NOT NULL"
        )
        shares[how] = (same if there >= 0.5 * rows else 0.0, there)
        if rows and shares[how][0] >= _NEARLY_ALL:
            break
    best = max(shares, key=lambda how: shares[how])
    if not shares[best][1]:
        return True, f"the store has no value of {j.ref} for these rows"
    _labels_at(bench, cell, value, horizons[best], "")
    rows, wrong = bench.row_of(
        "SELECT count(*), count(*) FILTER (f IS DISTINCT FROM v) FROM at_label WHERE f IS NOT NULL AND v IS NOT NULL"
    )
    if not rows:
        return True, f"{j.ref} is missing in every row"
    if not wrong:
        return False, f"{j.ref} is as the store says {_when(best)}"
    shown = bench.rows_of(
        "SELECT row, f, v FROM at_label WHERE f != v AND f IS NOT NULL AND v IS NOT NULL ORDER BY row LIMIT 5"
    )
    (moved,) = bench.row_of("""
        SELECT count(*) FROM (SELECT f AS y, count(*) AS n FROM at_label WHERE v IS NOT NULL AND f IS NOT NULL GROUP BY 1
                              EXCEPT SELECT v, count(*) FROM at_label WHERE v IS NOT NULL AND f IS NOT NULL GROUP BY 1)""")
    what = (
        "their counts are the store's, their rows are not: they were shuffled, or joined by position"
        if not moved
        else "they are not what the store says"
    )
    message = (
        f"{wrong:,} of {rows:,} labels in {j.column!r} differ from {j.ref} {_when(best)}: {what}. Take the label from the store with "
        "labels=, or say when it was known with label_timestamp_column=."
    )
    examples = tuple(Example(row, f, v) for row, f, v in shown)
    return Finding(LeakKind.SHUFFLED_LABEL, message, j.column, wrong, examples)


def _labels_at(bench: Bench, cell: str, value: str, at: str, where: str) -> None:
    """Make ``at_label``: for each row the frame's label ``f`` and the store's ``v`` at a moment."""
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE at_label AS
        SELECT x.row, {cell} AS f, {value} AS v
        FROM (SELECT * FROM (SELECT row, kid, {at} AS moment FROM asked {where}) WHERE moment IS NOT NULL AND kid IS NOT NULL) q
        ASOF LEFT JOIN (SELECT kid, a, max(rank) OVER (PARTITION BY kid ORDER BY a ROWS UNBOUNDED PRECEDING) AS rank FROM (
            SELECT kid, a, max(rank) AS rank FROM h WHERE a IS NOT NULL GROUP BY kid, a)) b ON q.kid = b.kid AND q.moment >= b.a
        LEFT JOIN h ON h.kid = b.kid AND h.rank = b.rank
        JOIN x ON x.row = q.row""")


def _when(how: str) -> str:
    if how in ("own", "next", "last"):
        return {"own": "at the row's time", "next": "at the next event", "last": "in the end"}[how]
    return f"{timedelta(microseconds=int(how))} after the row's time"
