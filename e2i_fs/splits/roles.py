"""What each column of a training frame is: features, target, keys, the time; chosen once, every mistake named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.errors import (
    InvalidEntityFrameError,
    InvalidTimestampError,
    LabelRequestedError,
    LeakageError,
    RequestError,
    SplitError,
    did_you_mean,
)
from e2i_fs.frames import Frame
from e2i_fs.pit.times import column_to_us
from e2i_fs.results import HistoricalResult, Provenance
from e2i_fs.values import decoded

__all__ = ["TrainingFrame"]


@dataclass(frozen=True, slots=True)
class TrainingFrame:
    """A frame whose columns have their parts. ``native`` and ``table`` have the same rows and columns."""

    native: Any
    kind: str
    table: pa.Table
    features: tuple[str, ...]
    target: str
    keys: tuple[str, ...]
    timestamp_column: str
    times: pa.ChunkedArray
    result: HistoricalResult | None

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        target: str,
        features: Sequence[str] | None,
        timestamp_column: str | None,
        entity_keys: Sequence[str] | None,
    ) -> TrainingFrame:
        """Return the frame with its parts, or raise the `RequestError` that says which column is wrong.

        Of a `HistoricalResult` the features are its features but the labels, the keys its join keys, the time its time
        column. Of any other frame all columns but the target, the keys and the time are features.
        """
        result = data if isinstance(data, HistoricalResult) else None
        asked = None if result is None else result.asked
        if result is None:
            frame = Frame(data, "the training frame")
            native, kind, table = frame.native, frame.kind, frame.table
        else:
            native, kind, table = result.to_native(), result.kind, result.to_arrow()
            native = native.collect() if type(native).__name__ == "LazyFrame" else native
        if len(table) == 0:
            raise InvalidEntityFrameError("The training frame has no rows; there is nothing to split.")
        table = _without_views(table)
        names = table.column_names
        by_ref = {} if asked is None else dict(zip(asked.refs, asked.names, strict=True))
        labels = set() if asked is None else {by_ref[ref] for ref in asked.labels}
        target = by_ref.get(target, target)
        _known(target, names, "target")
        time = timestamp_column or ("event_timestamp" if asked is None else asked.timestamp_column)
        if time not in names:
            raise InvalidTimestampError(
                f"The training frame has no column {time!r}, the time of each row.{did_you_mean(time, names)} "
                "Name it with timestamp_column=."
            )
        if entity_keys is None and features is None and asked is None:
            raise RequestError(
                "Which columns are keys, and so no features? Name them with entity_keys=[...] (or () when there are "
                "none), or name the features with features=[...]."
            )
        keys = tuple(asked.join_keys if entity_keys is None and asked is not None else _listed(entity_keys or ()))
        for key in keys:
            _known(key, names, "entity_keys")
        if features is None:
            own = names if result is None else result.feature_names
            chosen = tuple(n for n in own if n not in {target, time, *keys, *labels})
        else:
            chosen = tuple(by_ref.get(f, f) for f in _listed(features))
        _check_features(chosen, names, target, labels)
        times = column_to_us(table.column(time), time, reject_naive=False)
        if times.null_count:
            row = pc.index(times.is_null(), pa.scalar(True)).as_py()
            raise InvalidTimestampError(
                f"Column {time!r}, row {row}: the time is missing ({times.null_count} of {len(times)} are). "
                "A row without a time belongs to no split (T-3)."
            )
        made = cls(native, kind, table, chosen, target, keys, time, times, result)
        made._check_copies()
        return made

    @property
    def provenance(self) -> Provenance | None:
        """Where the features came from, None for a frame that no store made."""
        return None if self.result is None else self.result.provenance

    @property
    def missing_target(self) -> pa.ChunkedArray:
        """Whether the target of each row is missing; NaN counts, for no model can learn it."""
        column = self.table.column(self.target)
        return pc.is_null(column, nan_is_null=bool(pa.types.is_floating(column.type)))

    def take(self, rows: pa.Array) -> tuple[Any, pa.Table]:
        """Return some rows, copied: in the caller's own kind (as Arrow for a DuckDB relation) and as Arrow."""
        table = self.table.take(rows)
        if self.kind == "pandas":
            return self.native.iloc[rows.to_pylist()], table
        return (self.native[rows.to_pylist()] if self.kind == "polars" else table), table

    def _check_copies(self) -> None:
        """Raise `LeakageError` for a feature that is the target itself, value for value."""
        target = _comparable(self.table.column(self.target))
        if target is None or len(pc.unique(target.drop_null())) < 2:
            return  # of one value only, a constant feature is no copy
        for name in self.features:
            column = _comparable(self.table.column(name))
            if column is None or column.type != target.type or column.null_count != target.null_count:
                continue
            if pc.all(pc.equal(column, target)).as_py():
                raise LeakageError(
                    f"The feature {name!r} equals the target {self.target!r} in all {len(target)} rows: a model would learn "
                    "to copy it. Leave it out of features=[...]."
                )


def _without_views(table: pa.Table) -> pa.Table:
    """Return a table whose text is not in views, from which Arrow cannot take rows; polars gives text so."""
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    return table.cast(pa.schema([f.with_type(plain.get(f.type, f.type)) for f in table.schema]))


def _listed(given: Iterable[str] | str) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _known(name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        raise RequestError(f"{what}: the training frame has no column {name!r}.{did_you_mean(name, names)}")


def _check_features(chosen: Sequence[str], names: Sequence[str], target: str, labels: Iterable[str]) -> None:
    for name in chosen:
        _known(name, names, "features")
        if name == target:
            raise LabelRequestedError(f"features names the target {target!r}: it is what the model is to predict.")
        if name in set(labels):
            raise LabelRequestedError(f"features names the label {name!r}: a label is no model input (P-12).")
    twice = sorted({n for n in chosen if list(chosen).count(n) > 1})
    if twice:
        raise RequestError(f"features names {twice[0]!r} twice; name it once.")
    if not chosen:
        raise SplitError("No features are left: every column is the target, a label, a key or the time.")


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return a column in a type in which copies of other types compare, None for nested ones."""
    column = decoded(column)
    given = column.type
    if pa.types.is_boolean(given):
        return column.cast(pa.int8()).cast(pa.float64())
    if pa.types.is_integer(given) or pa.types.is_floating(given):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given):
        return column.cast(pa.large_string())
    return None if pa.types.is_nested(given) or pa.types.is_null(given) else column
