"""A model of HCP conversion: trained on earlier questions, judged on later ones, used online through the same code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.calibration import calibration_curve
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score, roc_curve
from threadpoolctl import threadpool_limits

from e2i_fs.cli.demo.claims import Claims

__all__ = ["Judged", "Model", "train"]


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier with the way from columns of features to its matrix."""

    features: Sequence[str]
    words: Mapping[str, Mapping[str, int]]
    classifier: Any

    def matrix(self, columns: Mapping[str, Sequence[Any]]) -> Any:
        """Return float64 of shape ``(rows, features)``: text as numbers, what is missing (or unknown text) as NaN."""
        made = []
        for name in self.features:
            known = self.words.get(name)
            values = columns[name] if known is None else [known.get(v) for v in columns[name]]
            made.append([np.nan if v is None else float(v) for v in values])
        return np.array(made).T

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> list[float]:
        """Return the probability of conversion of each row."""
        with threadpool_limits(limits=1):
            return [float(p) for p in self.classifier.predict_proba(self.matrix(columns))[:, 1]]


@dataclass(frozen=True, slots=True)
class Judged:
    """A trained model and how it did on the later questions. Curves are pairs of equally long lists."""

    model: Model
    auc: float
    cut: datetime
    trained_on: int
    judged_on: int
    rate: float
    roc: tuple[list[float], list[float]]
    calibration: tuple[list[float], list[float]]


def train(training: pa.Table, features: Sequence[str], outcome_days: int, claims: Claims, seed: int) -> Judged:
    """Train on the earlier three quarters of the questions, judge on the rest.

    An embargo as long as an outcome takes lies between them: every outcome that is learned from was known before the
    first question of the later part.
    """
    table = training.sort_by("event_timestamp")
    times = table["event_timestamp"].to_pylist()
    cut = times[len(times) * 3 // 4]
    early = [i for i, t in enumerate(times) if t <= cut - timedelta(days=outcome_days)]
    late = [i for i, t in enumerate(times) if t > cut]
    past, later = table.take(early), table.take(late)

    text = [n for n in features if pa.types.is_string(table.schema.field(n).type)]
    words = {n: {w: i for i, w in enumerate(sorted(set(past[n].drop_null().to_pylist())))} for n in text}
    categorical = [n in words for n in features]
    classifier = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.05, max_leaf_nodes=8, categorical_features=categorical, random_state=seed
    )
    model = Model(tuple(features), words, classifier)
    with threadpool_limits(limits=1):  # so little data goes slower with more threads, much slower on a busy machine
        classifier.fit(model.matrix(past.to_pydict()), past["converted"].to_pylist())

    truth = later["converted"].to_pylist()
    told = model.predict(later.to_pydict())
    auc = float(roc_auc_score(truth, told))
    fpr, tpr, _ = roc_curve(truth, told)
    happened, foretold = calibration_curve(truth, told, n_bins=6, strategy="quantile")
    claims.check(
        "The model foretells later conversions better than chance",
        auc > 0.6,
        f"AUC {auc:.3f} on {len(late):,} questions after {cut:%Y-%m-%d}, trained on {len(early):,} before",
    )
    return Judged(
        model, auc, cut, len(early), len(late), sum(truth) / len(truth),
        (list(map(float, fpr)), list(map(float, tpr))), (list(map(float, foretold)), list(map(float, happened))),
    )  # fmt: skip
