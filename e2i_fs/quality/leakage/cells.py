"""Cell by cell: what the frame holds against what the store says, and where each other value came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from e2i_fs.clock import from_us
from e2i_fs.quality.leakage.answers import Answers
from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.compare import comparable, prepared, type_lost
from e2i_fs.quality.leakage.kinds import WARNINGS, LeakKind
from e2i_fs.quality.leakage.origins import Suspect, trace
from e2i_fs.quality.leakage.question import Judged, Question
from e2i_fs.quality.leakage.report import Check, Example, Finding
from e2i_fs.quality.leakage.telling import tell
from e2i_fs.quality.outcome import Outcome

__all__ = ["CELLS", "Compared", "compare_cells"]

CELLS = "point in time"
_SHOWN = 5
_EMPTY = pa.table(
    {
        "row": pa.array([], pa.int64()), "feature": pa.array([], pa.string()), "kind": pa.array([], pa.string()),
        "value": pa.array([], pa.string()), "answer": pa.array([], pa.string()),
        "event_us": pa.array([], pa.int64()), "created_us": pa.array([], pa.int64()),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """The check's outcome with its findings, all wrong cells as a table, and how many cells differ in each view."""

    check: Check
    cells: pa.Table
    by_view: dict[str, int]
    honest: frozenset[str]
    """The columns of which every cell is what the store says could be known."""


def compare_cells(bench: Bench, question: Question, answers: Answers) -> Compared:
    """Hold every cell against the store's answer, and explain those that differ (P-1 to P-7)."""
    views: dict[str, list[Suspect]] = {}
    honest: set[str] = set()
    unjudged: list[str] = []
    notes: list[str] = []
    for n, j in enumerate(question.judged):
        if j.label or j.ref in question.misused:
            continue  # a label is held against the store by a check of its own: it may lie in the future
        count = _differing(bench, question, answers, n, j)
        lost = _type_lost(bench, n, j)
        if lost:
            notes.append(lost)
        if not count and not lost:
            honest.add(j.column)
        if count:
            column = bench.names[j.column]
            suspect = Suspect(n, j, column, bench.types[column], count, recoded=_recoded(bench, n, count))
            views.setdefault(j.view.name if j.view else "", []).append(suspect)
    tables = [_EMPTY]
    findings: list[Finding] = []
    by_view: dict[str, int] = {}
    for view, suspects in views.items():
        found, hint = trace(bench, question, answers, view, suspects)
        unjudged += [s.judged.column for s in suspects if s.n not in found]
        for suspect in (s for s in suspects if s.n in found):
            cells = found[suspect.n]
            tables.append(_text_table(bench, suspect, cells))
            findings += _findings(question, answers, suspect, cells, hint)
        if found:
            by_view[view or "on demand"] = sum(len(cells) for cells in found.values())
    if unjudged:
        notes.append(
            f"{', '.join(unjudged)}: scaled or encoded, one to one with the store's values, so no cell can be held against "
            "the store. Audit the frame before it is transformed."
        )
    return Compared(_check(findings, notes), pa.concat_tables(tables), by_view, frozenset(honest))


def _differing(bench: Bench, question: Question, answers: Answers, n: int, j: Judged) -> int:
    """Make the table ``diff{n}`` of the cells that differ from what could be known, and count them."""
    column = bench.names[j.column]
    cell, value, unfit = comparable(bench.types[column], j.dtype, column, f"a{n}")
    lenient = value.replace(f"a{n}", f"b{n}") if j.ref in answers.lenient else "NULL"
    has = "true" if j.ref in answers.lenient else "false"
    bench.run(f"""
        CREATE TEMP TABLE diff{n} AS
        SELECT *, {has} AND NOT unfit AND f IS NOT DISTINCT FROM b AS default_gives FROM (
            SELECT row, t, {cell} AS f, {value} AS a, {lenient} AS b, {unfit} AS unfit FROM x)
        WHERE unfit OR f IS DISTINCT FROM a""")
    count: int = bench.row_of(f"SELECT count(*) FROM diff{n}")[0]
    return count


def _recoded(bench: Bench, n: int, count: int) -> bool:
    """Return whether a column is its answers in other words: scaled, logged, or encoded one to one.

    What is one to one with the right answers tells no more than they do; but a figure it was scaled by may, which
    another check judges. Where each value occurs once, any two columns are one to one: then the order must be kept.
    """
    if count < 10:
        return False
    j = bench.row_of(f"""
        SELECT count(*), count(DISTINCT f), count(DISTINCT a), count(DISTINCT (f, a)), bool_or(unfit),
               count(*) FILTER ((f IS NULL) != (a IS NULL))
        FROM diff{n}""")
    rows, cells, values, pairs, unfit, holes = j
    if unfit or holes or count < 0.9 * bench.rows or not cells == values == pairs or cells < 2:
        return False
    if cells <= rows / 3:
        return True
    up, down = bench.row_of(f"""
        SELECT bool_and(r = u), bool_and(r = d) FROM (
            SELECT dense_rank() OVER (ORDER BY f) AS r, dense_rank() OVER (ORDER BY a) AS u,
                   dense_rank() OVER (ORDER BY a DESC) AS d FROM diff{n} WHERE f IS NOT NULL)""")
    return bool(up or down)


def _type_lost(bench: Bench, n: int, j: Judged) -> str:
    """Return, in words, that a text was read as a number, which equals more than one text; '' where it was not."""
    column = bench.names[j.column]
    lost = type_lost(bench.types[column], j.dtype, column, f"a{n}")
    cells, value, answer = bench.row_of(
        f"SELECT count(*), arg_min({column}, row), arg_min(a{n}, row) FROM x WHERE {lost}"
    )
    if not cells:
        return ""
    return (
        f"{j.column}: its type was lost, {answer!r} of the store is the number {value!r} in the frame ({cells:,} cells). As numbers "
        "they agree, but other texts are the same number. Read the column as text (dtype=str) and audit again."
    )


def _check(findings: Sequence[Finding], notes: Sequence[str]) -> Check:
    outcome = Outcome.PASSED
    if any(f.outcome is Outcome.FAILED for f in findings):
        outcome = Outcome.FAILED
    elif notes:
        outcome = Outcome.INCONCLUSIVE
    elif findings:
        outcome = Outcome.WARNING
    return Check(CELLS, outcome, " ".join(notes), tuple(findings))


def _findings(question: Question, answers: Answers, suspect: Suspect, cells: pa.Table, hint: str) -> list[Finding]:
    found = []
    for kind in LeakKind:
        own = cells.filter(pa.compute.equal(cells.column("kind"), kind.value))
        if not len(own):
            continue
        late = kind in (LeakKind.LATE_VALUE, LeakKind.BACKFILLED_ROW)
        warns = kind in WARNINGS or (late and answers.warns and _all(own.column("default_gives")))
        shown = own.slice(0, _SHOWN).to_pylist()
        examples = tuple(_example(question, answers, suspect.judged, cell) for cell in shown)
        told = tell(kind, suspect.judged, len(own), question.rows, examples[0], hint, lenient=warns)
        outcome = Outcome.WARNING if warns else Outcome.FAILED
        found.append(Finding(kind, told, suspect.judged.ref, len(own), examples, outcome))
    return found


def _all(flags: pa.ChunkedArray) -> bool:
    return bool(pa.compute.all(flags).as_py())


def _example(question: Question, answers: Answers, judged: Judged, cell: dict[str, Any]) -> Example:
    row = cell["row"]
    return Example(
        row=row,
        value=_value(question.frame.table.column(judged.column), row),
        answer=_value(answers.known[judged.ref], row),
        timestamp=from_us(question.entities.times[row].as_py()),
        event_timestamp=None if cell["e"] is None else from_us(cell["e"]),
        created_timestamp=None if cell["c"] is None else from_us(cell["c"]),
        key=cell["key"],
    )


def _value(column: pa.ChunkedArray, row: int) -> Any:
    return prepared(column.slice(row, 1))[0].as_py() if pa.types.is_dictionary(column.type) else column[row].as_py()


def _text_table(bench: Bench, suspect: Suspect, cells: pa.Table) -> pa.Table:
    bench.put("traced", cells)
    told = bench.table_of(f"""
        SELECT traced.row, '{"".join(suspect.judged.ref.split("'"))}' AS feature, kind, CAST(x.{suspect.column} AS VARCHAR) AS value,
               CAST(x.a{suspect.n} AS VARCHAR) AS answer, e AS event_us, c AS created_us
        FROM traced JOIN x ON x.row = traced.row ORDER BY traced.row""")
    return told.cast(_EMPTY.schema)
