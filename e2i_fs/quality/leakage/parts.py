"""The splits of an audit: who is in which, and when, whatever the caller keeps them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from e2i_fs.errors import InvalidEntityFrameError, RequestError, did_you_mean
from e2i_fs.frames import Frame
from e2i_fs.historical import EntityFrame
from e2i_fs.quality.leakage.compare import prepared
from e2i_fs.quality.leakage.question import Question

__all__ = ["HasSplits", "Parts"]


@runtime_checkable
class HasSplits(Protocol):
    """Splits that tell keys and times of each part, a locked one's too: `e2i_fs.splits.TrainingSplits` are such."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the parts in order, train first."""
        ...

    @property
    def rule(self) -> Any:
        """By which they were made, with its ``embargo`` and ``isolate_entities``."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield the parts that are open, each with ``name`` and ``rows``."""
        ...

    def keys_and_times(self, name: str) -> pa.Table:
        """Return the keys of a part, and last its times."""
        ...


@dataclass(frozen=True)
class Parts:
    """The splits in order, train first.

    ``table`` has a row for each row of a split: ``part`` (its number), ``t`` (µs) and ``k0..``; ``rows`` are the
    positions of each split's rows in the frame, None where that is not known (of a locked holdout, of frames).
    """

    names: tuple[str, ...]
    table: pa.Table
    keys: tuple[str, ...]
    rows: tuple[tuple[int, ...] | None, ...] = ()
    embargo: timedelta | None = None
    isolate_entities: bool | None = None

    @classmethod
    def of(cls, splits: Any, question: Question) -> Parts | None:
        """Return the splits of an audited frame: by a column, by row numbers, or as they were made."""
        if splits is None:
            return None
        if isinstance(splits, HasSplits):
            return cls.made(splits)
        table, keys = question.frame.table, question.key_columns
        rows = _by_column(splits, table) if isinstance(splits, str) else _by_rows(splits, len(table))
        times = question.entities.times
        pieces = [_piece(n, table.take(r), times.take(r), keys) for n, r in enumerate(rows.values())]
        positions = tuple(tuple(r.to_pylist()) for r in rows.values())
        return cls(tuple(rows), pa.concat_tables(pieces, promote_options="default"), tuple(keys), positions)

    @classmethod
    def made(cls, splits: HasSplits) -> Parts:
        """Return the parts of splits that a rule made, with what it promises of them."""
        pieces = []
        keys: list[str] = []
        for n, name in enumerate(splits.names):
            table = splits.keys_and_times(name)
            *keys, time = table.column_names
            pieces.append(_piece(n, table, EntityFrame.checked(table, time, reject_naive=False).times, keys))
        opened = {split.name: tuple(split.rows) for split in splits}
        rows = tuple(opened.get(name) for name in splits.names)
        rule = splits.rule
        return cls(
            tuple(splits.names),
            pa.concat_tables(pieces),
            tuple(keys),
            rows,
            rule.embargo,
            rule.isolate_entities or None,
        )

    @classmethod
    def frames(cls, splits: Mapping[str, Any], entity_keys: Sequence[str], timestamp_column: str) -> Parts:
        """Return splits that are a frame each."""
        pieces = []
        for n, (name, native) in enumerate(splits.items()):
            frame = Frame(native, f"split {name!r}")
            for key in entity_keys:
                if key not in frame.table.column_names:
                    hint = did_you_mean(key, frame.table.column_names)
                    raise InvalidEntityFrameError(f"Split {name!r} has no key column {key!r}.{hint}")
            times = (
                EntityFrame.checked(native, timestamp_column, reject_naive=False).times if len(frame.table) else None
            )
            pieces.append(_piece(n, frame.table, times, list(entity_keys)))
        try:
            table = pa.concat_tables(pieces, promote_options="permissive")
        except pa.ArrowException as error:
            raise InvalidEntityFrameError(
                f"The splits' key columns are of different types, so they cannot be compared: {error}. Make them one type."
            ) from error
        return cls(tuple(splits), table, tuple(entity_keys))


def _piece(number: int, table: pa.Table, times: pa.ChunkedArray | None, keys: Sequence[str]) -> pa.Table:
    columns: dict[str, Any] = {"part": pa.array([number] * len(table), pa.int64())}
    columns["t"] = pa.nulls(len(table), pa.int64()) if times is None else times
    if len(table):  # the columns of an empty frame have no types to compare
        columns |= {f"k{i}": prepared(table.column(key)) for i, key in enumerate(keys)}
    return pa.table(columns)


def _by_column(column: str, table: pa.Table) -> dict[str, pa.Array]:
    if column not in table.column_names:
        hint = did_you_mean(column, table.column_names)
        raise RequestError(f"The frame has no column {column!r}, which should say each row's split.{hint}")
    found: dict[str, list[int]] = {}
    for row, name in enumerate(table.column(column).to_pylist()):
        if name is not None:
            found.setdefault(str(name), []).append(row)
    order = ["train", "validation", "valid", "val", "dev", "test", "holdout"]
    names = sorted(found, key=lambda n: order.index(n.lower()) if n.lower() in order else len(order))
    return {name: pa.array(found[name], pa.int64()) for name in names}


def _by_rows(splits: Any, rows: int) -> dict[str, pa.Array]:
    if not isinstance(splits, Mapping):
        raise RequestError(
            f"splits is a {type(splits).__name__}; give the name of a column, a mapping of split name to row numbers, or "
            "TrainingSplits."
        )
    found = {}
    for name, numbers in splits.items():
        try:
            found[str(name)] = pa.array([int(n) for n in numbers], pa.int64())
        except (TypeError, ValueError) as error:
            raise RequestError(
                f"splits[{name!r}] holds no row numbers ({error}); audit_splits takes frames."
            ) from error
        wrong = next((n for n in found[str(name)].to_pylist() if not 0 <= n < rows), None)
        if wrong is not None:
            raise RequestError(f"splits[{name!r}] names row {wrong}; the frame has rows 0 to {rows - 1}.")
    if not found:
        raise RequestError("splits is an empty mapping; name at least two splits.")
    return found
