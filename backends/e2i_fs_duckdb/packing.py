"""Online rows as bytes: the values by position, the names once for each layout of a view.

What is kept of one key begins with four bytes: one that no msgpack begins with, the form, and the number of the layout. Then:

- one row of whole values of fixed width (numbers, flags, times): its event time, its created time in `CREATED`, its values;
- anything else, `ROWS`: in msgpack, a list of rows ``[event time, created time, value, ...]``, greatest first.

What has no such beginning was written by a version before this form, a list of ``[event time, created time, {name: value}]``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgpack

from e2i_fs.backend import OnlineRow
from e2i_fs.definitions import FeatureView

__all__ = ["Layout", "decode_before_layouts", "layout_number", "one_row_each", "only_event"]

_MARK = 0xC1
_PLAIN, _CREATED, _ROWS = 1, 2, 3
_CODES = {"float64": "d", "float32": "d", "int64": "q", "int32": "q", "date": "q", "timestamp": "q", "bool": "?"}
_HEAD = struct.Struct("<BBH")
_EVENT = struct.Struct("<4sq")


class Layout:
    """The fields of a view in the order of its schema, and how their values are kept.

    ``codes`` has one letter of `struct` for each field if all are of fixed width, else it is empty.
    """

    def __init__(self, number: int, names: Sequence[str], codes: str) -> None:
        self.number = number
        self.names = tuple(names)
        self.codes = codes
        self._values_of: Any = itemgetter(*names) if len(names) > 1 else _Only(names[0]) if names else _nothing
        self._flags = "?" in codes
        self._rows = _HEAD.pack(_MARK, _ROWS, number)
        # The four bytes of the beginning as one number, which is compared at once for a whole column of rows.
        self.plain_head, self.created_head = (
            int.from_bytes(_HEAD.pack(_MARK, form, number), "little") for form in (_PLAIN, _CREATED)
        )
        self.plain, self.created = struct.Struct(f"<Iq{codes}"), struct.Struct(f"<Iqq{codes}")

    @classmethod
    def of(cls, view: FeatureView, number: int) -> Layout:
        """Return the layout of a view's present schema."""
        codes = [_CODES.get(f.dtype.kind, "") for f in view.schema]
        return cls(number, [f.name for f in view.schema], "".join(codes) if all(codes) else "")

    @classmethod
    def from_bytes(cls, number: int, kept: bytes) -> Layout:
        """Return the layout that `to_bytes` wrote."""
        names, codes = msgpack.unpackb(kept)
        return cls(number, names, codes)

    def to_bytes(self) -> bytes:
        """Return the layout as it is kept beside its rows."""
        packed: bytes = msgpack.packb([self.names, self.codes])
        return packed

    def same_as(self, other: Layout) -> bool:
        """Return whether rows of both are the same bytes, but for the number."""
        return (self.names, self.codes) == (other.names, other.codes)

    def pack(self, rows: Sequence[OnlineRow]) -> bytes:
        """Return the rows of one key, greatest first, as bytes."""
        if self.codes and len(rows) == 1:
            (row,) = rows
            try:
                values = self._values_of(row.values)
                if not (self._flags and None in values):  # which `struct` would take for False
                    if row.created_us is None:
                        return self.plain.pack(self.plain_head, row.event_us, *values)
                    return self.created.pack(self.created_head, row.event_us, row.created_us, *values)
            except (KeyError, struct.error):
                pass  # a value is missing, or wider than its dtype: not for a form of fixed width
        listed = [[row.event_us, row.created_us, *map(row.values.get, self.names)] for row in rows]
        packed: bytes = self._rows + msgpack.packb(listed, use_bin_type=True)
        return packed

    def unpack(self, kept: bytes) -> list[tuple[Any, ...]]:
        """Return rows that were kept in this layout as ``(event time, created time, value, ...)``, greatest first."""
        form = kept[1]
        if form == _PLAIN:
            _, event, *values = self.plain.unpack(kept)
            return [(event, None, *values)]
        if form == _CREATED:
            return [self.created.unpack(kept)[1:]]
        if form != _ROWS:
            raise ValueError(f"form {form}")
        return list(map(tuple, msgpack.unpackb(memoryview(kept)[4:], raw=False, strict_map_key=False)))


class _Only:
    """What `itemgetter` is for several names, for one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, values: Any) -> tuple[Any]:
        return (values[self._name],)


def _nothing(values: Any) -> tuple[()]:
    return ()


def layout_number(kept: bytes) -> int | None:
    """Return the number of the layout under which the rows of a key are kept, None if they are from before there were layouts."""
    mark, _, number = _HEAD.unpack_from(kept) if len(kept) >= _HEAD.size else (kept[:1], 0, 0)
    return int(number) if mark == _MARK else None


def only_event(kept: bytes) -> int | None:
    """Return the event time of the one row that is kept of a key, None if there may be several."""
    if len(kept) < _EVENT.size or kept[0] != _MARK or kept[1] == _ROWS:
        return None
    event: int = _EVENT.unpack_from(kept)[1]
    return event


def one_row_each(kept: Sequence[bytes], layout: Layout) -> list[tuple[Any, ...]] | None:
    """Return the columns (event time, created time, value, ...) of keys that have one row of fixed width each; None for others."""
    with_created = kept[0][1] == _CREATED
    shape, head = (layout.created, layout.created_head) if with_created else (layout.plain, layout.plain_head)
    try:
        heads, events, *columns = zip(*map(shape.unpack, kept), strict=True)
    except struct.error:
        return None  # of different lengths
    if heads.count(head) != len(heads):
        return None
    return [events, *columns] if with_created else [events, (None,) * len(events), *columns]


def decode_before_layouts(kept: bytes) -> tuple[OnlineRow, ...]:
    """Return the rows of a key that were written before there were layouts."""
    return tuple(OnlineRow(*row) for row in msgpack.unpackb(kept, raw=False, strict_map_key=False))
