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
from e2i_fs_feast.protos import exact, from_message, to_message

__all__ = ["HIDDEN", "Kept", "Stored", "decode", "encode", "generation_of"]

HIDDEN = "*e2i_fs"
"""The hidden value's name; ``*`` may not stand in the name of a feature."""

_FORMAT = 1
_EMPTY = b""


class Stored(NamedTuple):
    """What the store holds of one key: messages by feature name, Feast's event time as stored and in microseconds."""

    values: Mapping[str, Any]
    stamp: int
    event_us: int


class Kept(NamedTuple):
    """The rows of one key, greatest first, and whether the first was written by Feast itself."""

    rows: tuple[OnlineRow, ...]
    by_feast: bool = False


def encode(rows: Sequence[OnlineRow], view: FeatureView, generation: int, stamp: int) -> dict[str, Any]:
    """Return the messages of a key whose rows (greatest first) are ``rows``, the hidden one included.

    ``stamp`` is Feast's event time as the store will hold it.
    """
    first, *others = rows
    messages: dict[str, Any] = {}
    inexact: dict[str, Any] = {}
    for field in view.schema:
        value = first.values.get(field.name)
        messages[field.name] = message = to_message(value, field.dtype)
        if not exact(value, message, field.dtype):
            inexact[field.name] = value
    hidden = [
        _FORMAT, generation, first.event_us, first.created_us, _digest(messages), stamp, inexact,
        [[row.event_us, row.created_us, dict(row.values)] for row in others],
    ]  # fmt: skip
    return {HIDDEN: Value(bytes_val=msgpack.packb(hidden)), **messages}


def decode(stored: Stored | None, view: FeatureView, generation: int) -> Kept:
    """Return the rows that ``stored`` holds under ``generation``; rows of another generation are not there.

    A row without a hidden value, or whose features are no longer those it was written beside, is Feast's own.
    """
    if stored is None:
        return Kept(())
    hidden = _hidden(stored, view)
    if hidden is None:
        return Kept((_feast_row(stored, view),), by_feast=True)
    _, theirs, event_us, created_us, digest, stamp, inexact, others = hidden
    if theirs != generation:
        return Kept(())
    further = tuple(OnlineRow(event, created, values) for event, created, values in others)
    if stamp != stored.stamp or digest != _digest({f.name: stored.values.get(f.name, _NOTHING) for f in view.schema}):
        rows = sorted((_feast_row(stored, view), *further), key=lambda row: row.event_us, reverse=True)
        return Kept(tuple(rows), by_feast=True)
    values = {
        f.name: inexact[f.name] if f.name in inexact else _value(stored.values.get(f.name), view, f)
        for f in view.schema
    }
    return Kept((OnlineRow(event_us, created_us, values), *further))


def generation_of(stored: Stored, view: FeatureView) -> int | None:
    """Return the generation that wrote ``stored``; None when Feast itself did."""
    hidden = _hidden(stored, view)
    return None if hidden is None else int(hidden[1])


_NOTHING = Value()


def _hidden(stored: Stored, view: FeatureView) -> list[Any] | None:
    message = stored.values.get(HIDDEN)
    if message is None or not message.bytes_val:
        return None
    try:
        hidden: list[Any] = msgpack.unpackb(message.bytes_val, strict_map_key=False)
        if hidden[0] != _FORMAT:
            raise ValueError(f"format {hidden[0]!r}")
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise BackendDataError(
            f"View {view.name!r}: an online row cannot be read ({error}); materialise it again, or upgrade e2i_fs."
        ) from error
    return hidden


def _feast_row(stored: Stored, view: FeatureView) -> OnlineRow:
    return OnlineRow(stored.event_us, None, {f.name: _value(stored.values.get(f.name), view, f) for f in view.schema})


def _value(message: Any, view: FeatureView, field: Any) -> Any:
    if message is None:
        return None
    try:
        return from_message(message, field.dtype)
    except BackendDataError as error:
        raise BackendDataError(f"View {view.name!r}, feature {field.name!r}: {error}") from error


def _digest(messages: Mapping[str, Any]) -> bytes:
    """Return a hash of the features as stored; one that is missing counts as one that was never there."""
    sink = hashlib.blake2b(digest_size=8)
    for name in sorted(messages):
        content = messages[name].SerializeToString(deterministic=True)
        if content:
            sink.update(b"%d:%b%d:" % (len(name.encode()), name.encode(), len(content)))
            sink.update(content)
    return sink.digest()
