"""One split, and what no split has: rows of one training frame, in the caller's order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from e2i_fs.results import Provenance
from e2i_fs.splits.roles import TrainingFrame

__all__ = ["Dropped", "Split"]


class Split:
    """One split: everything in it has ``row_count`` rows, in the caller's order.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.splits import TemporalSplit
    >>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(400)]
    >>> rows = {"hcp_id": ["a", "b"] * 200, "event_timestamp": days, "calls": list(range(400)), "sold": [0, 1] * 200}
    >>> splits = TemporalSplit().split(rows, target="sold", entity_keys=["hcp_id"])
    >>> splits.test
    <Split 'test': 57 rows, 1 features, target 'sold'>
    >>> splits.test.X.column_names, splits.test.y[0].as_py(), splits.test.rows[0]
    (['calls'], 1, 317)
    """

    def __init__(self, name: str, frame: TrainingFrame, rows: pa.Array) -> None:
        self.name = name
        self.feature_names = frame.features
        self.target = frame.target
        self.provenance: Provenance | None = frame.provenance
        self._kind = frame.kind
        self._keys, self._time = frame.keys, frame.timestamp_column
        self._rows = rows
        # Copies: a split must not hold on to the rows of another one, least of all the holdout's.
        self._native, self._table = frame.take(rows)

    def __repr__(self) -> str:
        return (
            f"<Split {self.name!r}: {self.row_count} rows, {len(self.feature_names)} features, target {self.target!r}>"
        )

    def __len__(self) -> int:
        return self.row_count

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return len(self._rows)

    @property
    def rows(self) -> list[int]:
        """The positions of the rows in the frame that was split, counted from 0, ascending."""
        found: list[int] = self._rows.to_pylist()
        return found

    @property
    def X(self) -> Any:
        """The features, in the caller's kind of frame: no target, label, key or time unless requested."""
        return self._columns(self.feature_names)

    @property
    def y(self) -> Any:
        """The target: a pandas or polars series, else a ``pyarrow.ChunkedArray``."""
        return self._native[self.target]

    @property
    def entity_keys(self) -> Any:
        """The entity keys, in the caller's kind of frame."""
        return self._columns(self._keys)

    @property
    def times(self) -> Any:
        """The time of each row, as a series or ``pyarrow.ChunkedArray``, as in the frame."""
        return self._native[self._time]

    def to_arrow(self) -> pa.Table:
        """Return the keys, time, features and target as one ``pyarrow.Table``."""
        names = dict.fromkeys([*self._keys, self._time, *self.feature_names, self.target])
        return self._table.select(list(names))

    def _columns(self, names: tuple[str, ...]) -> Any:
        if self._kind in ("pandas", "polars"):
            return self._native[list(names)]
        table = self._table.select(list(names))
        if self._kind == "duckdb":
            import duckdb

            return duckdb.from_arrow(table)
        return table


class Dropped:
    """The rows that are in no split, by reason, as positions in the frame that was split.

    ``embargo``: in a gap between splits. ``isolation``: of an entity that belongs to another split. ``missing_target``:
    without a target, dropped because of ``missing_target="drop"``.

    >>> from datetime import datetime, timedelta
    >>> from e2i_fs.splits import TemporalSplit
    >>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(400)]
    >>> rows = {"hcp_id": ["a", "b"] * 200, "event_timestamp": days, "calls": list(range(400)), "sold": [0, 1] * 200}
    >>> splits = TemporalSplit().split(rows, target="sold", entity_keys=["hcp_id"])
    >>> splits.dropped
    <Dropped 21 rows: 21 embargo, 0 isolation, 0 missing_target>
    >>> splits.dropped.positions["embargo"][:3]  # the train split ends with row 226
    [227, 228, 229]
    """

    def __init__(self, positions: Mapping[str, list[int]]) -> None:
        self.positions: Mapping[str, list[int]] = dict(positions)

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows dropped for each reason."""
        return {reason: len(rows) for reason, rows in self.positions.items()}

    @property
    def total(self) -> int:
        """The number of rows dropped."""
        return sum(self.counts.values())

    def __repr__(self) -> str:
        return f"<Dropped {self.total} rows: {', '.join(f'{n} {why}' for why, n in self.counts.items())}>"
