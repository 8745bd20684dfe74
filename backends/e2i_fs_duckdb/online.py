"""Online rows in LMDB: readers never wait, each commit is whole or not there (O-7), many processes share a file.

Chosen by measurement against SQLite and DuckDB: see ``benchmarks/online.py``.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from operator import is_
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import msgpack

from e2i_fs.backend import Key, OnlineColumns, OnlineRow, Position
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import BackendDataError
from e2i_fs.online import GRACE_US, merge, pick
from e2i_fs_duckdb.environments import Environment
from e2i_fs_duckdb.packing import Fixed, Layout, decode_before_layouts, layout_number, only_event

__all__ = ["OnlineRows"]

_LONGEST_KEY = 500  # LMDB takes keys of up to 511 bytes
_ROWS, _META, _LONG, _LAYOUTS, _NOTES = b"r", b"m", b"k", b"l", b"n"
_HASHED = (
    0xC1  # what no msgpack begins with: a key that is too long for LMDB stands there as its hash, and whole under _LONG
)
_PIECE = 10_000


class OnlineRows:
    """The online rows of all views below ``folder``, by storage number."""

    def __init__(self, folder: Path, size: int) -> None:
        self._env = Environment(folder, size)
        self._layouts: dict[tuple[int, int], Layout] = {}
        self._fixed: dict[int, Fixed] = {}

    def close(self) -> None:
        """Let go of the environment."""
        self._env.close()

    def read(self, storage: int, keys: Sequence[Key], *, at_us: int) -> list[OnlineRow | None]:
        """Return the row of each key that answers at ``at_us``, all of one snapshot."""
        found = self.columns({"": storage}, {"": keys}, at_us=at_us)[""]
        names, columns = list(found.values), list(found.values.values())
        rows = zip(*columns, strict=True) if columns else [()] * len(keys)
        return [
            None if event is None else OnlineRow(event, created, dict(zip(names, row, strict=True)))
            for event, created, row in zip(found.event_us, found.created_us, rows, strict=True)
        ]

    def columns(
        self, storage: Mapping[str, int], asked: Mapping[str, Sequence[Key]], *, at_us: int
    ) -> dict[str, OnlineColumns]:
        """Return the rows of each view's keys that answer at ``at_us``, all of one snapshot; ``storage`` has the views' numbers."""
        env, found = self._env, {}
        opened = env.hold()
        try:
            with env.begin(opened.env) as transaction:
                get, last, packed = transaction.get, None, []
                for view, keys in asked.items():
                    if keys is not last:  # views of the same entities are asked with the same keys
                        last, packed = keys, _packed(keys)
                    number = storage[view]
                    prefix, meta = _begins(number)
                    kept = [get(prefix + name) for name in packed]
                    found[view] = OnlineColumns(*self._decoded(transaction, number, kept, at_us), _writes(get(meta)))
        except lmdb.Error as error:
            raise env.failed(error, write=False) from error
        finally:
            env.let_go(opened)
        return found

    def _decoded(
        self, transaction: Any, storage: int, kept: list[bytes | None], at_us: int
    ) -> tuple[Sequence[int | None], Sequence[int | None], Mapping[str, Sequence[Any]]]:
        """Return the event times, the created times and the values of the rows that answer at ``at_us``."""
        there = [value for value in kept if value is not None] if None in kept else kept
        if not there:
            nothing = (None,) * len(kept)
            return nothing, nothing, {}
        # Nearly always each key has one row of one form, that of the read before: then all are decoded at once.
        fixed = self._fixed.get(storage)
        columns = None if fixed is None else fixed.columns(there)  # type: ignore[arg-type]
        if fixed is None or columns is None or max(columns[0]) > at_us:
            return _as_columns(
                [
                    None if value is None else pick(self._rows(transaction, storage, value), at_us=at_us)
                    for value in kept
                ]
            )
        events, created, values = columns
        if len(there) == len(kept):
            return events, created, dict(zip(fixed.names, values))  # noqa: B905 - as many, by their form
        place = iter(range(len(there)))
        at = [-1 if value is None else next(place) for value in kept]
        spread = [list(map((*column, None).__getitem__, at)) for column in (events, created, *values)]
        return spread[0], spread[1], dict(zip(fixed.names, spread[2:], strict=True))

    def _rows(self, transaction: Any, storage: int, kept: bytes) -> Sequence[OnlineRow]:
        """Return all rows that are kept of a key, greatest first."""
        try:
            number = layout_number(kept)
            if number is None:
                return decode_before_layouts(kept)
            layout = self._layout(transaction, storage, number)
            fixed = layout.fixed(kept)
            if fixed is not None:
                self._fixed[storage] = fixed
            return layout.unpack(kept)
        except (ValueError, TypeError, IndexError, struct.error, msgpack.UnpackException) as error:
            raise BackendDataError(f"An online row cannot be decoded ({error}); materialise the view again.") from error

    def _layout(self, transaction: Any, storage: int, number: int) -> Layout:
        """Return a layout, which never changes; remembered once it is committed, as it is when rows that name it are read."""
        layout = self._layouts.get((storage, number))
        if layout is None:
            kept = transaction.get(_layout_key(storage, number))
            if kept is None:
                raise BackendDataError(
                    f"The layout {number} of online rows in {self._env.path} is missing; materialise the view again."
                )
            layout = self._layouts[storage, number] = Layout.from_bytes(number, kept)
        return layout

    def _layout_to_write(self, transaction: Any, storage: int, view: FeatureView) -> Layout:
        """Return the layout of a view as it is now, kept if it is a new one."""
        number = 0
        while (kept := transaction.get(_layout_key(storage, number))) is not None:
            known = Layout.from_bytes(number, kept)
            if known.same_as(Layout.of(view, number)):
                return known
            number += 1
        layout = Layout.of(view, number)
        transaction.put(_layout_key(storage, number), layout.to_bytes())
        return layout

    def write(
        self, storage: int, view: FeatureView, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int
    ) -> int:
        """Merge rows in one transaction; return how many keys changed."""
        prefix, meta = _begins(storage)
        names = [prefix + packed for packed in _packed(keys)]
        incoming = _grouped(names, rows)
        long = {n: msgpack.packb(k) for n, k in zip(names, keys, strict=True) if n[len(prefix)] == _HASHED}
        puts: list[tuple[bytes, bytes]] = []
        with self._env.transaction(write=True) as transaction:
            get = transaction.get
            sequence, newest, count, batches = _noted(get(meta))
            layout = self._layout_to_write(transaction, storage, view)
            for name in sorted(incoming):
                new, kept = incoming[name], get(name)
                after: Sequence[OnlineRow] = new
                packed = layout.pack(new) if len(new) == 1 else b""
                if packed == kept:
                    continue
                if kept is not None or not packed:
                    before = partial(self._rows, transaction, storage, kept)
                    after = _merged(kept, before, new, view, at_us)
                    if not after:
                        continue
                count += kept is None
                puts.append((name, packed if after is new and packed else layout.pack(after)))
                newest = after[0].event_us if newest is None or after[0].event_us > newest else newest
            transaction.cursor().putmulti(puts)
            for name in long.keys() & {name for name, _ in puts} if long else ():
                transaction.put(_LONG + name, long[name])
            transaction.put(meta, msgpack.packb((sequence + 1, newest, count, batches)))
        return len(puts)

    def copied(self, storage: int) -> Iterator[tuple[list[Key], list[OnlineRow], int]]:
        """Yield all rows of one storage number in pieces, all of one snapshot; see `e2i_fs.backend.Copyable`."""
        prefix, _ = _begins(storage)
        keys: list[Key] = []
        rows: list[OnlineRow] = []
        with self._env.transaction() as transaction:
            cursor = transaction.cursor()
            found = cursor.set_range(prefix)
            while found and (name := cursor.key()).startswith(prefix):
                kept = self._rows(transaction, storage, cursor.value())
                encoded = name[len(prefix) :]
                keys += [_decoded(transaction.get(_LONG + name) if encoded[0] == _HASHED else encoded)] * len(kept)
                rows += kept
                if len(rows) >= _PIECE:
                    yield keys, rows, min(row.event_us for row in rows)
                    keys, rows = [], []
                found = cursor.next()
        if rows:
            yield keys, rows, min(row.event_us for row in rows)

    def position(self, storage: int) -> Position:
        """Return how far the rows of one storage number are, batches of history not counted."""
        with self._env.transaction() as transaction:
            return Position(*_noted(transaction.get(_begins(storage)[1]))[:3])

    def note_batches(self, storages: Iterable[int], counted: Callable[[int], int]) -> None:
        """Note how many batches the history of each storage number has, so that `columns` can tell without looking at it.

        ``counted`` is asked while no other process notes: of several, the last one has counted what all of them added.
        """
        with self._env.transaction(write=True) as transaction:
            for storage in storages:
                meta = _begins(storage)[1]
                noted, batches = _noted(transaction.get(meta)), counted(storage)
                if noted.batches != batches:
                    transaction.put(meta, msgpack.packb(noted._replace(batches=batches)))
            transaction.put(_NOTES, b"", overwrite=False)

    def has_notes(self) -> bool:
        """Return whether batches were ever noted here: versions before this one did not."""
        with self._env.transaction() as transaction:
            return transaction.get(_NOTES) is not None

    def drop(self, storage: int) -> None:
        """Remove every row of one storage number."""
        prefix, meta = _begins(storage)
        with self._env.transaction(write=True) as transaction:
            cursor = transaction.cursor()
            for start in (prefix, _LONG + prefix, _LAYOUTS + struct.pack(">I", storage)):
                found = cursor.set_range(start)
                while found and cursor.key().startswith(start):
                    found = cursor.delete()
            transaction.delete(meta)
        self._layouts = {place: layout for place, layout in self._layouts.copy().items() if place[0] != storage}
        self._fixed.pop(storage, None)


@lru_cache(1024)
def _begins(storage: int) -> tuple[bytes, bytes]:
    """Return the beginning of the names of a storage number's rows, and the name of what is noted of them."""
    number = struct.pack(">I", storage)
    return _ROWS + number, _META + number


def _layout_key(storage: int, number: int) -> bytes:
    return _LAYOUTS + struct.pack(">IH", storage, number)


class _Packers(threading.local):
    """What makes bytes of keys, one for each thread: making one anew costs more than all it does for a key."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=True).pack


_packers = _Packers()


def _packed(keys: Sequence[Key]) -> list[bytes]:
    """Return the bytes of keys: their values with their types (P-7), or their hash when that is too long for LMDB."""
    packed: list[bytes] = list(map(_packers.pack, keys))
    if len(packed) == 1 and len(packed[0]) <= _LONGEST_KEY:
        return packed
    if packed and max(map(len, packed)) > _LONGEST_KEY:
        return [p if len(p) <= _LONGEST_KEY else bytes([_HASHED]) + hashlib.sha256(p).digest() for p in packed]
    return packed


def _decoded(encoded: bytes | None) -> Key:
    """Return the key of these bytes."""
    if encoded is None:
        raise BackendDataError(f"A key of more than {_LONGEST_KEY} bytes is not kept beside its hash; write it again.")
    return tuple(msgpack.unpackb(encoded, raw=False))


def _grouped(names: Sequence[bytes], rows: Sequence[OnlineRow]) -> dict[bytes, Sequence[OnlineRow]]:
    """Return the rows of each key, in their order."""
    each: dict[bytes, Sequence[OnlineRow]] = dict(zip(names, zip(rows, strict=True), strict=True))
    if len(each) == len(names):
        return each
    grouped: dict[bytes, list[OnlineRow]] = {}
    for name, row in zip(names, rows, strict=True):
        grouped.setdefault(name, []).append(row)
    return dict(grouped)


def _merged(
    kept: bytes | None,
    before: Callable[[], Sequence[OnlineRow]],
    new: Sequence[OnlineRow],
    view: FeatureView,
    at_us: int,
) -> Sequence[OnlineRow]:
    """Return what `merge` keeps of one key, nothing if that is what is kept already; ``before`` decodes it.

    Of two rows of different times, both longer ago than any read may be behind, the times alone tell: neither is decoded.
    """
    if kept is not None and len(new) == 1:
        event, known = new[0].event_us, only_event(kept)
        if known is not None and known != event and max(known, event) <= at_us - GRACE_US:
            return new if event > known else ()
    rows = () if kept is None else before()
    after = merge(rows, new, view, at_us=at_us)
    return () if len(after) == len(rows) and all(map(is_, after, rows)) else after


def _as_columns(
    rows: Sequence[OnlineRow | None],
) -> tuple[Sequence[int | None], Sequence[int | None], Mapping[str, Sequence[Any]]]:
    """Return rows of any layouts as their event times, created times and values by field; a field that a row lacks is None."""
    there = [row for row in rows if row is not None]
    names = dict.fromkeys(name for row in there for name in row.values) if there else {}
    return (
        [None if row is None else row.event_us for row in rows],
        [None if row is None else row.created_us for row in rows],
        {name: [None if row is None else row.values.get(name) for row in rows] for name in names},
    )


class _Noted(NamedTuple):
    """What is noted of a view's rows: the writes, the newest event time, the keys, and how many batches its history has."""

    sequence: int = 0
    newest: int | None = None
    rows: int = 0
    batches: int = 0


_NOTHING = _Noted()


@lru_cache(1024)
def _writes(value: bytes | None) -> int:
    """Return the sequence of the view's `Position`: batches of history count as writes too. Between two writes it is the same."""
    if value is None:
        return 0
    sequence, _, _, *batches = msgpack.unpackb(value)
    return int(sum(batches, sequence))


def _noted(value: bytes | None) -> _Noted:
    return _NOTHING if value is None else _Noted(*msgpack.unpackb(value))
