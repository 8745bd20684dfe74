"""Each expectation against the rows: how many break it, which, and how that ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import duckdb

from e2i_fs.errors import RequestError
from e2i_fs.quality.duplicates import Distinct, distinct_rows
from e2i_fs.quality.expectations import Expectation
from e2i_fs.quality.outcome import Outcome
from e2i_fs.quality.plain import reading, several
from e2i_fs.quality.predicates import broken, looked_at
from e2i_fs.quality.rows import Rows, counting

__all__ = ["ExpectationResult", "count_figures", "judged", "judged_by_itself"]


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """The outcome of one expectation.

    Of ``observed`` rows examined, ``offending`` ones break it; ``examples`` are the positions, from 0, of the first
    few. With the outcome ``ERROR``, ``message`` has the error's text. ``blocking`` says that all of it is also among
    the report's blocking issues.

    >>> from e2i_fs.quality import QCReport, in_range
    >>> report = QCReport.of({"trx_count": [3, -1, None]}, expectations=[in_range("trx_count", min=0)])
    >>> (result,) = report.expectation_results
    >>> result.outcome.value, result.observed, result.offending, result.examples
    ('failed', 2, 1, (1,))
    """

    expectation: Expectation
    outcome: Outcome
    observed: int = 0
    offending: int = 0
    examples: tuple[int, ...] = ()
    message: str = ""
    blocking: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value that `from_dict` reads."""
        return {
            "expectation": self.expectation.to_dict(), "outcome": self.outcome.value, "observed": self.observed,
            "offending": self.offending, "examples": list(self.examples), "message": self.message,
            "blocking": self.blocking,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> ExpectationResult:
        """Return the result that `to_dict` wrote. Raises `RequestError` for anything else."""
        with reading("result of an expectation", form, [f.name for f in fields(cls)]):
            known = {name: form[name] for name in ("observed", "offending", "message", "blocking")}
            expectation, outcome = Expectation.from_dict(form["expectation"]), Outcome(form["outcome"])
            return cls(expectation, outcome, examples=tuple(form["examples"]), **known)


def judged_by_itself(rows: Rows, expectation: Expectation, there: frozenset[str]) -> ExpectationResult | None:
    """Return the result of an expectation that needs no counting in the one pass, or None.

    That is one about the number of rows, about a column that is not there, or that makes no sense for its column.
    """
    if expectation.kind == "row_count_between":
        low, high = expectation.parameters["min"], expectation.parameters["max"]
        fits = low <= rows.count and (high is None or rows.count <= high)
        limit = f"at least {low:,}" if high is None else f"{low:,} to {high:,}"
        said = "" if fits else f"The frame has {several(rows.count, 'row')}; expected are {limit}."
        return ExpectationResult(expectation, _ended(expectation, broke=not fits), rows.count, 0, (), said)
    absent = [name for name in expectation.columns if name not in rows.columns]
    if absent:
        # What a view or the caller requires is the data's fault; what only an expectation names may be misspelt there.
        known = there.issuperset(absent)
        outcome = Outcome.FAILED if known else Outcome.ERROR
        return ExpectationResult(expectation, outcome, message=rows.unknown(absent[0]), blocking=known)
    if expectation.kind == "in_time" and rows.columns[expectation.columns[0]].kind not in ("time", "date", "null"):
        column = rows.columns[expectation.columns[0]]
        said = f"Column {column.name!r} is {column.type}, not times, so the age of rows cannot be judged."
        return ExpectationResult(expectation, Outcome.FAILED, message=said, blocking=True)
    if expectation.kind != "unique":
        try:
            broken(expectation, rows.columns)
        except RequestError as error:
            return ExpectationResult(expectation, Outcome.ERROR, message=str(error))
    return None


def count_figures(rows: Rows, expectation: Expectation) -> dict[str, str]:
    """Return the aggregates that count for an expectation: rows looked at, and rows that break it."""
    if expectation.kind == "unique":
        return {}
    looked = looked_at(expectation, rows.columns)
    return {
        "observed": counting(looked),
        "offending": counting(f"{looked} AND {broken(expectation, rows.columns)}"),
    }


def judged(rows: Rows, expectation: Expectation, found: Mapping[str, Any]) -> ExpectationResult:
    """Return the result of an expectation from what its figures came to."""
    if expectation.kind == "unique":
        counted = distinct_rows(rows, [rows.columns[n] for n in expectation.columns], whole=False)
        return from_distinct(expectation, counted)
    for value in found.values():
        if isinstance(value, duckdb.Error):
            said = f"{expectation!r} cannot be judged: {str(value).partition(chr(10))[0]}"
            return ExpectationResult(expectation, Outcome.ERROR, message=said)
    observed, offending = found["observed"], found["offending"]
    examples: tuple[int, ...] = ()
    if offending:
        examples = rows.where(f"{looked_at(expectation, rows.columns)} AND {broken(expectation, rows.columns)}")
    return _result(expectation, observed, offending, examples)


def from_distinct(expectation: Expectation, counted: Distinct) -> ExpectationResult:
    """Return the result of a `unique` expectation."""
    return _result(expectation, counted.rows, counted.repeated, counted.examples)


def _result(expectation: Expectation, observed: int, offending: int, examples: tuple[int, ...]) -> ExpectationResult:
    if not observed:
        said = f"{expectation!r} cannot be judged: there is no value to look at."
        return ExpectationResult(expectation, Outcome.INCONCLUSIVE, 0, 0, (), said)
    broke = (observed - offending) / observed < expectation.mostly
    said = ""
    if offending:
        rows = ", ".join(str(r) for r in examples)
        said = f"{expectation!r}: {offending:,} of {several(observed, 'row')} break it, first at {rows}."
    return ExpectationResult(expectation, _ended(expectation, broke=broke), observed, offending, examples, said)


def _ended(expectation: Expectation, *, broke: bool) -> Outcome:
    if not broke:
        return Outcome.PASSED
    return Outcome.WARNING if expectation.severity == "warn" else Outcome.FAILED
