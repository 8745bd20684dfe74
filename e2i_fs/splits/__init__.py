"""Training splits by time: neighbours with a gap between them, aligned row for row, the holdout locked until asked for.

>>> from datetime import datetime, timedelta
>>> from e2i_fs.splits import TemporalSplit
>>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(400)]
>>> rows = {"hcp_id": ["a", "b"] * 200, "event_timestamp": days, "calls": list(range(400)), "sold": [0, 1] * 200}
>>> splits = TemporalSplit().split(rows, target="sold", entity_keys=["hcp_id"])
>>> splits
<TrainingSplits of 'sold': train 227, validation 76, test 57, holdout 19 (locked); dropped 21 of 400 rows>
>>> splits.train.X.column_names
['calls']
"""

from __future__ import annotations

from e2i_fs.splits.parts import Dropped, Split
from e2i_fs.splits.rule import TemporalSplit
from e2i_fs.splits.training import Boundary, TrainingSplits

__all__ = ["Boundary", "Dropped", "Split", "TemporalSplit", "TrainingSplits"]
