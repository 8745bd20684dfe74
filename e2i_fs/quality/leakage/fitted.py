"""Figures that were computed over more than the training rows: a scale, a range, a fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa

from e2i_fs.quality.leakage.bench import Bench
from e2i_fs.quality.leakage.kinds import LeakKind
from e2i_fs.quality.leakage.parts import Parts
from e2i_fs.quality.leakage.question import Question
from e2i_fs.quality.leakage.report import Check, Finding
from e2i_fs.quality.leakage.subject import as_number, kind_of
from e2i_fs.quality.outcome import Outcome

__all__ = ["fitted_on_test"]

_NAME = "fitted on test"
_LEAST = 20
_MOST_SPLITS = 5
_SAME, _OTHER = (
    1e-5,
    1e-4,
)  # a figure is met to 5 digits, and missed by 4: of two sets of rows both do not happen by chance


@dataclass(frozen=True, slots=True)
class _Figures:
    """What a column is over some of the rows. ``rest`` and ``middle`` leave its commonest value out."""

    rows: int
    mean: float
    spread: tuple[float, float]
    low: float
    high: float
    rest: float | None
    middle: float | None

    @property
    def standard(self) -> float:
        """How far mean and spread are from 0 and 1."""
        return max(abs(self.mean), min(abs(s - 1) for s in self.spread))


def fitted_on_test(bench: Bench, question: Question, parts: Parts) -> Check:
    """Find columns whose scale or fill was fitted on other rows than the first split's.

    All rows are tried, and every union of splits that has another than the first, the smallest first: whoever keeps a
    holdout back has still fitted on the test.
    """
    if parts.rows[0] is None or len(parts.rows[0]) < _LEAST:
        return Check(_NAME, Outcome.INCONCLUSIVE, f"the first split has fewer than {_LEAST} rows")
    members = [(n, rows) for n, rows in enumerate(parts.rows) if rows is not None]
    pieces = [
        pa.table({"row": pa.array(rows, pa.int64()), "part": pa.array([n] * len(rows), pa.int64())})
        for n, rows in members
    ]
    bench.put("membership", pa.concat_tables(pieces))
    wider = {"all rows": "true", **_unions(parts.names, [n for n, _ in members])}
    found = []
    for name in question.inputs:
        column = bench.names[name]
        if kind_of(bench.types[column]) != "number":
            continue
        number = as_number(column, bench.types[column])
        values, common, whole, times, ends = bench.row_of(f"""
            SELECT count(DISTINCT v), mode(v), bool_and(v = floor(v)), count(*) FILTER (v = (SELECT mode({number}) FROM x)),
                   count(*) FILTER (v = (SELECT min({number}) FROM x) OR v = (SELECT max({number}) FROM x))
            FROM (SELECT {number} AS v FROM x) WHERE v IS NOT NULL""")
        if values < 10:
            continue
        train = _figures(bench, number, "row IN (SELECT row FROM membership WHERE part = 0)", common)
        if train is None:
            continue
        for over, where in wider.items():
            figures = _figures(bench, number, where, common)
            how = figures and _how(train, figures, common, times, values, ends, bench.rows, whole=whole)
            if how:
                message = (
                    f"The column {name!r} is {how} over {over}, not over {parts.names[0]!r} alone, so its training rows know the others'. "
                    f"Fit on {parts.names[0]!r}, then apply: a scikit-learn Pipeline does."
                )
                found.append(Finding(LeakKind.FITTED_ON_TEST, message, name, bench.rows))
                break
    return Check(_NAME, Outcome.FAILED if found else Outcome.PASSED, "", tuple(found))


def _unions(names: Sequence[str], members: Sequence[int]) -> dict[str, str]:
    """Return SQL for the rows of each union of splits that is not the first alone, by its words.

    Of more than five splits (folds, say) only the pairs, the singles and what leaves one out: all would be too many.
    """
    sizes = range(1, len(members) + 1) if len(members) <= _MOST_SPLITS else (1, 2, len(members) - 1, len(members))
    found = {}
    for chosen in (c for size in sizes for c in combinations(members, size) if c != (0,)):
        words = [names[n] for n in chosen]
        said = f"{words[0]} alone" if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
        listed = ", ".join(str(n) for n in chosen)
        found[said] = f"row IN (SELECT row FROM membership WHERE part IN ({listed}))"
    return found


def _figures(bench: Bench, number: str, where: str, common: float) -> _Figures | None:
    rows, mean, pop, samp, low, high, rest, middle = bench.row_of(f"""
        SELECT count(v), avg(v), stddev_pop(v), stddev_samp(v), min(v), max(v), avg(v) FILTER (v != {common!r}), median(v) FILTER (v != {common!r})
        FROM (SELECT {number} AS v FROM x WHERE {where})""")
    return None if rows < _LEAST else _Figures(rows, mean, (pop, samp), low, high, rest, middle)


def _how(
    train: _Figures, wide: _Figures, common: float, times: int, values: int, ends: int, rows: int, *, whole: bool
) -> str:
    """Return which figure of the wider rows a column shows, that is not the training rows' own, or ''.

    The mean of ``whole`` numbers is their commonest by chance often enough to prove no fill: of twenty counts, one time in a hundred.
    """
    if wide.standard < _SAME and train.standard > _OTHER:
        return "standardised (mean 0, deviation 1)"
    # A share lies between 0 and 1 by nature; but then its ends are not met exactly once each.
    if wide.low == 0 and wide.high == 1 and ends == 2 and values >= 50 and (train.low > 0 or train.high < 1):
        return "scaled to the range 0 to 1"
    if times >= 5 and times >= rows / 200 and values > 20:
        if not whole and _near(wide.rest, common) and not _near(train.rest, common, _OTHER):
            return f"filled with the mean ({common:g})"
        if values >= (rows - times) / 2 and _near(wide.middle, common) and not _near(train.middle, common, _OTHER):
            return f"filled with the median ({common:g})"
    return ""


def _near(figure: float | None, value: float, within: float = 1e-6) -> bool:
    return figure is not None and abs(figure - value) <= within * max(abs(value), 1e-9)
