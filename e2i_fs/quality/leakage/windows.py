"""Features that were computed from the target of the frame itself: windows that include the row's own, averages over its group."""

from __future__ import annotations

from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.question import Question
from e2i_fs.quality.leakage.report import Check, Finding
from e2i_fs.quality.leakage.subject import as_number, kind_of
from e2i_fs.quality.outcome import Outcome

__all__ = ["encodings", "windows"]

_BEFORE, _AFTER = range(7), range(4)
_MOST = 50_000
_LEAST = 20
_CLOSE = "abs({a} - {b}) <= 1e-6 * (1e-3 + abs({b}))"  # a Float32 column holds seven digits


def _numbers(bench: Bench, question: Question) -> list[tuple[str, str]]:
    return [
        (name, as_number(bench.names[name], bench.types[bench.names[name]]))
        for name in question.inputs
        if kind_of(bench.types[bench.names[name]]) == "number"
    ]


def windows(bench: Bench, question: Question) -> Check:
    """Find features that are a mean or sum of the target over rows around, or up to and including, the row itself.

    Rows are taken in the order of time, within each key and over all. A window that ends before the row is honest.
    """
    name = "target in windows"
    assert question.target is not None
    target, given = bench.names[question.target], bench.types[bench.names[question.target]]
    if kind_of(given) not in ("number", "bool"):
        return Check(name, Outcome.PASSED, "a target that is no number has no mean")
    y = as_number(target, given)
    keys = ", ".join(bench.names[k] for k in question.key_columns)
    found: list[Finding] = []
    for how in dict.fromkeys([keys, ""]):
        part = f"PARTITION BY {how} " if how else ""
        spans = {
            f"{f}({b},{a})": (f, f"ROWS BETWEEN {b} PRECEDING AND {a} FOLLOWING")
            for f in ("avg", "sum") for b in _BEFORE for a in _AFTER if (b, a) != (0, 0)
        }  # fmt: skip
        spans |= {
            f"{f}(all before,{a})": (f, f"ROWS BETWEEN UNBOUNDED PRECEDING AND {a} FOLLOWING")
            for f in ("avg", "sum")
            for a in (0, 1)
        }
        listed = ", ".join(f"{f}(y) OVER (w {rows}) AS w{i}" for i, (f, rows) in enumerate(spans.values()))
        columns = _numbers(bench, question)
        if not columns:
            continue
        features = ", ".join(f"{sql} AS f{i}" for i, (_, sql) in enumerate(columns))
        few = (
            f"WHERE row < {_MOST}" if bench.rows > _MOST else ""
        )  # neighbours must stay neighbours: the first rows, not a sample
        own = f", {how}" if how else ""
        bench.run(f"""
            CREATE OR REPLACE TEMP TABLE spans AS
            SELECT *, {listed} FROM (SELECT row, t, {y} AS y, {features}{own} FROM x {few})
            WINDOW w AS ({part}ORDER BY t, row)""")
        for i, (feature, _) in enumerate(columns):
            if any(f.feature == feature for f in found):
                continue
            span = _span(bench, i, list(spans))
            if span:
                message = (
                    f"The column {feature!r} is {span} of the target {question.target!r} in the order of time"
                    f"{' within each key' if how else ''}, the row's own included. End the window before the row."
                )
                found.append(Finding(LeakKind.TARGET_IN_WINDOW, message, feature, bench.rows))
    return Check(name, Outcome.FAILED if found else Outcome.PASSED, "", tuple(found))


def _span(bench: Bench, i: int, names: list[str]) -> str:
    """Return the window that a feature is in nearly every row, or ''. Its commonest value proves nothing: it may be 0 in all."""
    hits = ", ".join(f"avg(CAST({_CLOSE.format(a=f'f{i}', b=f'w{n}')} AS INT))" for n in range(len(names)))
    rows, values, *shares = bench.row_of(f"""
        SELECT count(*), count(DISTINCT f{i}), {hits} FROM spans
        WHERE f{i} IS NOT NULL AND y IS NOT NULL AND f{i} != (SELECT mode(f{i}) FROM spans)""")
    if rows < _LEAST or values < 3:
        return ""
    best = max(range(len(names)), key=lambda n: shares[n] or 0)
    return names[best] if (shares[best] or 0) >= 0.9 else ""


def encodings(bench: Bench, question: Question) -> Check:
    """Find features that are the mean of the target over the row's own group, in this very frame, with or without the row.

    The mean of its group's targets holds the row's own; and the mean without the row differs by exactly the row's target.
    """
    name = "target in encodings"
    assert question.target is not None
    target, given = bench.names[question.target], bench.types[bench.names[question.target]]
    if kind_of(given) not in ("number", "bool"):
        return Check(name, Outcome.PASSED, "a target that is no number has no mean")
    y = as_number(target, given)
    groups = [n for n in [*question.key_columns, *question.inputs] if _may_group(bench, n)]
    found = []
    for feature, number in _numbers(bench, question):
        for group in groups:
            if group == feature:
                continue
            told = _encoded(bench, number, bench.names[group], y)
            if told:
                message = (
                    f"The column {feature!r} is the mean of the target {question.target!r} over {group!r} in this very frame, "
                    f"{told}. Encode with the rows before each row's time, or with train's folds."
                )
                found.append(Finding(LeakKind.TARGET_IN_ENCODING, message, feature, bench.rows))
                break
    return Check(name, Outcome.FAILED if found else Outcome.PASSED, "", tuple(found))


def _may_group(bench: Bench, name: str) -> bool:
    column = bench.names[name]
    if kind_of(bench.types[column]) not in ("text", "bool", "number"):
        return False
    (values,) = bench.row_of(f"SELECT approx_count_distinct({column}) FROM x")
    return bool(2 <= values <= bench.rows / 2)


def _encoded(bench: Bench, number: str, group: str, y: str) -> str:
    close = _CLOSE.format(a="f", b="w")
    without = _CLOSE.format(a="f", b="((w * n - y) / (n - 1))")
    rows, values, whole, left_out = bench.row_of(f"""
        SELECT count(*), count(DISTINCT f), avg(CAST({close} AS INT)), avg(CAST({without} AS INT)) FROM (
            SELECT {number} AS f, {y} AS y, avg({y}) OVER (PARTITION BY {group}) AS w, count({y}) OVER (PARTITION BY {group}) AS n
            FROM x) WHERE f IS NOT NULL AND y IS NOT NULL AND n > 1""")
    if rows < _LEAST or values < 3:
        return ""
    if (whole or 0) >= 0.98:
        return "the row's own target included"
    return "each row's own target left out, which gives it away by its absence" if (left_out or 0) >= 0.98 else ""
