"""All splits of one training frame, the holdout behind a lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from e2i_fs.clock import Clock
from e2i_fs.errors import HoldoutLockedError, RequestError, did_you_mean
from e2i_fs.splits.parts import Dropped, Split

if TYPE_CHECKING:
    from e2i_fs.receipts.receipt import TrainingReceipt
    from e2i_fs.splits.rule import TemporalSplit

__all__ = ["NAMES", "Boundary", "TrainingSplits"]

NAMES = ("train", "validation", "test", "holdout")


@dataclass(frozen=True, slots=True)
class Boundary:
    """The size and extent of a split: its rows, their share of all rows kept, and their first and last time (UTC).

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.splits import TemporalSplit
    >>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(400)]
    >>> rows = {"hcp_id": ["a", "b"] * 200, "event_timestamp": days, "calls": list(range(400)), "sold": [0, 1] * 200}
    >>> splits = TemporalSplit().split(rows, target="sold", entity_keys=["hcp_id"])
    >>> train, validation = splits.boundaries["train"], splits.boundaries["validation"]
    >>> train.row_count, round(train.share, 2), str(validation.first - train.last)
    (227, 0.6, '8 days, 0:00:00')
    """

    row_count: int
    share: float
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Made:
    """What a rule made of a frame, all but the open splits. No public value: `TrainingSplits` shows it."""

    rule: TemporalSplit
    target: str
    features: tuple[str, ...]
    boundaries: Mapping[str, Boundary]
    dropped: Dropped
    notes: tuple[str, ...]
    rows: int


class TrainingSplits:
    """The splits made by `TemporalSplit.split`: ``train``, ``validation``, ``test`` and, once unlocked, ``holdout``.

    ``boundaries`` has each split's size and times, the locked holdout's too; ``dropped`` the rows in none; ``notes``
    whatever is unusual without being wrong (only one class, repeated rows). Iterating yields train, validation and
    test, never the holdout. A copy pickled while the holdout is locked does not contain it.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.splits import TemporalSplit
    >>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(400)]
    >>> rows = {"hcp_id": ["a", "b"] * 200, "event_timestamp": days, "calls": list(range(400)), "sold": [0, 1] * 200}
    >>> splits = TemporalSplit().split(rows, target="sold", entity_keys=["hcp_id"])
    >>> [(split.name, len(split)) for split in splits]
    [('train', 227), ('validation', 76), ('test', 57)]
    >>> splits.unlock("holdout").row_count, splits.unlocked_at is not None
    (19, True)
    """

    def __init__(
        self,
        made: Made,
        parts: Mapping[str, Split],
        holdout: Callable[[], Split],
        audit: Callable[[str], pa.Table],
        receipt: Callable[[], TrainingReceipt],
        clock: Clock,
    ) -> None:
        self._made = made
        self._open = dict(parts)
        self._sealed: Callable[[], Split] | None = holdout
        self._audit: Callable[[str], pa.Table] | None = audit
        self._make_receipt: Callable[[], TrainingReceipt] | None = receipt
        self._receipt: TrainingReceipt | None = None
        self._clock: Clock | None = clock
        self.unlocked_at: datetime | None = None

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {b.row_count}" for name, b in self.boundaries.items())
        locked = " (locked)" if "holdout" not in self._open else ""
        gone = f"; dropped {self.dropped.total} of {self._made.rows} rows"
        return f"<TrainingSplits of {self.target!r}: {sizes}{locked}{gone}>"

    def __iter__(self) -> Iterator[Split]:
        return iter([self.train, self.validation, self.test])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_sealed": None, "_audit": None, "_make_receipt": None, "_clock": None}

    def __deepcopy__(self, memo: object) -> TrainingSplits:
        return self  # nothing in it is to be changed; and a copy by way of pickle would lose the holdout

    @property
    def names(self) -> tuple[str, ...]:
        """``("train", "validation", "test", "holdout")``."""
        return NAMES

    @property
    def train(self) -> Split:
        """The earliest rows, for training."""
        return self._open["train"]

    @property
    def validation(self) -> Split:
        """The rows after the training rows, for choosing between models."""
        return self._open["validation"]

    @property
    def test(self) -> Split:
        """The rows after the validation rows, for measuring the chosen model."""
        return self._open["test"]

    @property
    def holdout(self) -> Split:
        """The latest rows. Raises `HoldoutLockedError` until ``unlock("holdout")``."""
        if "holdout" not in self._open:
            raise HoldoutLockedError(
                "The holdout is locked: whoever looks at it while building a model has no honest measure left. When the "
                'model is final, call splits.unlock("holdout"); when that was is noted in splits.unlocked_at.'
            )
        return self._open["holdout"]

    def unlock(self, name: str) -> Split:
        """Open the holdout, record when (`unlocked_at`), and return it; ``name`` must be ``"holdout"``.

        A second call changes nothing. Raises `RequestError` for another name, and `HoldoutLockedError` for a copy that
        was pickled while the holdout was locked.
        """
        if name != "holdout":
            raise RequestError(f"unlock({name!r}): only 'holdout' is locked.{did_you_mean(name, ['holdout'])}")
        if "holdout" not in self._open:
            if self._sealed is None or self._clock is None:
                raise HoldoutLockedError(
                    "These splits were pickled while the holdout was locked, and so do not carry it. Split the same rows "
                    "by the same rule again, which gives the same holdout, or unlock it before pickling."
                )
            self._open["holdout"] = self._sealed()
            self.unlocked_at = self._clock.now()
        return self._open["holdout"]

    @property
    def rule(self) -> TemporalSplit:
        """The rule that made these splits."""
        return self._made.rule

    @property
    def target(self) -> str:
        """The name of the target column."""
        return self._made.target

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the feature columns, in the order of X."""
        return self._made.features

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        """The `Boundary` of each split by name; the locked holdout's too, since it reveals no value."""
        return self._made.boundaries

    @property
    def dropped(self) -> Dropped:
        """The rows that are in no split, by reason."""
        return self._made.dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what is unusual in the rows without being wrong."""
        return self._made.notes

    def keys_and_times(self, name: str) -> pa.Table:
        """Return the entity keys and times of a split by name, even of the locked holdout, for audits of overlap.

        They reveal no feature and no target. A pickled copy has only those of the splits that it contains.
        """
        if name not in NAMES:
            raise RequestError(f"There is no split {name!r}.{did_you_mean(name, NAMES)}")
        if self._audit is not None:
            return self._audit(name)
        split = self.holdout if name == "holdout" else self._open[name]
        return split.to_arrow().select([*split._keys, split._time])

    @property
    def receipt(self) -> TrainingReceipt:
        """The `TrainingReceipt` of the data, including the rule and the positions of every split; made on first use.

        Raises `RequestError` for splits of a frame that did not come from a store.
        """
        if self._receipt is None:
            if self._make_receipt is None:
                raise RequestError(
                    "These splits were pickled before their receipt was made: ask for it first, then pickle."
                )
            self._receipt = self._make_receipt()
        return self._receipt
