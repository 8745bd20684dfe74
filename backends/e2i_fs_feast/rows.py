"""Rows as they lie in Feast's online store: the features, and one hidden value with what Feast has no place for.

The hidden value of a key holds our event and created times in microseconds, the generation of the view, the parts of
values that Feast's types lose, and further rows of the key that lie ahead of the clock. It also holds a digest of the
features beside it and Feast's own event time: when these differ, Feast has written since, and its row answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgpack
from feast.protos.feast.types.Value_pb2 import Value

from e2i_fs.backend import OnlineRow
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import BackendDataError
from e2i_fs_feast.contents import canonical, packer, unpacker

__all__ = ["HIDDEN", "Hidden", "Kept", "Layout", "Stored", "is_of"]

HIDDEN = "*e2i_fs"
"""The hidden value's name; ``*`` may not stand in the name of a feature."""

_FORMAT = 1


class Stored(NamedTuple):
    """What the store holds of one key: serialised messages by feature name, Feast's event time as stored and in microseconds.

    A feature that is missing is the empty message, or is not there.
    """

    values: Mapping[str, bytes | None]
    stamp: int
    event_us: int


class Hidden(NamedTuple):
    """The hidden value of a key. ``others`` are the rows behind the first, each as event time, created time and values."""

    form: int
    generation: int
    event_us: int
    created_us: int | None
    digest: bytes
    stamp: int
    inexact: Mapping[str, Any]
    others: Sequence[tuple[int, int | None, Mapping[str, Any]]]


class Kept(NamedTuple):
    """The rows of one key, greatest first, and whether the first was written by Feast itself."""

    rows: tuple[OnlineRow, ...]
    by_feast: bool = False


def is_of(content: bytes | None, generation: int) -> bool:
    """Return whether a hidden value, as stored, is of this generation of its view."""
    if not content:
        return False
    return bool(msgpack.unpackb(Value.FromString(content).bytes_val, strict_map_key=False)[1] == generation)


class Layout:
    """How the online rows of one view, under one generation, are laid out as messages."""

    def __init__(self, view: FeatureView, generation: int) -> None:
        self.generation = generation
        self._view = view
        self._packers = [(f.name, packer(f.dtype)) for f in view.schema]
        self._unpackers = [(f.name, unpacker(f.dtype)) for f in view.schema]
        self._heads = [(name, b"%d:%b" % (len(name.encode()), name.encode())) for name in sorted(view.features)]

    def encode(self, rows: Sequence[OnlineRow], stamp: int) -> dict[str, bytes]:
        """Return the messages of a key whose rows (greatest first) are ``rows``, the hidden one included.

        ``stamp`` is Feast's event time as the store will hold it.
        """
        first, *others = rows
        contents: dict[str, bytes] = {}
        inexact: dict[str, Any] = {}
        for name, pack in self._packers:
            value = first.values.get(name)
            contents[name], whole = pack(value)
            if not whole:
                inexact[name] = value
        hidden = [
            _FORMAT, self.generation, first.event_us, first.created_us, self._digest(contents), stamp, inexact,
            [[row.event_us, row.created_us, dict(row.values)] for row in others],
        ]  # fmt: skip
        return {HIDDEN: Value(bytes_val=msgpack.packb(hidden)).SerializeToString(), **contents}

    def hidden(self, stored: Stored) -> Hidden | None:
        """Return the hidden value of a key; None when Feast itself wrote what is there."""
        content = stored.values.get(HIDDEN)
        if not content:
            return None
        packed = Value.FromString(content).bytes_val
        if not packed:
            return None
        try:
            form = msgpack.unpackb(packed, strict_map_key=False)
            if form[0] != _FORMAT:
                raise ValueError(f"format {form[0]!r}")
            return Hidden._make(form)
        except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
            raise BackendDataError(
                f"View {self._view.name!r}: an online row cannot be read ({error}); materialise it again, or upgrade e2i_fs."
            ) from error

    def untouched(self, stored: Stored, hidden: Hidden) -> bool:
        """Return whether the features are still those that the hidden value was written beside: Feast has not written since."""
        if hidden.stamp != stored.stamp:
            return False
        if hidden.digest == self._digest(stored.values):
            return True
        # An earlier version left the order of a map's entries to Feast, and counted them in order.
        ordered = {name: canonical(content) for name, content in stored.values.items() if content and name != HIDDEN}
        return hidden.digest == self._digest(ordered)

    def first(self, stored: Stored, hidden: Hidden) -> OnlineRow:
        """Return the greatest row of a key whose features are `untouched`."""
        inexact = hidden.inexact
        values = self._values(stored)
        return OnlineRow(hidden.event_us, hidden.created_us, {**values, **inexact} if inexact else values)

    def decode(self, stored: Stored, hidden: Hidden | None) -> Kept:
        """Return the rows that ``stored`` holds under this generation; rows of another generation are not there.

        A row without a hidden value, or whose features are no longer those it was written beside, is Feast's own.
        """
        if hidden is None:
            return Kept((self._feast_row(stored),), by_feast=True)
        if hidden.generation != self.generation:
            return Kept(())
        further = tuple(OnlineRow(event, created, values) for event, created, values in hidden.others)
        if self.untouched(stored, hidden):
            return Kept((self.first(stored, hidden), *further))
        rows = sorted((self._feast_row(stored), *further), key=lambda row: row.event_us, reverse=True)
        return Kept(tuple(rows), by_feast=True)

    def _feast_row(self, stored: Stored) -> OnlineRow:
        return OnlineRow(stored.event_us, None, self._values(stored))

    def _values(self, stored: Stored) -> dict[str, Any]:
        contents = stored.values.get
        values: dict[str, Any] = {}
        for name, unpack in self._unpackers:
            content = contents(name)
            try:
                values[name] = unpack(content) if content else None
            except BackendDataError as error:
                raise BackendDataError(f"View {self._view.name!r}, feature {name!r}: {error}") from error
        return values

    def _digest(self, contents: Mapping[str, bytes | None]) -> bytes:
        """Return a hash of the features as stored; one that is missing counts as one that was never there."""
        pieces: list[bytes] = []
        for name, head in self._heads:
            content = contents.get(name)
            if content:
                pieces += (head, b"%d:" % len(content), content)
        return hashlib.blake2b(b"".join(pieces), digest_size=8).digest()
