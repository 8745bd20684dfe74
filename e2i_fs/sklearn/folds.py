"""Cross-validation over time: what a training row's label looks ahead to is never what it is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator

from e2i_fs.errors import RequestError, SplitError
from e2i_fs.sklearn.times import times_of

__all__ = ["PurgedTimeSeriesSplit"]

_MICROSECOND = timedelta(microseconds=1)


class PurgedTimeSeriesSplit(BaseCrossValidator):  # type: ignore[misc]
    """K folds over time, purged and embargoed, for ``cross_val_score``, ``GridSearchCV`` and the like.

    Rows are cut by time into ``n_splits`` blocks of about equal size; rows of the same time stay together. Each block
    is the test set once, and all other rows are for training, except for

    - *the purge*: a training row at ``t``, whose label is known at ``t + horizon``, is kept only if
      ``[t, t + horizon]`` does not touch the test's ``[first, last + horizon]``, both ends included;
    - *the embargo*: after the test, only rows later than ``last + horizon + embargo`` are kept.

    With ``past_only=True`` rows after the test are never trained on, as in scikit-learn's ``TimeSeriesSplit``: the
    first of ``n_splits + 1`` blocks is for training alone. An embargo is meaningless then, and must be zero.

    Pass times as ``groups=`` to ``split`` (and to ``cross_val_score(..., groups=times)``), or here as ``times``: the
    name of a column of X, or one time for each row. Indices are ascending, whatever the order of the rows.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.sklearn import PurgedTimeSeriesSplit
    >>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(9)]
    >>> folds = PurgedTimeSeriesSplit(3, horizon=timedelta(days=1), past_only=True)
    >>> for train, test in folds.split(days, groups=days):
    ...     print(train.tolist(), test.tolist())
    [0, 1] [3, 4]
    [0, 1, 2, 3] [5, 6]
    [0, 1, 2, 3, 4, 5] [7, 8]
    """

    # What scikit-learn's own validators that need groups declare: with metadata routing on, groups are asked for.
    __metadata_request__split = {"groups": True}  # noqa: RUF012

    def __init__(
        self,
        n_splits: int = 5,
        *,
        horizon: timedelta = timedelta(0),
        embargo: timedelta = timedelta(0),
        times: Any = None,
        past_only: bool = False,
    ) -> None:
        if not isinstance(n_splits, int) or n_splits < 2 - past_only:
            raise RequestError(f"n_splits={n_splits!r}: give a whole number of at least {2 - past_only}.")
        for name, value in (("horizon", horizon), ("embargo", embargo)):
            if not isinstance(value, timedelta) or value < timedelta(0):
                raise RequestError(f"{name}={value!r}: give a datetime.timedelta of at least zero.")
        if past_only and embargo:
            raise RequestError(
                f"embargo={embargo!r} with past_only: no row after a test is trained on, so there is nothing to embargo. "
                "Widen horizon to keep training further from the test."
            )
        self.n_splits = n_splits
        self.horizon = horizon
        self.embargo = embargo
        self.times = times
        self.past_only = past_only

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return ``n_splits``; the arguments are ignored."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the positions (int arrays) of the training and the test rows of each fold, the earliest test first.

        Raises `InvalidTimestampError` for values that are missing or not times, and `SplitError` when there are too few
        distinct times or a fold has no training rows left.
        """
        times = times_of(X, groups, self.times)
        horizon, embargo = self.horizon // _MICROSECOND, self.embargo // _MICROSECOND
        for number, (first, last) in enumerate(self._tests(times)):
            test = (times >= first) & (times <= last)
            train = times + horizon < first
            if not self.past_only:
                train |= times > last + horizon + embargo
            if not train.any():
                raise SplitError(
                    f"Fold {number} has no training row: none is further than horizon={self.horizon} (and "
                    f"embargo={self.embargo}) from its test. Take fewer n_splits, or a shorter horizon."
                )
            yield np.flatnonzero(train), np.flatnonzero(test)

    def _tests(self, times: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return the first and last time of each test block."""
        moments, counts = np.unique(times, return_counts=True)
        blocks = self.n_splits + self.past_only
        if len(moments) < blocks:
            raise SplitError(
                f"{len(times)} rows have {len(moments)} distinct times, too few for {blocks} blocks: rows of one instant "
                "are never divided. Take fewer n_splits."
            )
        upto = np.cumsum(counts)
        ends: list[int] = []
        for block in range(1, blocks):
            end = int(np.searchsorted(upto, block * len(times) / blocks)) + 1
            least = ends[-1] + 1 if ends else 1
            ends.append(min(max(end, least), len(moments) - (blocks - block)))
        bounds = list(zip([0, *ends], [*ends, len(moments)], strict=True))
        return [(int(moments[a]), int(moments[b - 1])) for a, b in bounds[self.past_only :]]
