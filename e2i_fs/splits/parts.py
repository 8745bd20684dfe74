"""One split, and what no split has: rows of one training frame, in the caller's order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from e2i_fs.results import Provenance
from e2i_fs.splits.roles import TrainingFrame

__all__ = ["Dropped", "Split"]


class Split:
    """One split: everything in it has ``row_count`` rows, in one order, the caller's."""

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
        """The features, in the kind of the caller's frame: no target, label, key or time unless asked for."""
        return self._columns(self.feature_names)

    @property
    def y(self) -> Any:
        """The target: a pandas or polars series, else a ``pyarrow.ChunkedArray``."""
        return self._native[self.target]

    @property
    def entity_keys(self) -> Any:
        """The entity keys, in the kind of the caller's frame."""
        return self._columns(self._keys)

    @property
    def times(self) -> Any:
        """The time of each row: a series or ``pyarrow.ChunkedArray`` as in the frame."""
        return self._native[self._time]

    def to_arrow(self) -> pa.Table:
        """Return keys, time, features and target as one ``pyarrow.Table``."""
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
    """The rows that no split has, by reason, as positions in the frame that was split.

    ``embargo``: in a gap between splits. ``isolation``: of an entity that lives in another split.
    ``missing_target``: without a target, dropped because ``missing_target="drop"`` said so.
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
