"""What the training split looks like: figures to monitor a model by, kept as JSON beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from e2i_fs.clock import Clock, as_clock
from e2i_fs.errors import RequestError
from e2i_fs.frozen import FrozenMap
from e2i_fs.quality.figures import CategoricalFigures, NumericFigures, categorical, correlations, numerics
from e2i_fs.quality.plain import from_plain, reading, to_plain
from e2i_fs.quality.rows import Rows, opened

if TYPE_CHECKING:
    from e2i_fs.quality.drift import DriftReport
    from e2i_fs.quality.thresholds import DriftThresholds

__all__ = ["BaselineMetrics"]

MOST_CLASSES = 50


@runtime_checkable
class Splits(Protocol):
    """What is read of training splits: the train split, and what is a feature of it."""

    @property
    def train(self) -> Any:
        """The train split, with ``to_arrow()``."""
        ...

    @property
    def features(self) -> Sequence[str]:
        """The names of the features."""
        ...

    @property
    def target(self) -> str:
        """The name of the target."""
        ...

    def unlock(self, name: str) -> Any:
        """Open the holdout. Never called here."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineMetrics:
    """The figures of a train split, to compare new data with; made by `BaselineMetrics.of`.

    ``numeric`` and ``categorical`` (text and booleans) are by feature; ``skipped`` says why a column is in neither.
    ``target_rate`` is the share of true or 1 if the target has two classes, else None; ``target_distribution`` the
    share of each class if the target has at most 50, else None. Shares are of the rows that have a value.
    ``correlation`` is Pearson's, by feature and feature, over the rows that have both; None where one of them does not
    vary.

    >>> from e2i_fs.quality import BaselineMetrics
    >>> train = {"calls": [1, 2, 3, None], "tier": ["A", "B", "B", "B"], "sold": [True, False, False, True]}
    >>> baseline = BaselineMetrics.of(train, target="sold")
    >>> list(baseline.numeric), list(baseline.categorical), baseline.target_rate, baseline.training_samples
    (['calls'], ['tier'], 0.5, 4)
    """

    numeric: Mapping[str, NumericFigures]
    categorical: Mapping[str, CategoricalFigures]
    target: str | None
    target_rate: float | None
    target_distribution: tuple[tuple[Any, float], ...] | None
    correlation: Mapping[str, Mapping[str, float | None]]
    training_samples: int
    computed_at: datetime
    skipped: Mapping[str, str] = field(default_factory=FrozenMap)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        train: Any,
        *,
        target: str | None = None,
        features: Sequence[str] | None = None,
        clock: Clock | Callable[[], datetime] | None = None,
    ) -> BaselineMetrics:
        """Measure a training frame of any kind, the path of Parquet files, or the train split of `TrainingSplits`.

        ``features`` are by default all columns except ``target``, or those of the splits; the other splits are not
        read. Raises `RequestError` for an unknown column and for a frame without rows.

        >>> metrics = BaselineMetrics.of({"calls": [1, 2, 3, None], "sold": [True, False, False, True]}, target="sold")
        >>> metrics.numeric["calls"].mean, metrics.numeric["calls"].missing_rate, metrics.target_rate
        (2.0, 0.25, 0.5)
        """
        frame = train
        if isinstance(train, Splits):
            frame = train.train.to_arrow()
            features = train.features if features is None else features
            target = train.target if target is None else target
        now = as_clock(clock).now()
        with opened(frame, "train") as rows:
            if not rows.count:
                raise RequestError("train has no rows, so there is nothing to measure.")
            if isinstance(features, str):
                raise RequestError(f"features is the text {features!r}; give a list, e.g. [{features!r}].")
            names = [n for n in rows.columns if n != target] if features is None else list(dict.fromkeys(features))
            for name in [*names, *([] if target is None else [target])]:
                if name not in rows.columns:
                    raise RequestError(rows.unknown(name))
            if target in names:
                raise RequestError(f"The target {target!r} is among the features; a model would be shown its answer.")
            return _of(rows, names, target, now)

    def drift(
        self,
        frame: Any,
        *,
        thresholds: DriftThresholds | Mapping[str, float] | None = None,
        clock: Clock | Callable[[], datetime] | None = None,
    ) -> DriftReport:
        """Return a `DriftReport` of how far ``frame`` has drifted from this baseline, feature by feature.

        ``thresholds`` are `DriftThresholds` or a mapping of them. Raises `ConfigError` for an unknown threshold.

        >>> metrics = BaselineMetrics.of({"tier": ["A", "B"] * 500})
        >>> metrics.drift({"tier": ["A", "C"] * 500}).outcome
        <Outcome.FAILED: 'failed'>
        """
        from e2i_fs.quality.drift import drift_of

        return drift_of(self, frame, thresholds, as_clock(clock).now())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON value that `from_dict` reads."""
        shares = self.target_distribution
        return {
            "numeric": {name: f.to_dict() for name, f in self.numeric.items()},
            "categorical": {name: f.to_dict() for name, f in self.categorical.items()},
            "target": self.target,
            "target_rate": self.target_rate,
            "target_distribution": None if shares is None else [[to_plain(v), share] for v, share in shares],
            "correlation": {name: dict(row) for name, row in self.correlation.items()},
            "training_samples": self.training_samples,
            "computed_at": self.computed_at.isoformat(),
            "skipped": dict(self.skipped),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> BaselineMetrics:
        """Return the metrics that `to_dict` wrote. Raises `RequestError` for anything else.

        >>> metrics = BaselineMetrics.of({"calls": [1, 2, 3]})
        >>> BaselineMetrics.from_dict(metrics.to_dict()) == metrics
        True
        """
        with reading("baseline", form, [f.name for f in fields(cls)]):
            shares = form["target_distribution"]
            return cls(
                numeric=FrozenMap({n: NumericFigures.from_dict(f) for n, f in form["numeric"].items()}),
                categorical=FrozenMap({n: CategoricalFigures.from_dict(f) for n, f in form["categorical"].items()}),
                target=form["target"],
                target_rate=form["target_rate"],
                target_distribution=None if shares is None else tuple((from_plain(v), s) for v, s in shares),
                correlation=FrozenMap({name: FrozenMap(row) for name, row in form["correlation"].items()}),
                training_samples=form["training_samples"],
                computed_at=datetime.fromisoformat(form["computed_at"]),
                skipped=FrozenMap(form["skipped"]),
                warnings=tuple(form["warnings"]),
            )


def _of(rows: Rows, names: Sequence[str], target: str | None, now: datetime) -> BaselineMetrics:
    kinds = {name: rows.columns[name].kind for name in names}
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    classes = [name for name, kind in kinds.items() if kind in ("text", "bool")]
    skipped = {
        n: f"{rows.columns[n].type} is neither numbers nor classes" for n in names if n not in (*numbers, *classes)
    }
    numeric = numerics(rows, numbers)
    figures = {name: categorical(rows, rows.columns[name]) for name in classes}
    pairs = correlations(rows, numeric)
    matrix = {a: FrozenMap({b: pairs[a, b] for b in numbers}) for a in numbers}
    missing = [*(n for n, f in numeric.items() if not f.count), *(n for n, c in figures.items() if not c.count)]
    warnings = [f"Feature {name!r} is missing in every row." for name in missing]
    rate, shares = _target(rows, target, warnings)
    return BaselineMetrics(
        numeric=FrozenMap(numeric), categorical=FrozenMap(figures), target=target, target_rate=rate,
        target_distribution=shares, correlation=FrozenMap(matrix), training_samples=rows.count, computed_at=now,
        skipped=FrozenMap(skipped), warnings=tuple(warnings),
    )  # fmt: skip


def _target(
    rows: Rows, target: str | None, warnings: list[str]
) -> tuple[float | None, tuple[tuple[Any, float], ...] | None]:
    """Return rate and distribution of the target, and warn of one that nothing can be learnt from."""
    if target is None:
        return None, None
    column = rows.columns[target]
    classes = column.kind in ("bool", "text", "number")
    value = column.sql if classes else "NULL"
    found = rows.fetch(
        f"SELECT {value}, count(*) AS n FROM {rows.relation} WHERE {column.sql} IS NOT NULL "
        f"GROUP BY {column.sql} ORDER BY n DESC, 1 LIMIT {MOST_CLASSES + 1}"
    )
    present = sum(n for _, n in found)
    if not present:
        warnings.append(f"The target {target!r} is missing in every row.")
        return None, None
    if len(found) == 1:
        only = f", {found[0][0]!r}" if classes else ""
        warnings.append(f"The target {target!r} has one class only{only}; nothing can be learnt from it.")
    if len(found) > MOST_CLASSES or not classes:
        return None, None
    shares = tuple((value, n / present) for value, n in found)
    two = column.kind in ("bool", "number") and all(value in (0, 1) for value, _ in shares)
    return (sum(share for value, share in shares if value == 1) if two else None), shares
