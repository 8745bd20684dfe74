"""Features that were computed from the target of the frame itself: windows that include the row's own, averages over its group."""

from __future__ import annotations

from itertools import product

from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.question import Question
from e2i_fs.quality.leakage.report import Check, Finding
from e2i_fs.quality.leakage.subject import as_number, kind_of
from e2i_fs.quality.outcome import Outcome

__all__ = ["encodings", "windows"]

_SPANS = [(b, a) for b in (*range(7), None) for a in range(4) if (b, a) != (0, 0)]  # rows before and after; None is all
_SAMPLE = 1_500
_LEAST = 20
_GROUPING = ("text", "bool", "number")
_CLOSE = "abs({a} - {b}) <= 1e-6 * (1e-3 + abs({b}))"  # a Float32 column holds seven digits


def _numbers(bench: Bench, question: Question) -> list[tuple[str, str]]:
    """Return the names of the numeric columns, each with its SQL."""
    return [
        (name, as_number(bench.names[name], bench.types[bench.names[name]]))
        for name in question.inputs
        if kind_of(bench.types[bench.names[name]]) == "number"
    ]


def windows(bench: Bench, question: Question) -> Check:
    """Find features that are a mean or sum of the target over rows around, or up to and including, the row itself.

    Rows are taken in the order of time and as the frame has them, within each key and over all. A window that ends before
    the row is honest.
    """
    name = "target in windows"
    assert question.target is not None
    target, given = bench.names[question.target], bench.types[bench.names[question.target]]
    columns = _numbers(bench, question)
    if kind_of(given) not in ("number", "bool"):
        return Check(name, Outcome.PASSED, "a target that is no number has no mean")
    if not columns:
        return Check(name, Outcome.PASSED, "no column is a number")
    found: dict[str, Finding] = {}
    keys = dict.fromkeys([", ".join(bench.names[k] for k in question.key_columns), ""])
    orders = {"t, row": "in the order of time"}
    if bench.row_of("SELECT count(*) FROM (SELECT t < lag(t) OVER (ORDER BY row) AS back FROM x) WHERE back")[0]:
        orders["row"] = "in the order of the frame"  # which is another one
    for (order, in_order), key in product(orders.items(), keys):
        for feature, span in _spans(bench, as_number(target, given), key, order, columns).items():
            message = (
                f"The column {feature!r} is {span} of the target {question.target!r} {in_order}"
                f"{' within each key' if key else ''}, the row's own included. End the window before the row."
            )
            found.setdefault(feature, Finding(LeakKind.TARGET_IN_WINDOW, message, feature, bench.rows))
    return Check(name, Outcome.FAILED if found else Outcome.PASSED, "", tuple(found.values()))


def _spans(bench: Bench, y: str, key: str, order: str, columns: list[tuple[str, str]]) -> dict[str, str]:
    """Return, for each feature that is a window in nearly every sampled row, which one.

    Sums up to each row give the sum of any window as a difference. A feature's commonest value proves nothing: it may be 0
    wherever the target is.
    """
    order = f"ORDER BY {key + ', ' if key else ''}{order}"
    ends = f"PARTITION BY {key}" if key else ""
    features = ", ".join(f"{sql} AS f{i}" for i, (_, sql) in enumerate(columns))
    # All rows in one order, each key's together: what came up to each, and where its key begins and ends.
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE upto AS
        SELECT * EXCLUDE (k), min(i) OVER (PARTITION BY k) AS first, max(i) OVER (PARTITION BY k) AS last FROM (
            SELECT row, y, {", ".join(f"f{i}" for i in range(len(columns)))}, {f"min(row) OVER ({ends})" if key else "0"} AS k,
                   row_number() OVER ({order}) AS i, sum(y) OVER ({order} ROWS UNBOUNDED PRECEDING) AS s,
                   count(y) OVER ({order} ROWS UNBOUNDED PRECEDING) AS c
            FROM (SELECT *, {y} AS y, {features} FROM x))""")
    step = max(1, bench.rows // _SAMPLE)
    listed = ", ".join(f"({b if b is not None else 1_000_000_000}, {a})" for b, a in _SPANS)
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE spans AS
        SELECT p.*, coalesce(high.s, 0) - coalesce(low.s, 0) AS total,
               (coalesce(high.s, 0) - coalesce(low.s, 0)) / nullif(high.c - coalesce(low.c, 0), 0) AS mean
        FROM (SELECT *, least(i + a, last) AS upper, greatest(i - b - 1, first - 1) AS lower
              FROM upto, (VALUES {listed}) v(b, a) WHERE y IS NOT NULL AND hash(row) % {step} = 0) p
        JOIN upto high ON high.i = p.upper
        LEFT JOIN upto low ON low.i = p.lower""")
    common = ", ".join(f"(SELECT mode({sql}) FROM x)" for _, sql in columns)
    modes = bench.row_of(f"SELECT {common}")
    told = []
    for i, mode in enumerate(modes):
        seen = "false" if mode is None else f"f{i} IS NOT NULL AND f{i} != {mode!r}::DOUBLE"
        close = ", ".join(
            f"avg(CAST({_CLOSE.format(a=f'f{i}', b=w)} AS INT)) FILTER ({seen})" for w in ("mean", "total")
        )
        told.append(f"count(*) FILTER ({seen}), count(DISTINCT f{i}) FILTER ({seen}), {close}")
    best: dict[str, tuple[float, str]] = {}
    for b, a, *figures in bench.rows_of(f"SELECT b, a, {', '.join(told)} FROM spans GROUP BY b, a ORDER BY a, b"):
        for i, (feature, _) in enumerate(columns):
            rows, values, *shares = figures[4 * i : 4 * i + 4]
            for word, share in zip(("the mean", "the sum"), shares, strict=True):
                if rows >= _LEAST and values >= 3 and (share or 0) >= max(0.9, best.get(feature, (0.0, ""))[0] + 1e-9):
                    reach = "all rows before" if b > len(_SPANS) else f"{b} rows before"
                    best[feature] = (share, f"{word} over {reach}, the row and {a} after")
    return {feature: span for feature, (_, span) in best.items()}


def encodings(bench: Bench, question: Question) -> Check:
    """Find features that are the mean of the target over the row's own group, in this very frame, with or without the row.

    The mean of its group's targets holds the row's own; and the mean without the row differs by exactly the row's target.
    """
    name = "target in encodings"
    assert question.target is not None
    target, given = bench.names[question.target], bench.types[bench.names[question.target]]
    columns = _numbers(bench, question)
    if kind_of(given) not in ("number", "bool"):
        return Check(name, Outcome.PASSED, "a target that is no number has no mean")
    if not columns:
        return Check(name, Outcome.PASSED, "no column is a number")
    found: dict[str, Finding] = {}
    for group in _groups(bench, question):
        others = [c for c in columns if c[0] != group]
        for feature, told in _encoded(bench, others, bench.names[group], as_number(target, given)).items():
            message = (
                f"The column {feature!r} is the mean of the target {question.target!r} over {group!r} in this very frame, "
                f"{told}. Encode with the rows before each row's time, or with train's folds."
            )
            found.setdefault(feature, Finding(LeakKind.TARGET_IN_ENCODING, message, feature, bench.rows))
    return Check(name, Outcome.FAILED if found else Outcome.PASSED, "", tuple(found.values()))


def _groups(bench: Bench, question: Question) -> list[str]:
    """Return the columns that rows can be grouped by: a few values, each in two rows or more."""
    names = [n for n in [*question.known_keys, *question.inputs] if kind_of(bench.types[bench.names[n]]) in _GROUPING]
    if not names:
        return []
    counts = bench.row_of("SELECT " + ", ".join(f"approx_count_distinct({bench.names[n]})" for n in names) + " FROM x")
    return [n for n, values in zip(names, counts, strict=True) if 2 <= values <= bench.rows / 2]


def _encoded(bench: Bench, columns: list[tuple[str, str]], group: str, y: str) -> dict[str, str]:
    """Return the features that are the mean over one group in nearly every row, each with how."""
    if not columns:
        return {}
    features = ", ".join(f"{sql} AS f{i}" for i, (_, sql) in enumerate(columns))
    told = []
    for i in range(len(columns)):
        whole = _CLOSE.format(a=f"f{i}", b="w")
        without = _CLOSE.format(a=f"f{i}", b="((w * n - y) / (n - 1))")
        told.append(f"count(f{i}), count(DISTINCT f{i}), avg(CAST({whole} AS INT)), avg(CAST({without} AS INT))")
    figures = bench.row_of(f"""
        SELECT {", ".join(told)} FROM (
            SELECT {features}, {y} AS y, avg({y}) OVER (PARTITION BY {group}) AS w, count({y}) OVER (PARTITION BY {group}) AS n
            FROM x) WHERE y IS NOT NULL AND n > 1""")
    found = {}
    for i, (feature, _) in enumerate(columns):
        rows, values, whole, without = figures[4 * i : 4 * i + 4]
        if rows < _LEAST or values < 3:
            continue
        if (whole or 0) >= 0.98:
            found[feature] = "the row's own target included"
        elif (without or 0) >= 0.98:
            found[feature] = "each row's own target left out, which gives it away by its absence"
    return found
