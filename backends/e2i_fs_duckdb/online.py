"""Online rows in LMDB: readers never wait, each commit is whole or not there (O-7), many processes share a file.

Chosen by measurement against SQLite and DuckDB: see ``benchmarks/online.py``.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from operator import is_
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from e2i_fs.backend import Key, OnlineColumns, OnlineRow, Position
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import BackendDataError, BackendUnavailableError
from e2i_fs.online import GRACE_US, merge, pick
from e2i_fs_duckdb.packing import Fixed, Layout, decode_before_layouts, layout_number, only_event

__all__ = ["OnlineRows"]

_LONGEST_KEY = 500  # LMDB takes keys of up to 511 bytes
_ROWS, _META, _LONG, _LAYOUTS = b"r", b"m", b"k", b"l"
_HASHED = (
    0xC1  # what no msgpack begins with: a key that is too long for LMDB stands there as its hash, and whole under _LONG
)
_PIECE = 10_000


class _Opened:
    """An open environment: how many stores hold it, and a mark for each transaction under way. ``gone``: its files were replaced.

    ``over`` is set when the last store has let go: then whoever ends the last transaction under way closes the environment
    (``shut``), unless another store opens it before. Marks are put and taken without a lock, which each reader would have to wait for: a reader puts its mark and
    then looks at ``over``, who ends it sets ``over`` and then looks at the marks, so that one of them sees the other.
    """

    def __init__(self, env: lmdb.Environment, file: tuple[int, int]) -> None:
        self.env = env
        self.file = file
        self.users = 0
        self.marks: list[None] = []
        self.gone = False
        self.over = False
        self.shut = False
        self.layouts: dict[tuple[int, int], Layout] = {}
        self.fixed: dict[tuple[int, bytes], Fixed] = {}


class _Shared:
    """The environments that this process has open: LMDB forbids opening one file twice in a process.

    Whoever lets go of one last closes it. LMDB ends the process when a transaction outlives its environment, so a store that is
    closed while another thread reads leaves that to the reader. ``lock`` guards opening and closing, and is not taken to read.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: dict[tuple[int, str], _Opened] = {}
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.lock = threading.Lock()  # a thread that is not in the child may have held it

    def forget(self, path: str) -> None:
        """Close what other processes' numbers hold of ``path``: a fork copied it here, and no thread that uses it."""
        with self.lock:
            for pid, name in [key for key in self.open if key[1] == path and key[0] != os.getpid()]:
                self.open.pop((pid, name)).env.close()

    def release(self, opened: _Opened) -> None:
        """Let go of an environment that a store has held."""
        with self.lock:
            opened.users -= 1
            opened.over = opened.users == 0
            self._close_unused(opened)

    def ended(self, opened: _Opened) -> None:
        """Close an environment that is over, if this was its last transaction."""
        with self.lock:
            self._close_unused(opened)

    def _close_unused(self, opened: _Opened) -> None:
        if opened.over and not opened.marks and not opened.shut:
            opened.shut = True
            for key in [key for key, other in self.open.items() if other is opened]:
                del self.open[key]
            opened.env.close()


_shared = _Shared()


class OnlineRows:
    """The online rows of all views below ``folder``, by storage number."""

    def __init__(self, folder: Path, size: int) -> None:
        self._path = str(folder.resolve())
        self._size = size
        self._pid = -1
        self._closed = False
        self._open()

    def _open(self) -> None:
        """Take the process's one environment of this folder; a forked child takes a new one."""
        if self._pid != -1:
            # The parent's environment, seen from a forked child: closing it here only lets its file be opened again.
            _shared.forget(self._path)
        self._pid = os.getpid()
        with _shared.lock:
            opened = _shared.open.get((self._pid, self._path))
            if opened is not None and opened.file != _identity(self._path):
                # The folder was removed or replaced under an open store, whose rows nobody can reach any more.
                opened.gone = True
                opened = None
            if opened is None:
                try:
                    env = lmdb.open(self._path, map_size=self._size, max_readers=1024, subdir=True, max_dbs=0)
                    _check_whole(env, self._path)
                except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
                    raise BackendDataError(_DAMAGED.format(self._path, error)) from error
                except (lmdb.Error, OSError) as error:
                    raise BackendUnavailableError(
                        f"The online rows in {self._path} cannot be opened: {error}. Make the folder writable."
                    ) from error
                opened = _shared.open[self._pid, self._path] = _Opened(env, _identity(self._path))
            opened.users += 1
            opened.over = False  # which it is while reads of stores that were closed are still under way
        self._opened = opened

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[Any]:
        """Hold the environment and a transaction while the block runs."""
        opened = self._hold()
        try:
            with self._begin(opened.env, write=write) as transaction:
                yield transaction
        finally:
            self._let_go(opened)

    def _hold(self) -> _Opened:
        """Return the environment, which stays open until `_let_go`."""
        if os.getpid() != self._pid and not self._closed:
            self._open()
        opened = self._opened
        opened.marks.append(None)
        if self._closed or opened.over or opened.gone:
            self._let_go(opened)
            if opened.gone and not self._closed:
                raise BackendUnavailableError(f"The online rows in {self._path} were replaced; open the store anew.")
            raise BackendUnavailableError("The store is closed; open it again with connect.")
        return opened

    def _let_go(self, opened: _Opened) -> None:
        opened.marks.pop()
        if opened.over:
            _shared.ended(opened)

    def _begin(self, env: Any, *, write: bool = False) -> Any:
        """Begin a transaction; when another process has made the map greater, take its size first."""
        try:
            return env.begin(write=write)
        except lmdb.MapResizedError:
            with _shared.lock:
                env.set_mapsize(0)
            return env.begin(write=write)

    def read(self, storage: int, keys: Sequence[Key], *, at_us: int) -> list[OnlineRow | None]:
        """Return the row of each key that answers at ``at_us``, all of one snapshot."""
        (found,) = self.columns([(storage, keys, 0)], at_us=at_us)
        names, columns = list(found.values), list(found.values.values())
        rows = zip(*columns, strict=True) if columns else [()] * len(keys)
        return [
            None if event is None else OnlineRow(event, created, dict(zip(names, row, strict=True)))
            for event, created, row in zip(found.event_us, found.created_us, rows, strict=True)
        ]

    def columns(self, asked: Iterable[tuple[int, Sequence[Key], int]], *, at_us: int) -> list[OnlineColumns]:
        """Return for each storage number the rows of its keys that answer at ``at_us``, all of one snapshot.

        The third of what is asked is added to the sequence.
        """
        opened = self._hold()
        try:
            with self._begin(opened.env) as transaction:
                get, found, last, packed = transaction.get, [], None, []
                for storage, keys, more in asked:
                    if keys is not last:  # views of the same entities are asked with the same keys
                        last, packed = keys, _packed(keys)
                    prefix, meta = _begins(storage)
                    kept = [get(prefix + name) for name in packed]
                    columns = self._decoded(opened, transaction, storage, kept, at_us)
                    found.append(OnlineColumns(*columns, _meta(get(meta))[0] + more))
                return found
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be read: {error}.") from error
        finally:
            self._let_go(opened)

    def _decoded(
        self, opened: _Opened, transaction: Any, storage: int, kept: list[bytes | None], at_us: int
    ) -> tuple[Sequence[int | None], Sequence[int | None], Mapping[str, Sequence[Any]]]:
        """Return the event times, the created times and the values of the rows that answer at ``at_us``."""
        there = [value for value in kept if value is not None] if None in kept else kept
        if not there:
            nothing = (None,) * len(kept)
            return nothing, nothing, {}
        # Nearly always each key has one row of one layout: then all are decoded at once.
        fixed = opened.fixed.get((storage, there[0][:4]))  # type: ignore[index]
        columns = None if fixed is None else fixed.columns(there)  # type: ignore[arg-type]
        if fixed is None or columns is None or max(columns[0]) > at_us:
            return _as_columns(
                [
                    None if value is None else pick(self._rows(opened, transaction, storage, value), at_us=at_us)
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

    def _rows(self, opened: _Opened, transaction: Any, storage: int, kept: bytes) -> Sequence[OnlineRow]:
        """Return all rows that are kept of a key, greatest first."""
        try:
            number = layout_number(kept)
            if number is None:
                return decode_before_layouts(kept)
            layout = self._layout(opened, transaction, storage, number)
            fixed = layout.fixed(kept)
            if fixed is not None:
                opened.fixed[storage, kept[:4]] = fixed
            return layout.unpack(kept)
        except (ValueError, TypeError, IndexError, struct.error, msgpack.UnpackException) as error:
            raise BackendDataError(f"An online row cannot be decoded ({error}); materialise the view again.") from error

    def _layout(self, opened: _Opened, transaction: Any, storage: int, number: int) -> Layout:
        """Return a layout, which never changes; remembered once it is committed, as it is when rows that name it are read."""
        layout = opened.layouts.get((storage, number))
        if layout is None:
            kept = transaction.get(_layout_key(storage, number))
            if kept is None:
                raise BackendDataError(
                    f"The layout {number} of online rows in {self._path} is missing; materialise the view again."
                )
            layout = opened.layouts[storage, number] = Layout.from_bytes(number, kept)
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
        opened = self._hold()
        try:
            with self._begin(opened.env, write=True) as transaction:
                get = transaction.get
                sequence, newest, count = _meta(get(meta))
                layout = self._layout_to_write(transaction, storage, view)
                for name in sorted(incoming):
                    new, kept = incoming[name], get(name)
                    after: Sequence[OnlineRow] = new
                    packed = layout.pack(new) if len(new) == 1 else b""
                    if packed == kept:
                        continue
                    if kept is not None or not packed:
                        before = partial(self._rows, opened, transaction, storage, kept)
                        after = _merged(kept, before, new, view, at_us)
                        if not after:
                            continue
                    count += kept is None
                    puts.append((name, packed if after is new and packed else layout.pack(after)))
                    newest = after[0].event_us if newest is None or after[0].event_us > newest else newest
                transaction.cursor().putmulti(puts)
                for name in long.keys() & {name for name, _ in puts} if long else ():
                    transaction.put(_LONG + name, long[name])
                transaction.put(meta, msgpack.packb([sequence + 1, newest, count]))
        except lmdb.MapFullError as error:
            raise BackendUnavailableError(
                f"The online rows in {self._path} have reached online_size ({self._size} bytes); configure more."
            ) from error
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be written: {error}.") from error
        finally:
            self._let_go(opened)
        return len(puts)

    def copied(self, storage: int) -> Iterator[tuple[list[Key], list[OnlineRow], int]]:
        """Yield all rows of one storage number in pieces, all of one snapshot; see `e2i_fs.backend.Copyable`."""
        prefix, _ = _begins(storage)
        keys: list[Key] = []
        rows: list[OnlineRow] = []
        opened = self._hold()
        try:
            with self._begin(opened.env) as transaction:
                cursor = transaction.cursor()
                found = cursor.set_range(prefix)
                while found and (name := cursor.key()).startswith(prefix):
                    kept = self._rows(opened, transaction, storage, cursor.value())
                    encoded = name[len(prefix) :]
                    keys += [_decoded(transaction.get(_LONG + name) if encoded[0] == _HASHED else encoded)] * len(kept)
                    rows += kept
                    if len(rows) >= _PIECE:
                        yield keys, rows, min(row.event_us for row in rows)
                        keys, rows = [], []
                    found = cursor.next()
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be read: {error}.") from error
        finally:
            self._let_go(opened)
        if rows:
            yield keys, rows, min(row.event_us for row in rows)

    def position(self, storage: int) -> Position:
        """Return how far the rows of one storage number are."""
        try:
            with self._transaction() as transaction:
                return Position(*_meta(transaction.get(_begins(storage)[1])))
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be read: {error}.") from error

    def drop(self, storage: int) -> None:
        """Remove every row of one storage number."""
        prefix, meta = _begins(storage)
        try:
            with self._transaction(write=True) as transaction:
                cursor = transaction.cursor()
                for start in (prefix, _LONG + prefix, _LAYOUTS + struct.pack(">I", storage)):
                    found = cursor.set_range(start)
                    while found and cursor.key().startswith(start):
                        found = cursor.delete()
                transaction.delete(meta)
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be written: {error}.") from error
        opened = self._opened
        opened.layouts = {place: layout for place, layout in opened.layouts.copy().items() if place[0] != storage}
        opened.fixed = {place: fixed for place, fixed in opened.fixed.copy().items() if place[0] != storage}

    def close(self) -> None:
        """Let go of the environment; the last user in the process closes it, be it a read under way in another thread."""
        with _shared.lock:
            if self._closed:
                return
            self._closed = True
        if os.getpid() == self._pid:
            _shared.release(self._opened)


_DAMAGED = "The online rows in {} are damaged ({}). Restore the folder, or remove it and materialise the views again."


def _check_whole(env: lmdb.Environment, path: str) -> None:
    """Raise `BackendDataError` when the file is shorter than its pages: reading on would end the process."""
    pages = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    size = (Path(path) / "data.mdb").stat().st_size
    if size < pages:
        env.close()
        raise BackendDataError(_DAMAGED.format(path, f"{size} bytes of {pages}"))


def _identity(path: str) -> tuple[int, int]:
    """Return what tells the file of online rows from another one of its name."""
    try:
        state = (Path(path) / "data.mdb").stat()
    except FileNotFoundError:
        return (0, 0)
    return (state.st_dev, state.st_ino)


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


def _meta(value: bytes | None) -> tuple[int, int | None, int]:
    if value is None:
        return (0, None, 0)
    sequence, newest, count = msgpack.unpackb(value)
    return sequence, newest, count
