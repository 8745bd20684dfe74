"""A scikit-learn model that takes rows as a feature store gives them: dicts, with text and with gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import ThreadpoolController

__all__ = ["Model"]


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier with the way from rows to its matrix, the same in training and online."""

    features: Sequence[str]
    words: Mapping[str, Mapping[str, int]]
    classifier: Any

    @classmethod
    def fit(cls, rows: Sequence[Mapping[str, Any]], features: Sequence[str], target: str, seed: int) -> Model:
        """Return a model of ``target`` (a Bool), trained on ``rows``."""
        found = {name: {row[name] for row in rows} - {None} for name in features}
        text = {name for name, values in found.items() if any(isinstance(v, str) for v in values)}
        words = {name: {word: i for i, word in enumerate(sorted(found[name]))} for name in features if name in text}
        classifier = HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.05, max_leaf_nodes=8, random_state=seed
        )
        model = cls(tuple(features), words, classifier)
        with _threads().limit(limits=1):  # so little goes slower with more threads, much slower on a busy machine
            classifier.fit(model.matrix(rows), [row[target] for row in rows])
        return model

    def matrix(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Return float64 of shape ``(rows, features)``: text as numbers, what is missing (or unknown text) as NaN."""
        return np.array([[self._number(name, row[name]) for name in self.features] for row in rows], dtype=float)

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[float]:
        """Return the probability of conversion of each row."""
        with _threads().limit(limits=1):
            return [float(p) for p in self.classifier.predict_proba(self.matrix(rows))[:, 1]]

    def _number(self, name: str, value: Any) -> float:
        if name in self.words:
            value = self.words[name].get(value)
        return np.nan if value is None else float(value)


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()  # finding the thread pools takes longer than predicting
