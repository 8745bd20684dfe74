"""Point-in-time retrieval in plain Python, beside the engine: a backend that finds the answering rows itself.

It is the smallest `e2i_fs.backend.NativePointInTime`, and the right backend from which the mutants of
`e2i_fs.testing.mutants` are made: each of its small methods is one rule, and a mutant overrides one of them. It reads
the whole history of a view for every request, so it is for tests alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from e2i_fs.backend import ArrowRows, Capabilities, Key, Knowledge, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError
from e2i_fs.pit.fit import misfit
from e2i_fs.pit.times import column_to_us
from e2i_fs.testing.memory import MemoryBackend
from e2i_fs.testing.plugin import CAPABILITIES
from e2i_fs.values import LossyCastError, arrow_type, cast_column, order_key, python_value, storage_values

__all__ = ["Asked", "NativeMemoryBackend", "SourceRow"]


class SourceRow(NamedTuple):
    """One row of history: its key, times (µs, None where missing) and values, all storage values, in schema order.

    ``file`` and ``place`` say where it lies: the number of its file or batch, and its place in it. Nothing that is
    right asks for them (T-4).
    """

    key: Key
    event_us: int | None
    created_us: int | None
    values: tuple[Any, ...]
    file: int
    place: int


class Asked(NamedTuple):
    """One entity row: its key, in which a part may be None, and its time (µs)."""

    key: Key
    t: int


class NativeMemoryBackend(MemoryBackend):
    """`MemoryBackend` with ``point_in_time=True``; see the module."""

    @property
    def capabilities(self) -> Capabilities:
        """Everything that `MemoryBackend` can do, and point-in-time retrieval."""
        return replace(CAPABILITIES, point_in_time=True)

    def point_in_time(self, view: str, entities: pa.Table, features: Sequence[str], knowledge: Knowledge) -> pa.Table:
        """Return the winner of each entity row, in their order; see `e2i_fs.backend.NativePointInTime`."""
        definition = self._catalog.view(view)
        own: dict[Hashable, list[SourceRow]] = {}
        for row in self.history(view):
            key = self.exact(row.key)
            if key is not None:
                own.setdefault(key, []).append(row)
        answers: list[tuple[int | None, tuple[Any, ...]]] = []
        for asked in self.asked(view, entities):
            key = self.exact(asked.key)
            rows = [] if key is None else own.get(key, [])
            visible = [row for row in rows if self.visible(row, asked.t, knowledge)]
            answers.append(self.answer(visible, definition))
        return self.table(answers, definition, features)

    # ---- the rules, one a method ---------------------------------------------------------------------------

    def exact(self, key: Key) -> Hashable | None:
        """Return ``key`` in the form in which keys are compared, None for one that matches nothing (P-7)."""
        return None if None in key else key

    def visible(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        """Return whether ``row`` is there at ``t``: true by then, and known in time."""
        return self.happened(row, t) and self.known(row, t, knowledge)

    def happened(self, row: SourceRow, t: int) -> bool:
        """Return whether ``row`` was true at ``t`` (P-1, T-3)."""
        return row.event_us is not None and row.event_us <= t

    def known(self, row: SourceRow, t: int, knowledge: Knowledge) -> bool:
        """Return whether ``row`` was known in time (P-3)."""
        if not knowledge.counts:
            return True
        if row.created_us is None:
            return False
        if knowledge.filter_by_created and row.created_us > t:
            return False
        return knowledge.as_of_us is None or row.created_us <= knowledge.as_of_us

    def rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        """Return the tuple by which visible rows of one key are compared (P-4)."""
        return (row.event_us, self.created_rank(row), self.values_rank(row, view))

    def created_rank(self, row: SourceRow) -> tuple[int, ...]:
        """Return how the created time counts among rows of one event time: missing is lowest."""
        return (0,) if row.created_us is None else (1, row.created_us)

    def values_rank(self, row: SourceRow, view: FeatureView) -> tuple[Any, ...]:
        """Return how the values count among rows of one event and created time: in schema order."""
        return tuple(order_key(value, f.dtype) for value, f in zip(row.values, view.schema, strict=True))

    def answer(self, visible: Sequence[SourceRow], view: FeatureView) -> tuple[int | None, tuple[Any, ...]]:
        """Return the event time and the values of the winner among ``visible``, whole (P-5); Nones when there is none."""
        if not visible:
            return None, (None,) * len(view.schema)
        winner = max(visible, key=lambda row: self.rank(row, view))
        return winner.event_us, winner.values

    # ---- rows and columns ----------------------------------------------------------------------------------

    def asked(self, view: str, entities: pa.Table) -> list[Asked]:
        """Return the entity rows: ``t`` and ``k0..`` as `Asked`."""
        types = self._catalog.join_keys(view).values()
        columns = [storage_values(_chunked(entities.column(f"k{i}")), dtype) for i, dtype in enumerate(types)]
        keys: list[Key] = list(zip(*columns, strict=True)) if columns else [()] * len(entities)
        return [Asked(key, t) for key, t in zip(keys, entities.column("t").to_pylist(), strict=True)]

    def history(self, view: str) -> list[SourceRow]:
        """Return all rows of ``view``, file by file, as `MemoryBackend.scan` gives them."""
        definition = self._catalog.view(view)
        parts = self.scan(view, [f.name for f in definition.schema])
        return [row for number, table in enumerate(_tables(parts)) for row in self.rows(view, table, number)]

    def rows(self, view: str, columns: Mapping[str, pa.ChunkedArray], file: int) -> list[SourceRow]:
        """Return one file or batch, given as columns by the view's own names, as `SourceRow`."""
        definition, join_keys = self._catalog.view(view), self._catalog.join_keys(view)

        def typed(name: str, dtype: DType) -> list[Any]:
            return storage_values(_typed(columns[name], dtype, f"{view}:{name}"), dtype)

        events = column_to_us(columns[definition.event_column], definition.event_column, reject_naive=False).to_pylist()
        created: list[int | None] = [None] * len(events)
        if definition.created_column:
            column = columns[definition.created_column]
            created = column_to_us(column, definition.created_column, reject_naive=False).to_pylist()
        keys = list(zip(*(typed(n, t) for n, t in join_keys.items()), strict=True)) or [()] * len(events)
        values = zip(*(typed(f.name, f.dtype) for f in definition.schema), strict=True)
        times = zip(events, created, strict=True)
        return [
            SourceRow(key, event, known, own, file, place)
            for place, (key, (event, known), own) in enumerate(zip(keys, times, values, strict=True))
        ]

    def table(
        self, answers: Sequence[tuple[int | None, tuple[Any, ...]]], view: FeatureView, features: Sequence[str]
    ) -> pa.Table:
        """Return answers as the table that the core wants: ``e`` and ``features``, each in its dtype (P-8)."""
        columns = {"e": pa.array([event for event, _ in answers], pa.int64())}
        for place, f in enumerate(view.schema):
            if f.name in features:
                columns[f.name] = self.column([values[place] for _, values in answers], f.dtype)
        return pa.table({name: columns[name] for name in ("e", *features)})

    def column(self, values: Sequence[Any], dtype: DType) -> pa.Array:
        """Return storage values as an Arrow array in the type of ``dtype``."""
        if dtype.kind in ("timestamp", "date"):
            whole = pa.array(values, pa.int64() if dtype.kind == "timestamp" else pa.int32())
            return whole.cast(arrow_type(dtype))
        return pa.array([python_value(value, dtype) for value in values], arrow_type(dtype))


def _tables(parts: Sequence[ScanPart]) -> Iterator[Mapping[str, pa.ChunkedArray]]:
    """Yield the columns of each file or batch under the view's own names."""
    for part in parts:
        if isinstance(part, ArrowRows):
            table = part.reader.read_all()
            yield dict(zip(table.column_names, table.columns, strict=True))
            continue
        for path in part.paths:
            table = _read(path)
            stored = dict(zip(table.column_names, table.columns, strict=True))
            lacking = [own for own in part.columns.values() if own not in stored]
            if lacking:
                raise BackendDataError(f"{path} has no column {lacking[0]!r}. Write the file again with it.")
            yield {name: stored[own] for name, own in part.columns.items()}


def _read(path: str) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowInvalid) as error:
        raise BackendDataError(f"The file {path} cannot be read: {error}. Write it again.") from error


def _typed(column: pa.ChunkedArray, dtype: DType, name: str) -> pa.ChunkedArray:
    reason = misfit(column.type, dtype)
    if reason:
        raise BackendDataError(
            f"{name} is stored as {column.type}, not as {dtype!r}: {reason}. Write it again as declared."
        )
    try:
        return cast_column(column, dtype, parse_json=False)
    except LossyCastError as error:
        raise BackendDataError(f"{name} {error}. Write the source again as declared.") from error


def _chunked(column: Any) -> pa.ChunkedArray:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
