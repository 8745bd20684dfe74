"""Online rows in LMDB: readers never wait, each commit is whole or not there (O-7), many processes share a file.

Chosen by measurement against SQLite and DuckDB: see ``benchmarks/online.py``.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from e2i_fs.backend import Key, OnlineRow, Position
from e2i_fs.definitions import FeatureView
from e2i_fs.errors import BackendDataError, BackendUnavailableError
from e2i_fs.online import merge, pick

__all__ = ["OnlineRows"]

_LONGEST_KEY = 500  # LMDB takes keys of up to 511 bytes
_ROWS, _META, _LONG = b"r", b"m", b"k"
_HASHED = (
    0xC1  # what no msgpack begins with: a key that is too long for LMDB stands there as its hash, and whole under _LONG
)
_PIECE = 10_000


class _Opened:
    """An open environment and how many hold it: stores, and transactions under way. ``gone``: its files were replaced."""

    def __init__(self, env: lmdb.Environment, file: tuple[int, int]) -> None:
        self.env = env
        self.file = file
        self.users = 0
        self.gone = False


class _Shared:
    """The environments that this process has open: LMDB forbids opening one file twice in a process.

    Whoever lets go of one last closes it. LMDB ends the process when a transaction outlives its environment, so a store that is
    closed while another thread reads leaves that to the reader.
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
        """Let go of an environment."""
        with self.lock:
            opened.users -= 1
            if opened.users == 0:
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
        self._opened = opened

    @contextmanager
    def _transaction(self, *, write: bool = False, buffers: bool = False) -> Iterator[Any]:
        """Hold the environment and a transaction while the block runs."""
        if os.getpid() != self._pid and not self._closed:
            self._open()
        with _shared.lock:
            if self._closed:
                raise BackendUnavailableError("The store is closed; open it again with connect.")
            opened = self._opened
            if opened.gone:
                raise BackendUnavailableError(f"The online rows in {self._path} were replaced; open the store anew.")
            opened.users += 1
        try:
            with self._begin(opened.env, write=write, buffers=buffers) as transaction:
                yield transaction
        finally:
            _shared.release(opened)

    def _begin(self, env: Any, *, write: bool, buffers: bool) -> Any:
        """Begin a transaction; when another process has made the map greater, take its size first."""
        try:
            return env.begin(write=write, buffers=buffers)
        except lmdb.MapResizedError:
            with _shared.lock:
                env.set_mapsize(0)
            return env.begin(write=write, buffers=buffers)

    def read(self, storage: int, keys: Sequence[Key], *, at_us: int) -> list[OnlineRow | None]:
        """Return the row of each key that answers at ``at_us``, all of one snapshot."""
        prefix = _prefix(storage)
        try:
            with self._transaction(buffers=True) as transaction:
                found = [transaction.get(prefix + _encoded(key)) for key in keys]
                return [None if value is None else pick(_unpack(value), at_us=at_us) for value in found]
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be read: {error}.") from error

    def write(
        self, storage: int, view: FeatureView, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int
    ) -> int:
        """Merge rows in one transaction; return how many keys changed."""
        incoming: dict[bytes, list[OnlineRow]] = {}
        long: dict[bytes, bytes] = {}
        prefix = _prefix(storage)
        for key, row in zip(keys, rows, strict=True):
            name = prefix + _encoded(key)
            incoming.setdefault(name, []).append(row)
            if name[len(prefix)] == _HASHED:
                long[name] = msgpack.packb(list(key), use_bin_type=True)
        changed = 0
        try:
            with self._transaction(write=True) as transaction:
                meta_key = _META + struct.pack(">I", storage)
                sequence, newest, count = _meta(transaction.get(meta_key))
                for name in sorted(incoming):
                    kept = transaction.get(name)
                    before = () if kept is None else _unpack(kept)
                    after = merge(before, incoming[name], view, at_us=at_us)
                    packed = _pack(after)
                    if packed != kept:
                        transaction.put(name, packed)
                        if name in long:
                            transaction.put(_LONG + name, long[name])
                        changed += 1
                        count += kept is None
                        newest = max(after[0].event_us, after[0].event_us if newest is None else newest)
                transaction.put(meta_key, msgpack.packb([sequence + 1, newest, count]))
        except lmdb.MapFullError as error:
            raise BackendUnavailableError(
                f"The online rows in {self._path} have reached online_size ({self._size} bytes); configure more."
            ) from error
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be written: {error}.") from error
        return changed

    def copied(self, storage: int) -> Iterator[tuple[list[Key], list[OnlineRow], int]]:
        """Yield all rows of one storage number in pieces, all of one snapshot; see `e2i_fs.backend.Copyable`."""
        prefix = _prefix(storage)
        keys: list[Key] = []
        rows: list[OnlineRow] = []
        try:
            with self._transaction() as transaction:
                cursor = transaction.cursor()
                found = cursor.set_range(prefix)
                while found and (name := cursor.key()).startswith(prefix):
                    kept = _unpack(cursor.value())
                    encoded = name[len(prefix) :]
                    keys += [_decoded(transaction.get(_LONG + name) if encoded[0] == _HASHED else encoded)] * len(kept)
                    rows += kept
                    if len(rows) >= _PIECE:
                        yield keys, rows, min(row.event_us for row in rows)
                        keys, rows = [], []
                    found = cursor.next()
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be read: {error}.") from error
        if rows:
            yield keys, rows, min(row.event_us for row in rows)

    def position(self, storage: int) -> Position:
        """Return how far the rows of one storage number are."""
        try:
            with self._transaction() as transaction:
                return Position(*_meta(transaction.get(_META + struct.pack(">I", storage))))
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be read: {error}.") from error

    def drop(self, storage: int) -> None:
        """Remove every row of one storage number."""
        prefix = _prefix(storage)
        try:
            with self._transaction(write=True) as transaction:
                cursor = transaction.cursor()
                for start in (prefix, _LONG + prefix):
                    found = cursor.set_range(start)
                    while found and cursor.key().startswith(start):
                        found = cursor.delete()
                transaction.delete(_META + struct.pack(">I", storage))
        except lmdb.Error as error:
            raise BackendUnavailableError(f"The online rows in {self._path} cannot be written: {error}.") from error

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


def _prefix(storage: int) -> bytes:
    return _ROWS + struct.pack(">I", storage)


def _encoded(key: Key) -> bytes:
    """Return a key's bytes: its values with their types (P-7), or their hash when that is too long for LMDB."""
    packed: bytes = msgpack.packb(list(key), use_bin_type=True)
    return packed if len(packed) <= _LONGEST_KEY else bytes([_HASHED]) + hashlib.sha256(packed).digest()


def _decoded(encoded: bytes | None) -> Key:
    """Return the key of these bytes."""
    if encoded is None:
        raise BackendDataError(f"A key of more than {_LONGEST_KEY} bytes is not kept beside its hash; write it again.")
    return tuple(msgpack.unpackb(encoded, raw=False))


def _pack(rows: Sequence[OnlineRow]) -> bytes:
    packed: bytes = msgpack.packb([[r.event_us, r.created_us, dict(r.values)] for r in rows], use_bin_type=True)
    return packed


def _unpack(value: Any) -> tuple[OnlineRow, ...]:
    try:
        return tuple(OnlineRow(*row) for row in msgpack.unpackb(value, raw=False, strict_map_key=False))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BackendDataError(f"An online row cannot be decoded ({error}); materialise the view again.") from error


def _meta(value: bytes | None) -> tuple[int, int | None, int]:
    if value is None:
        return (0, None, 0)
    sequence, newest, count = msgpack.unpackb(value)
    return sequence, newest, count
