"""Whether one column alone tells the target: as a copy in any dress, by what is missing of it, or in a key.

A threshold stands between what a strong honest feature can do and what only a copy does. A column whose every cell is
what the store says could be known is given more room: yesterday's price may well tell today's.

`_ENOUGH` holds the thresholds, each of a measure that is 1 for a perfect teller: ``groups``, errors of guessing a class
that vanish; ``order``, ``|2 AUC - 1|``; ``rank``, Spearman's correlation; ``cuts`` and ``curve``, how nearly column and target
are functions of each other (`e2i_fs.quality.leakage.shapes`).
"""

from __future__ import annotations

from typing import Any

from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.likeness import by_bins, by_groups, by_order, by_rank
from e2i_fs.quality.leakage.question import Question
from e2i_fs.quality.leakage.report import Check, Finding
from e2i_fs.quality.leakage.shapes import by_curve, by_cuts
from e2i_fs.quality.leakage.subject import Subject, Unjudgeable, as_number, kind_of
from e2i_fs.quality.leakage.words import in_words, is_prose
from e2i_fs.quality.outcome import Outcome

__all__ = ["target_checks"]

_COPY, _MISSING, _KEY = "target in columns", "target in missingness", "target in keys"
_LEAST_IDS = 12
_MOST_COARSENED = 10
"""Classes of a target, above which they may be the levels of a few entities, which then tell all that is the entities' own."""
_ENOUGH = {"groups": 0.94, "order": 0.98, "rank": 0.99, "cuts": 0.98, "curve": 0.965}
_ENOUGH_OF_HONEST = {"groups": 0.98, "order": 0.998, "rank": 0.9995, "cuts": 0.998, "curve": 0.995}


def target_checks(bench: Bench, question: Question, honest: frozenset[str]) -> list[Check]:
    """Return the checks of single columns against the target."""
    assert question.target is not None
    target = question.target
    names = (_COPY, _MISSING, _KEY)
    try:
        subject = Subject.of(bench, target)
    except Unjudgeable as reason:
        return [Check(name, Outcome.INCONCLUSIVE, str(reason)) for name in names]
    found: dict[str, list[Finding]] = {name: [] for name in names}
    unjudged: list[str] = []
    known = _counts(bench, question.inputs)
    for name in question.inputs:
        column, given = bench.names[name], bench.types[bench.names[name]]
        present = known[name]
        missing = subject.rows - present
        if not present or kind_of(given) == "other":
            unjudged.append(name)
            continue
        enough = _ENOUGH_OF_HONEST if name in honest else _ENOUGH
        copied = _copy(bench, subject, column, given, enough)
        if not copied and subject.classes and kind_of(given) == "text" and is_prose(bench, column):
            copied = in_words(bench, column, enough["groups"])
        if copied:
            found[_COPY].append(_finding(LeakKind.TARGET_COPY, name, target, present, copied))
        elif kind_of(given) == "text" and (told := _in_text(bench, subject, column)):
            found[_KEY].append(_finding(LeakKind.TARGET_IN_KEY, name, target, present, told))
        if missing and (told := _missingness(bench, subject, _known(column, given))):
            found[_MISSING].append(_finding(LeakKind.TARGET_IN_MISSINGNESS, name, target, missing, told))
    for name in question.known_keys:
        column, given = bench.names[name], bench.types[bench.names[name]]
        told = (
            _in_text(bench, subject, column) if kind_of(given) == "text" else _in_number(bench, subject, column, given)
        )
        if told:
            found[_KEY].append(_finding(LeakKind.TARGET_IN_KEY, name, target, subject.rows, told))
    why = f"{', '.join(unjudged)}: all missing, or nested" if unjudged else ""
    return [_check(name, found[name], why if name == _COPY else "") for name in names]


def _check(name: str, found: list[Finding], why: str) -> Check:
    outcome = Outcome.FAILED if found else Outcome.INCONCLUSIVE if why else Outcome.PASSED
    return Check(name, outcome, f"not judged: {why}" if why else "", tuple(found))


def _counts(bench: Bench, names: list[str]) -> dict[str, int]:
    """Return how many values of each column are there."""
    if not names:
        return {}
    counted = ", ".join(f"count({_known(bench.names[n], bench.types[bench.names[n]])})" for n in names)
    return dict(zip(names, bench.row_of(f"SELECT {counted} FROM s"), strict=True))


def _known(column: str, given: Any) -> str:
    """Return SQL for a column, NULL where it is NaN: to pandas they are one."""
    return f"CASE WHEN isnan({column}) THEN NULL ELSE {column} END" if str(given) in ("float", "double") else column


def _copy(bench: Bench, subject: Subject, column: str, given: Any, enough: dict[str, float]) -> str:
    """Return how a column tells the target, in words, or ''."""
    value = _known(column, given)
    number = as_number(column, given)
    if subject.classes:
        groups = by_groups(bench, value, "y")
        if groups >= enough["groups"]:
            return f"knowing it leaves {1 - groups:.1%} of the errors of guessing: it is the target in other words"
        if subject.binary:
            order = by_order(bench, number, "y = (SELECT min(y) FROM s)")
            if order >= enough["order"]:
                return f"it ranks the two classes apart (AUC {(1 + order) / 2:.4f}): it is computed from the target"
        else:
            piece = _piece(bench, value, enough["groups"])
            if piece is not None:
                return f"it says whether the target is {piece!r}: a piece of the target, one-hot encoded"
            coarser = by_groups(bench, "y", value, where=f"({value}) IS NOT NULL")
            if subject.classes <= _MOST_COARSENED and coarser >= enough["groups"]:
                return f"the target tells it ({coarser:.1%} of the errors of guessing vanish): it is the target in fewer classes"
        bins = by_bins(bench, number, "y")
        if bins >= enough["groups"]:
            return f"its ranges hold one class each ({bins:.1%} of the errors of guessing vanish): it is computed from the target"
    if subject.numeric:
        rank = by_rank(bench, number)
        if rank >= enough["rank"]:
            return (
                f"it orders the rows as the target does (rank correlation {rank:.4f}): it is computed from the target"
            )
    if subject.numeric and not subject.classes:
        if by_cuts(bench, value) >= enough["cuts"]:
            return "each of its values is one stretch of the target, cut in the midst of the rows: it is computed from the target"
        curve = by_curve(bench, number)
        if curve >= enough["curve"]:
            return f"one is a function of the other, to the finest scale (Chatterjee's coefficient {curve:.4f}): it is computed from the target"
    return ""


def _piece(bench: Bench, value: str, enough: float) -> str | None:
    """Return the class that a column with two values tells from all others, if it does."""
    (values,) = bench.row_of(f"SELECT count(DISTINCT {value}) FROM s")
    if values != 2:
        return None
    for (name,) in bench.rows_of("SELECT y FROM s GROUP BY y HAVING count(*) >= 8 ORDER BY y"):
        told = by_groups(bench, value, "y = '{}'".format(str(name).replace("'", "''")))
        if told >= enough:
            return str(name)
    return None


def _missingness(bench: Bench, subject: Subject, value: str) -> str:
    holes = f"(({value}) IS NULL)"
    enough = _ENOUGH["groups"]
    if subject.classes:
        told = by_groups(bench, holes, "y")
        if told < enough and not subject.binary:
            for (name,) in bench.rows_of("SELECT y FROM s GROUP BY y HAVING count(*) >= 8 ORDER BY y"):
                told = max(told, by_groups(bench, holes, "y = '{}'".format(str(name).replace("'", "''"))))
        if told >= enough:
            return f"whether it is missing tells the target ({told:.1%} of the errors of guessing vanish)"
    if subject.numeric and by_order(bench, "yn", holes) >= _ENOUGH["order"]:
        return "it is missing exactly where the target is high, or low"
    return ""


def _in_text(bench: Bench, subject: Subject, column: str) -> str:
    """Return which part of a text (an id, say) tells the target, or ''. One text stands for its rows once."""
    whole = f"(SELECT {column} AS id, mode(y) AS y, avg(yn) AS yn FROM s WHERE {column} IS NOT NULL GROUP BY 1)"
    bench.run(f"CREATE OR REPLACE TEMP TABLE ids AS {whole}")
    pieces = {
        "what stands before its first number": r"regexp_replace(id, '[0-9].*$', '', 's')",
        "what stands after its last number": r"regexp_replace(id, '^.*[0-9]', '', 's')",
        "its first letter": "left(id, 1)",
        "its last letter": "right(id, 1)",
        "whether its number is odd": r"TRY_CAST(regexp_extract(id, '([0-9]+)', 1) AS BIGINT) % 2",
        "whether its last number is odd": r"TRY_CAST(regexp_extract(id, '([0-9]+)[^0-9]*$', 1) AS BIGINT) % 2",
    }
    return _of_ids(bench, subject, pieces, r"TRY_CAST(regexp_extract(id, '([0-9]+)', 1) AS DOUBLE)")


def _in_number(bench: Bench, subject: Subject, column: str, given: Any) -> str:
    number = as_number(column, given)
    bench.run(f"""
        CREATE OR REPLACE TEMP TABLE ids AS
        SELECT {number} AS id, mode(y) AS y, avg(yn) AS yn FROM s WHERE {column} IS NOT NULL GROUP BY 1""")
    return _of_ids(bench, subject, {"whether it is odd": "id % 2", "its last digit": "id % 10"}, "id")


def _of_ids(bench: Bench, subject: Subject, pieces: dict[str, str], number: str) -> str:
    if bench.row_of("SELECT count(*) FROM ids")[0] < 2 * _LEAST_IDS:
        return ""
    bench.run("ALTER TABLE s RENAME TO all_rows")
    bench.run("ALTER TABLE ids RENAME TO s")
    try:
        for words, sql in pieces.items():
            if subject.classes and by_groups(bench, sql, "y", least=_LEAST_IDS) >= _ENOUGH["groups"]:
                return f"{words} tells the target: an id that encodes the outcome"
        if (
            subject.binary
            and by_order(bench, number, "y = (SELECT min(y) FROM s)", least=_LEAST_IDS) >= _ENOUGH["order"]
        ):
            return "its number ranks the two classes apart: ids were given in the order of the outcome"
        if subject.numeric and not subject.classes and by_rank(bench, number) >= _ENOUGH["rank"]:
            return "its number orders the rows as the target does: ids were given in the order of the outcome"
        return ""
    finally:
        bench.run("ALTER TABLE s RENAME TO ids")
        bench.run("ALTER TABLE all_rows RENAME TO s")


def _finding(kind: LeakKind, name: str, target: str, cells: int, how: str) -> Finding:
    message = f"The column {name!r} gives the target {target!r} away: {how}. Leave it out, or compute it from what was known before."
    return Finding(kind, message, name, cells)
