"""For scikit-learn: a cross-validator that does not look ahead, and a transformer that looks features up.

>>> from datetime import datetime, timedelta
>>> from e2i_fs.sklearn import PurgedTimeSeriesSplit
>>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(9)]
>>> folds = PurgedTimeSeriesSplit(3, horizon=timedelta(days=1), embargo=timedelta(days=1))
>>> [(list(map(int, train)), list(map(int, test))) for train, test in folds.split(days, groups=days)][1]
([0, 1, 8], [3, 4, 5])
"""

from __future__ import annotations

from importlib.util import find_spec

from e2i_fs.errors import UnsupportedError

if find_spec("sklearn") is None:
    raise UnsupportedError('scikit-learn is not installed: pip install "e2i-fs[sklearn]".')

from e2i_fs.sklearn.folds import PurgedTimeSeriesSplit
from e2i_fs.sklearn.transformer import FeatureStoreTransformer

__all__ = ["FeatureStoreTransformer", "PurgedTimeSeriesSplit"]
