"""The rule of a split by time: ratios, gaps, isolation; and its application to a frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from e2i_fs.clock import Clock, as_clock, from_us
from e2i_fs.errors import RequestError, SplitError, did_you_mean
from e2i_fs.splits.parts import Dropped, Split
from e2i_fs.splits.roles import TrainingFrame
from e2i_fs.splits.training import NAMES, Boundary, Made, TrainingSplits

if TYPE_CHECKING:
    from e2i_fs.receipts.receipt import TrainingReceipt

__all__ = ["TemporalSplit"]

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class TemporalSplit:
    """A rule that splits rows by time into train, validation, test and holdout, with an embargo between neighbours.

    ``ratios`` are the shares of the rows kept, in that order, each above 0 and together 1. Every row of a split is
    *later than* the last time of the one before plus ``embargo``: a row at exactly that time is still embargoed. Rows
    of the same time stay together. With ``isolate_entities`` each entity is in one split only, by the rule of
    `e2i_fs.splits.isolation.homes`, and its rows elsewhere are dropped and counted. The shares lie within ``tolerance``
    of the ratios, and each split has at least ``minimum_rows`` rows (the holdout at least one); otherwise `SplitError`
    says what is possible.

    The result depends only on the rows: in another order, or another kind of frame, each split has the same ones.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.splits import TemporalSplit
    >>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(400)]
    >>> rows = {"hcp_id": ["a", "b"] * 200, "event_timestamp": days, "calls": list(range(400)), "sold": [0, 1] * 200}
    >>> TemporalSplit(embargo=timedelta(days=3)).split(rows, target="sold", entity_keys=["hcp_id"])
    <TrainingSplits of 'sold': train 235, validation 78, test 59, holdout 19 (locked); dropped 9 of 400 rows>
    >>> TemporalSplit(ratios=(0.5, 0.2, 0.2, 0.2))
    Traceback (most recent call last):
    ...
    e2i_fs.errors.SplitError: ratios=(0.5, 0.2, 0.2, 0.2) sum to 1.1; they are shares of the rows kept and sum to 1.
    """

    ratios: tuple[float, float, float, float] = (0.60, 0.20, 0.15, 0.05)
    embargo: timedelta = timedelta(days=7)
    isolate_entities: bool = False
    tolerance: float = 0.02
    minimum_rows: int = 10

    def __post_init__(self) -> None:
        ratios = tuple(self.ratios)
        if len(ratios) != len(NAMES):
            raise SplitError(f"ratios={ratios!r}: give four, for {', '.join(NAMES)}.")
        if not all(isinstance(r, int | float) and math.isfinite(r) and r > 0 for r in ratios):
            raise SplitError(f"ratios={ratios!r}: each is a number above 0; a split of no rows is none.")
        if not math.isclose(sum(ratios), 1.0, abs_tol=1e-6):
            raise SplitError(
                f"ratios={ratios!r} sum to {sum(ratios):.6g}; they are shares of the rows kept and sum to 1."
            )
        if not isinstance(self.embargo, timedelta) or self.embargo < timedelta(0):
            raise SplitError(f"embargo={self.embargo!r}: give a datetime.timedelta of at least zero.")
        if not 0 < self.tolerance < 1:
            raise SplitError(
                f"tolerance={self.tolerance!r}: give a share between 0 and 1, such as 0.02 for two points."
            )
        if not isinstance(self.minimum_rows, int) or self.minimum_rows < 1:
            raise SplitError(f"minimum_rows={self.minimum_rows!r}: give a whole number of at least 1.")
        object.__setattr__(self, "ratios", ratios)

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as JSON values, the embargo in seconds."""
        return {
            "ratios": list(self.ratios),
            "embargo_seconds": self.embargo.total_seconds(),
            "isolate_entities": self.isolate_entities,
            "tolerance": self.tolerance,
            "minimum_rows": self.minimum_rows,
        }

    def split(
        self,
        data: Any,
        *,
        target: str,
        features: Sequence[str] | None = None,
        timestamp_column: str | None = None,
        entity_keys: Sequence[str] | None = None,
        missing_target: Literal["error", "drop"] = "error",
        clock: Clock | Callable[[], datetime] | None = None,
    ) -> TrainingSplits:
        """Split a `HistoricalResult`, or any frame with a time column, and return `TrainingSplits`.

        ``target`` names the column to predict (for a result also as ``view:feature``). Rows without a target are an
        error, or are dropped and counted with ``missing_target="drop"``. ``features`` defaults to a result's features
        without labels, and for other frames to all columns except target, ``entity_keys`` and time. ``clock`` gives the
        time noted when the holdout is unlocked.

        Raises `RequestError` for columns that are missing or wrong, `LeakageError` for a feature that is the target,
        and `SplitError` when the rows cannot be split by this rule.
        """
        from e2i_fs.splits.assign import assign

        if missing_target not in ("error", "drop"):
            raise RequestError(
                f"missing_target={missing_target!r}.{did_you_mean(str(missing_target), ['error', 'drop'])}"
            )
        frame = TrainingFrame.of(
            data, target=target, features=features, timestamp_column=timestamp_column, entity_keys=entity_keys
        )
        assigned = assign(self, frame, drop_missing=missing_target == "drop")
        rows = {name: pa.array(assigned.rows[k], pa.int64()) for k, name in enumerate(NAMES)}
        kept = sum(len(r) for r in rows.values())
        boundaries = {}
        for name, positions in rows.items():
            times = frame.times.take(positions)
            first, last = min(times.to_pylist()), max(times.to_pylist())
            boundaries[name] = Boundary(len(positions), len(positions) / kept, from_us(first), from_us(last))
        made = Made(
            self, frame.target, frame.features, boundaries, Dropped(assigned.dropped), assigned.notes, len(frame.table)
        )

        def receipt() -> TrainingReceipt:
            from e2i_fs.receipts.making import split_receipt

            if frame.result is None:
                raise RequestError(
                    "These splits are of a frame that no store made, so there is nothing to verify them against. Split the "
                    "result of get_historical_features itself."
                )
            about = {
                **self.to_dict(),
                "target": frame.target,
                "features": list(frame.features),
                "entity_keys": list(frame.keys),
                "timestamp_column": frame.timestamp_column,
                "missing_target": missing_target,
                "row_counts": {name: len(r) for name, r in rows.items()},
                "dropped": made.dropped.counts,
            }
            return split_receipt(frame.result.receipt, about, rows)

        return TrainingSplits(
            made,
            {name: Split(name, frame, rows[name]) for name in NAMES[:-1]},
            lambda: Split("holdout", frame, rows["holdout"]),
            lambda name: frame.table.select([*frame.keys, frame.timestamp_column]).take(rows[name]),
            receipt,
            as_clock(clock),
        )
