"""One frame examined: everything that is counted of it, in one pass and a few small ones, before anybody judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from e2i_fs.pit.fit import time_sql
from e2i_fs.quality.asked import Asked
from e2i_fs.quality.duplicates import Distinct, distinct_rows
from e2i_fs.quality.expectations import Expectation
from e2i_fs.quality.judging import ExpectationResult, count_figures, judged, judged_by_itself
from e2i_fs.quality.moments import moments
from e2i_fs.quality.outcome import Outcome
from e2i_fs.quality.predicates import broken
from e2i_fs.quality.profile import ColumnProfile, figures, profile_of
from e2i_fs.quality.rows import Column, Rows, counting
from e2i_fs.quality.texts import Texts, texts_of

__all__ = ["Examined", "examined"]

_VALIDITY = ("in_range", "in_set", "matches", "has_dtype")


@dataclass(frozen=True, slots=True)
class Examined:
    """What was counted. ``invalid`` and ``texts`` are by column; ``identity`` is None when there is no key to count by."""

    rows: int
    profiles: tuple[ColumnProfile, ...]
    results: tuple[ExpectationResult, ...]
    invalid: dict[str, int]
    texts: dict[str, Texts]
    identity: Distinct | None
    future: int
    future_examples: tuple[int, ...]


def examined(rows: Rows, asked: Asked, latest_us: int) -> Examined:
    """Count everything that ``asked`` needs of ``rows``; a time after ``latest_us`` is in the future."""
    there = frozenset(asked.there)
    results = {e: judged_by_itself(rows, e, there) for e in asked.expectations}
    open_ = [e for e, result in results.items() if result is None]
    wanted: dict[tuple[str, object, str], str] = {}
    for name, column in rows.columns.items():
        wanted |= {("column", name, figure): sql for figure, sql in figures(column).items()}
        wanted["invalid", name, ""] = _invalid_sql(column, rows, [e for e in open_ if _about(e, name)])
    for i, e in enumerate(open_):
        wanted |= {("expectation", i, figure): sql for figure, sql in count_figures(rows, e).items()}
    late = _future_sql(rows, asked, latest_us)
    wanted["future", "", ""] = counting(late)
    found = rows.measure(wanted)
    for i, e in enumerate(open_):
        results[e] = judged(rows, e, {f: v for (what, key, f), v in found.items() if (what, key) == ("expectation", i)})
    invalid = {}
    for name, column in rows.columns.items():
        count = found["invalid", name, ""]
        if isinstance(count, duckdb.Error):  # an expectation that errs has failed by itself; the others still count
            left = [e for e in open_ if _about(e, name) and _ended(results[e]) is not Outcome.ERROR]
            count = rows.measure({"": _invalid_sql(column, rows, left)})[""]
        invalid[name] = count
    texts = {
        n: texts_of(rows, c, found["column", n, "present"], found["column", n, "distinct"], is_key=n in asked.keys)
        for n, c in rows.columns.items()
        if c.kind == "text"
    }
    profiles = _profiles(rows, found, texts)
    future = found["future", "", ""]
    if isinstance(
        future, duckdb.Error
    ):  # a time that no calendar has: that its age cannot be judged is an error of its own
        future = 0
    return Examined(
        rows.count,
        tuple(profiles),
        tuple(_marked(r, asked, profiles, future) for r in results.values() if r is not None),
        invalid,
        texts,
        _identity(rows, asked, results),
        future,
        rows.where(late) if future else (),
    )


def _about(expectation: Expectation, column: str) -> bool:
    return expectation.kind in _VALIDITY and expectation.columns == (column,)


def _ended(result: ExpectationResult | None) -> Outcome | None:
    return None if result is None else result.outcome


def _marked(
    result: ExpectationResult, asked: Asked, profiles: Sequence[ColumnProfile], future: int
) -> ExpectationResult:
    """Return a result, marked if all that breaks it is told as a blocking issue: missing in a required column, or future."""
    e = result.expectation
    told = e.kind == "not_null" and e.columns[0] in asked.required
    if e.kind == "in_time" and result.offending:
        told = result.offending == future + sum(p.missing for p in profiles if p.name == e.columns[0])
    return replace(result, blocking=True) if told and result.offending else result


def _invalid_sql(column: Column, rows: Rows, expectations: Sequence[Expectation]) -> str:
    wrong = [f"NOT {column.finite}"] if column.real else []
    wrong += [broken(e, rows.columns) for e in expectations]
    return counting(f"{column.sql} IS NOT NULL AND ({' OR '.join(wrong) or 'false'})")


def _future_sql(rows: Rows, asked: Asked, latest_us: int) -> str:
    column = rows.columns.get(asked.timestamp_column or "")
    if column is None or column.kind not in ("time", "date"):
        return "false"
    return f"{time_sql(column.sql, column.inner)} > {latest_us}"


def _profiles(
    rows: Rows, found: Mapping[tuple[str, object, str], Any], texts: Mapping[str, Texts]
) -> list[ColumnProfile]:
    own: dict[str, dict[str, Any]] = {name: {} for name in rows.columns}
    for (what, name, figure), value in found.items():
        if what == "column":
            own[str(name)][figure] = value
    for name, (mean, std) in moments(rows, {n: f for n, f in own.items() if rows.columns[n].kind == "number"}).items():
        own[name] |= {"mean": mean, "std": std}
    return [profile_of(column, rows.count, own[name], texts.get(name)) for name, column in rows.columns.items()]


def _identity(rows: Rows, asked: Asked, results: Mapping[Expectation, ExpectationResult | None]) -> Distinct | None:
    if not asked.keys:
        return distinct_rows(rows, list(rows.columns.values()), whole=True)
    for e, result in results.items():
        if e.kind == "unique" and e.columns == asked.keys and result is not None and result.observed:
            return Distinct(result.observed, result.observed - result.offending, result.examples)
    return None
