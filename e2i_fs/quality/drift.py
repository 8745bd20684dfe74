"""New data against a stored baseline: has it drifted, feature by feature."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from e2i_fs.frozen import FrozenMap
from e2i_fs.quality.distribution import Distribution, measured
from e2i_fs.quality.figures import CategoricalFigures, NumericFigures
from e2i_fs.quality.outcome import Outcome, worst
from e2i_fs.quality.plain import literal, reading
from e2i_fs.quality.rows import Column, Rows, opened
from e2i_fs.quality.thresholds import (
    DriftThresholds,
    ended,
    ks_by_chance,
    psi_by_chance,
    rate_by_chance,
    thresholds_of,
)

if TYPE_CHECKING:
    from e2i_fs.quality.baseline import BaselineMetrics

__all__ = ["DriftCheck", "DriftReport", "FeatureDrift", "drift_of", "index"]

FEW = 20  # numbers of at most so many values are compared value by value
CHANCE = 0.001


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """One comparison with the baseline: ``value`` is the size of the change.

    ``by_chance`` is the size that unchanged data exceeds once in a thousand times. ``kind`` is ``psi``, ``ks``,
    ``missing_rate`` (NULL and NaN), ``infinite_rate``, ``new_categories``, ``constant`` (all values are now the same),
    ``vanished`` (the column is gone) or ``kind_changed`` (numbers have become text, for instance).

    >>> from e2i_fs.quality import BaselineMetrics
    >>> drift = BaselineMetrics.of({"tier": ["A", "B"] * 500}).drift({"tier": ["A", "C"] * 500})
    >>> (check,) = (check for check in drift.features["tier"].checks if check.kind == "new_categories")
    >>> check.outcome.value, check.value, check.message
    ('failed', 0.5, "'tier' has new categories in 50.0% of its values, such as 'C'.")
    """

    kind: str
    outcome: Outcome
    value: float | None = None
    by_chance: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """All comparisons of one feature.

    >>> from e2i_fs.quality import BaselineMetrics
    >>> drift = BaselineMetrics.of({"tier": ["A", "B"] * 500}).drift({"tier": ["A", "C"] * 500})
    >>> told = drift.features["tier"]
    >>> told.outcome.value, {check.kind: check.outcome.value for check in told.checks}
    ('failed', {'psi': 'failed', 'new_categories': 'failed', 'missing_rate': 'passed'})
    """

    feature: str
    checks: tuple[DriftCheck, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst of the checks."""
        return worst(c.outcome for c in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """How far data has drifted from a baseline; made by `BaselineMetrics.drift`.

    ``new_columns`` are in the frame but not in the baseline; they are reported and not judged.

    >>> from e2i_fs.quality import BaselineMetrics
    >>> baseline = BaselineMetrics.of({"calls": list(range(40)) * 25, "tier": ["A", "B"] * 500})
    >>> drift = baseline.drift({"calls": list(range(15, 55)) * 25, "tier": ["A", "B"] * 500})
    >>> drift.outcome.value, drift.drifted
    ('failed', ('calls',))
    >>> print(drift.messages[0])
    'calls' has drifted: psi 2.270, where 0.1 warns and 0.25 fails.
    """

    features: Mapping[str, FeatureDrift]
    row_count: int
    training_samples: int
    new_columns: tuple[str, ...]
    thresholds: DriftThresholds
    compared_at: datetime

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of all features; INCONCLUSIVE when the baseline has none."""
        return worst(f.outcome for f in self.features.values())

    @property
    def messages(self) -> tuple[str, ...]:
        """A sentence for each check that did not pass, the worst first."""
        found = [c for f in self.features.values() for c in f.checks if c.outcome is not Outcome.PASSED]
        order = list(Outcome)
        return tuple(c.message for c in sorted(found, key=lambda c: -order.index(c.outcome)))

    @property
    def drifted(self) -> tuple[str, ...]:
        """The features for which a check failed."""
        return tuple(name for name, f in self.features.items() if f.outcome.failed)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value that `from_dict` reads."""
        return {
            "outcome": self.outcome.value,
            "drifted": list(self.drifted),
            "features": {name: [asdict(c) for c in f.checks] for name, f in self.features.items()},
            "row_count": self.row_count,
            "training_samples": self.training_samples,
            "new_columns": list(self.new_columns),
            "thresholds": asdict(self.thresholds),
            "compared_at": self.compared_at.isoformat(),
        }

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> DriftReport:
        """Return the report that `to_dict` wrote. Raises `RequestError` for anything else."""

        def check(c: Any) -> DriftCheck:
            with reading("drift check", c, [f.name for f in fields(DriftCheck)]):
                return DriftCheck(c["kind"], Outcome(c["outcome"]), c["value"], c["by_chance"], c["message"])

        with reading("drift report", form, [f.name for f in fields(cls)]):
            by_feature = form["features"].items()
            return cls(
                features=FrozenMap(
                    {name: FeatureDrift(name, tuple(map(check, checks))) for name, checks in by_feature}
                ),
                row_count=form["row_count"],
                training_samples=form["training_samples"],
                new_columns=tuple(form["new_columns"]),
                thresholds=DriftThresholds(**form["thresholds"]),
                compared_at=datetime.fromisoformat(form["compared_at"]),
            )


def drift_of(
    baseline: BaselineMetrics, frame: Any, thresholds: DriftThresholds | Mapping[str, float] | None, now: datetime
) -> DriftReport:
    """Compare a frame with a baseline."""
    limits = thresholds_of(thresholds)
    features: dict[str, NumericFigures | CategoricalFigures] = {**baseline.numeric, **baseline.categorical}
    with opened(frame) as rows:
        usable = {n: f for n, f in features.items() if _same_kind(f, rows.columns.get(n))}
        numeric = {n: f for n, f in usable.items() if isinstance(f, NumericFigures)}
        spread = measured(rows, {n: f.distribution.points for n, f in numeric.items()})
        present = rows.measure({n: f"count({rows.columns[n].sql})" for n in usable})
        ends = {n: (f"min({rows.columns[n].sql})", f"max({rows.columns[n].sql})") for n in usable}
        found = rows.measure({(n, i): sql for n, pair in ends.items() for i, sql in enumerate(pair)})
        made = {}
        for name, figures in features.items():
            column = rows.columns.get(name)
            if name not in usable or column is None:
                made[name] = FeatureDrift(name, (_gone(name, figures, column),))
                continue
            missing = _missing(name, figures, baseline.training_samples, rows.count - present[name], rows.count, limits)
            one = found[name, 0] == found[name, 1] and present[name] > 0
            if isinstance(figures, NumericFigures):
                infinite = present[name] - spread[name].count
                checks = (
                    *_numeric(name, figures.distribution, spread[name], limits),
                    _infinite(name, figures, baseline.training_samples, infinite, rows.count, limits),
                )
                varied, largest = figures.min != figures.max, figures.distribution.largest
            else:
                checks = _categorical(name, figures, rows, column, present[name], limits)
                varied, largest = figures.unique_count > 1, figures.frequency or 1.0
            made[name] = FeatureDrift(name, (*checks, missing, *_constant(name, one, varied, largest, present[name])))
        known = {*features, *baseline.skipped, baseline.target}
        return DriftReport(
            features=FrozenMap(made), row_count=rows.count, training_samples=baseline.training_samples,
            new_columns=tuple(n for n in rows.columns if n not in known), thresholds=limits, compared_at=now,
        )  # fmt: skip


def index(expected: Sequence[int], found: Sequence[int]) -> float:
    """Return the population stability index of two histograms over the same bins; an empty bin counts as half a row.

    >>> round(index([50, 50], [80, 20]), 4)
    0.4159
    """
    total, other = sum(expected), sum(found)
    shares = [(max(e, 0.5) / total, max(f, 0.5) / other) for e, f in zip(expected, found, strict=True)]
    return sum((f - e) * math.log(f / e) for e, f in shares)


def _same_kind(figures: NumericFigures | CategoricalFigures, column: Column | None) -> bool:
    """Return whether a column can be compared at all; one without a type, all missing, can."""
    if column is None:
        return False
    if column.kind == "null":
        return True
    if isinstance(figures, NumericFigures):
        return column.kind == "number"
    kinds = {"bool" if isinstance(value, bool) else "text" for value, _ in figures.counts}
    return column.kind in (kinds or {"bool", "text"})


def _gone(name: str, figures: NumericFigures | CategoricalFigures, column: Column | None) -> DriftCheck:
    if column is None:
        return DriftCheck("vanished", Outcome.FAILED, message=f"{name!r} is not there any more.")
    was = "numbers" if isinstance(figures, NumericFigures) else "classes"
    return DriftCheck("kind_changed", Outcome.FAILED, message=f"{name!r} was {was} and is {column.type} now.")


def _numeric(name: str, was: Distribution, now: Distribution, limits: DriftThresholds) -> tuple[DriftCheck, ...]:
    if not was.count or not now.count:
        return tuple(_nothing(name, kind) for kind in ("psi", "ks"))
    expected, found = _bins(was, now)
    psi, difference = index(expected, found), _largest_difference(was, now)
    chance, ks_chance = psi_by_chance(len(expected), was.count, now.count), ks_by_chance(was.count, now.count)
    return (
        _check("psi", name, psi, chance, limits.psi_warn, limits.psi_fail),
        _check("ks", name, difference, ks_chance, limits.ks_warn, limits.ks_fail),
    )


def _bins(was: Distribution, now: Distribution) -> tuple[list[int], list[int]]:
    """Return both histograms over the baseline's own bins: its values where they are few, else its tenths."""
    if was.exact and len(was.points) <= FEW:
        both = [[u - b for u, b in zip(d.upto, d.below, strict=True)] for d in (was, now)]
        expected, found = both
        return [*expected, 0], [*found, now.count - sum(found)]
    tenths = sorted({_at_share(was, i / 10) for i in range(1, 10)})
    cuts = [[0, *(d.upto[i] for i in tenths), d.count] for d in (was, now)]
    expected, found = ([b - a for a, b in itertools.pairwise(c)] for c in cuts)
    return expected, found


def _at_share(d: Distribution, share: float) -> int:
    """Return the position of the first point up to which at least ``share`` of the values lie."""
    return next(i for i, upto in enumerate(d.upto) if upto >= share * d.count - 1e-9)


def _largest_difference(was: Distribution, now: Distribution) -> float:
    """Return the largest difference of the distribution functions, at the baseline's points and just below them.

    Where the baseline is exact that is Kolmogorov and Smirnov's, else at most half a per cent less.
    """
    at = zip((*was.below, *was.upto), (*now.below, *now.upto), strict=True)
    return max(abs(a / was.count - b / now.count) for a, b in at)


def _categorical(
    name: str, was: CategoricalFigures, rows: Rows, column: Column, present: int, limits: DriftThresholds
) -> tuple[DriftCheck, ...]:
    if not was.count or not present:
        return tuple(_nothing(name, kind) for kind in ("psi", "new_categories"))
    known = ", ".join(literal(value) for value, _ in was.counts)
    c = column.sql
    grouped = f"SELECT {c} AS v, count(*) AS n FROM {rows.relation} WHERE {c} IS NOT NULL GROUP BY {c}"
    now: dict[Any, int] = dict(rows.fetch(f"SELECT v, n FROM ({grouped}) WHERE v IN ({known})"))
    rest = present - sum(now.values())
    expected = [*(n for _, n in was.counts), was.count - sum(n for _, n in was.counts)]
    found = [*(now.get(value, 0) for value, _ in was.counts), rest]
    chance = psi_by_chance(len(expected), was.count, present)
    psi = _check("psi", name, index(expected, found), chance, limits.psi_warn, limits.psi_fail)
    if not was.complete:
        said = f"{name!r} has {was.unique_count:,} categories, too many to keep, so new ones cannot be told."
        return psi, DriftCheck("new_categories", Outcome.INCONCLUSIVE, message=said)
    if not rest:
        return psi, DriftCheck("new_categories", Outcome.PASSED, 0.0, 0.0)
    first = rows.fetch(f"SELECT v FROM ({grouped}) WHERE v NOT IN ({known}) ORDER BY n DESC, v LIMIT 3")
    share = rest / present
    outcome = ended(share, 0.0, limits.new_warn, limits.new_fail)
    said = f"{name!r} has new categories in {share:.1%} of its values, such as {', '.join(repr(v) for (v,) in first)}."
    return psi, DriftCheck("new_categories", outcome, share, 0.0, said if outcome is not Outcome.PASSED else "")


def _missing(
    name: str,
    was: NumericFigures | CategoricalFigures,
    samples: int,
    missing: int,
    count: int,
    limits: DriftThresholds,
) -> DriftCheck:
    if not count:
        return _nothing(name, "missing_rate")
    rate = missing / count
    chance = rate_by_chance(was.missing_count, samples, missing, count)
    change = abs(rate - was.missing_rate)
    outcome = ended(change, chance, limits.missing_warn, limits.missing_fail)
    said = f"{name!r} is missing in {rate:.1%} of the rows, and was in {was.missing_rate:.1%}."
    return DriftCheck("missing_rate", outcome, change, chance, said if outcome is not Outcome.PASSED else "")


def _infinite(
    name: str, was: NumericFigures, samples: int, infinite: int, count: int, limits: DriftThresholds
) -> DriftCheck:
    if not count:
        return _nothing(name, "infinite_rate")
    rate, before = infinite / count, was.infinite_count / samples
    chance = rate_by_chance(was.infinite_count, samples, infinite, count)
    outcome = ended(abs(rate - before), chance, limits.infinite_warn, limits.infinite_fail)
    said = f"{name!r} is infinite in {rate:.1%} of the rows, and was in {before:.1%}."
    return DriftCheck(
        "infinite_rate", outcome, abs(rate - before), chance, said if outcome is not Outcome.PASSED else ""
    )


def _constant(name: str, one: bool, varied: bool, largest: float, present: int) -> tuple[DriftCheck, ...]:
    if not one or not varied:
        return ()
    by_chance = largest**present  # that so many values are all the most frequent one
    outcome = Outcome.FAILED if by_chance < CHANCE else Outcome.INCONCLUSIVE
    said = f"{name!r} has one value only, and had several."
    return (DriftCheck("constant", outcome, 1.0, by_chance, said),)


def _check(kind: str, name: str, value: float, chance: float, warn: float, fail: float) -> DriftCheck:
    outcome = ended(value, chance, warn, fail)
    said = ""
    if outcome is Outcome.INCONCLUSIVE:
        said = f"{name!r}: too few values to tell; chance alone gives a {kind} of {chance:.3f}, and {fail} would fail."
    elif outcome is not Outcome.PASSED:
        said = f"{name!r} has drifted: {kind} {value:.3f}, where {warn} warns and {fail} fails."
    return DriftCheck(kind, outcome, value, chance, said)


def _nothing(name: str, kind: str) -> DriftCheck:
    return DriftCheck(kind, Outcome.INCONCLUSIVE, message=f"{name!r}: {kind} cannot be judged, there are no values.")
