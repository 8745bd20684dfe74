"""Online rows as bytes: the values by position, the names once for each layout of a view.

What is kept of one key begins with four bytes: one that no msgpack begins with, the form, and the number of the layout. Then:

- one row of whole values of fixed width (numbers, flags, times): its event time, its created time in `CREATED`, its values;
- anything else, `ROWS`: in msgpack, a list of rows ``[event time, created time, value, ...]``, greatest first.

What has no such beginning was written by a version before this form, a list of ``[event time, created time, {name: value}]``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgpack

from e2i_fs.backend import OnlineRow
from e2i_fs.definitions import FeatureView
from e2i_fs.prepared import picker

__all__ = ["Fixed", "Layout", "decode_before_layouts", "layout_number", "only_event"]

_MARK = 0xC1
_PLAIN, _CREATED, _ROWS = 1, 2, 3
_CODES = {"float64": "d", "float32": "d", "int64": "q", "int32": "q", "date": "q", "timestamp": "q", "bool": "?"}
_HEAD = struct.Struct("<BBH")
_EVENT = struct.Struct("<4sq")


class Fixed:
    """Rows of one layout whose values are whole and of fixed width, with created times or without."""

    def __init__(self, number: int, names: Sequence[str], codes: str, *, created: bool) -> None:
        self.names = tuple(names)
        self.created = created
        self.flags = "?" in codes
        # The four bytes of the beginning as one number, which is compared at once for a whole column of rows.
        self.head = int.from_bytes(_HEAD.pack(_MARK, _CREATED if created else _PLAIN, number), "little")
        shape = struct.Struct(f"<I{'qq' if created else 'q'}{codes}")
        self.pack, self.unpack = shape.pack, shape.unpack

    def columns(
        self, kept: Sequence[bytes]
    ) -> tuple[Sequence[int], Sequence[int | None], Sequence[Sequence[Any]]] | None:
        """Return the event times, the created times and the values of keys that have one such row each; None for others."""
        try:
            heads, events, *values = zip(*map(self.unpack, kept))  # noqa: B905 - all of one length, by their form
        except struct.error:
            return None  # of another length
        if heads.count(self.head) != len(heads):
            return None
        return (events, values[0], values[1:]) if self.created else (events, (None,) * len(events), values)


class Layout:
    """The fields of a view in the order of its schema, and how their values are kept.

    ``codes`` has one letter of `struct` for each field if all are of fixed width, else it is empty.
    """

    def __init__(self, number: int, names: Sequence[str], codes: str) -> None:
        self.number = number
        self.names = tuple(names)
        self.codes = codes
        self.plain = Fixed(number, names, codes, created=False)
        self.created = Fixed(number, names, codes, created=True)
        self._values_of = picker(names)
        self._rows = _HEAD.pack(_MARK, _ROWS, number)

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
            event, created, mapping = rows[0]
            try:
                values = self._values_of(mapping)
                if not (self.plain.flags and None in values):  # which `struct` would take for False
                    if created is None:
                        return self.plain.pack(self.plain.head, event, *values)
                    return self.created.pack(self.created.head, event, created, *values)
            except (KeyError, struct.error):
                pass  # a value is missing, or wider than its dtype: not for a form of fixed width
        listed = [[row.event_us, row.created_us, *map(row.values.get, self.names)] for row in rows]
        packed: bytes = self._rows + msgpack.packb(listed, use_bin_type=True)
        return packed

    def fixed(self, kept: bytes) -> Fixed | None:
        """Return the form of the one row that is kept of a key, None if it has another form."""
        return {_PLAIN: self.plain, _CREATED: self.created}.get(kept[1])

    def unpack(self, kept: bytes) -> list[OnlineRow]:
        """Return the rows of a key that were kept in this layout, greatest first."""
        fixed = self.fixed(kept)
        if fixed is not None:
            _, event, *values = fixed.unpack(kept)
            rows = [(event, *values) if fixed.created else (event, None, *values)]
        elif kept[1] == _ROWS:
            rows = msgpack.unpackb(memoryview(kept)[_HEAD.size :], raw=False, strict_map_key=False)
        else:
            raise ValueError(f"form {kept[1]}")
        return [OnlineRow(event, created, dict(zip(self.names, v, strict=True))) for event, created, *v in rows]


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


def decode_before_layouts(kept: bytes) -> tuple[OnlineRow, ...]:
    """Return the rows of a key that were written before there were layouts."""
    return tuple(OnlineRow(*row) for row in msgpack.unpackb(kept, raw=False, strict_map_key=False))
