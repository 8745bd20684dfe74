"""What is odd about the rows of a split without being wrong: said, not hidden, and not refused."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.splits.roles import TrainingFrame
from e2i_fs.splits.training import NAMES

__all__ = ["notes"]


def notes(frame: TrainingFrame, rows: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Return a sentence for each oddity: one class only in an open split, rows of the same keys and time.

    Nothing is said of the holdout's target: that would be a look into it.
    """
    found = []
    target = frame.table.column(frame.target)
    if not pa.types.is_nested(target.type):
        for name, positions in zip(NAMES[:-1], rows, strict=False):
            values = pc.unique(target.take(pa.array(positions, pa.int64())))
            if len(values) == 1:
                found.append(
                    f"{name}: the target {frame.target!r} is {values[0].as_py()!r} in all {len(positions)} rows; a "
                    "classifier cannot learn from, nor a score be told on, one class."
                )
    if frame.keys:
        table = frame.table.select(list(frame.keys)).append_column("\0time", frame.times)
        distinct = len(table.group_by(table.column_names).aggregate([]))
        if distinct < len(table):
            found.append(
                f"{len(table) - distinct} rows have the keys and the time of another row; they are kept, in one split."
            )
    return tuple(found)
