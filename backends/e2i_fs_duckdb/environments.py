"""The LMDB environments that this process has open, shared by its stores: LMDB forbids opening one file twice in a process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from e2i_fs.errors import BackendDataError, BackendError, BackendUnavailableError

__all__ = ["Environment", "Opened"]

_LOOKS, _PAUSE = 2_000, 0.001
"""How often, and after how many seconds each, a fork looks whether transactions have ended."""


class Opened:
    """An open environment: how many stores hold it, and a mark for each transaction under way. ``gone``: its files were replaced.

    ``over`` is set when the last store has let go: then whoever ends the last transaction under way closes the environment
    (``shut``), unless another store opens it before. Marks are put and taken without a lock, which each reader would have to wait for: a reader puts its mark and
    then looks at ``over``, who ends it sets ``over`` and then looks at the marks, so that one of them sees the other.
    """

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.env = _env(path, size)
        self.file = _identity(path)
        self.users = 0
        self.marks: list[None] = []
        self.gone = False
        self.over = False
        self.shut = False


class _Shared:
    """The environments that this process has open.

    Whoever lets go of one last closes it. LMDB ends the process when a transaction outlives its environment, so a store that is
    closed while another thread reads leaves that to the reader. ``lock`` guards opening and closing, and is not taken to read.

    No environment is open across a fork, as LMDB asks for: the fork waits until the transactions of all threads have ended, new ones
    wait until it is over (``forking``), and the parent opens its environments again.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: dict[tuple[int, str], Opened] = {}
        self.forking = 0  # the number of the thread that forks
        self._asleep: list[Opened] = []
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_the_child
        )

    def _before_fork(self) -> None:
        self.lock.acquire()
        self.forking = threading.get_ident()
        opened = list(self.open.values())
        for _ in range(_LOOKS):
            if not any(one.marks for one in opened):
                break
            time.sleep(_PAUSE)
        # One whose transaction goes on, perhaps of the very thread that forks, stays open: see `forget`.
        self._asleep = [one for one in opened if not one.marks]
        for one in self._asleep:
            one.env.close()

    def _after_fork(self) -> None:
        for one in self._asleep:
            try:
                one.gone = _identity(one.path) != one.file  # to open what was taken away would make an empty one
                one.env = one.env if one.gone else _env(one.path, one.size)
            except BackendError:
                one.gone = True  # whoever reads next is told
        self._asleep, self.forking = [], 0
        self.lock.release()

    def _in_the_child(self) -> None:
        self._asleep, self.forking = [], 0
        self.lock = threading.Lock()

    def forget(self, path: str) -> None:
        """Close what other processes' numbers hold of ``path``: a fork copied it here, and no thread that uses it."""
        with self.lock:
            for pid, name in [key for key in self.open if key[1] == path and key[0] != os.getpid()]:
                self.open.pop((pid, name)).env.close()

    def release(self, opened: Opened) -> None:
        """Let go of an environment that a store has held."""
        with self.lock:
            opened.users -= 1
            opened.over = opened.users == 0
            self._close_unused(opened)

    def ended(self, opened: Opened) -> None:
        """Close an environment that is over, if this was its last transaction."""
        with self.lock:
            self._close_unused(opened)

    def _close_unused(self, opened: Opened) -> None:
        if opened.over and not opened.marks and not opened.shut:
            opened.shut = True
            for key in [key for key, other in self.open.items() if other is opened]:
                del self.open[key]
            opened.env.close()


_shared = _Shared()


class Environment:
    """One store's hold on the environment of ``folder``."""

    def __init__(self, folder: Path, size: int) -> None:
        self.path = str(folder.resolve())
        self.size = size
        self._pid = -1
        self._closed = False
        self._opened: Opened
        self._open()

    def _open(self) -> None:
        """Take the process's one environment of this folder; a forked child takes a new one."""
        if self._pid != -1 and self._opened.file != _identity(self.path):
            raise self._replaced()
        # The parent's environment, seen from a forked child: closing it here only lets its file be opened again.
        _shared.forget(self.path)
        self._pid = os.getpid()
        with _shared.lock:
            opened = _shared.open.get((self._pid, self.path))
            if opened is not None and opened.file != _identity(self.path):
                # The folder was removed or replaced under an open store, whose rows nobody can reach any more.
                opened.gone = True
                opened = None
            if opened is None:
                opened = _shared.open[self._pid, self.path] = Opened(self.path, self.size)
            opened.users += 1
            opened.over = False  # which it is while reads of stores that were closed are still under way
        self._opened = opened

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Any]:
        """Hold the environment and a transaction while the block runs; what goes wrong in LMDB is raised as ours (G-4)."""
        opened = self.hold()
        try:
            with self.begin(opened.env, write=write) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise self.failed(error, write=write) from error
        finally:
            self.let_go(opened)

    def failed(self, error: Exception, *, write: bool) -> BackendUnavailableError:
        """Return our error for one of LMDB's."""
        if isinstance(error, lmdb.MapFullError):
            return BackendUnavailableError(
                f"The online rows in {self.path} have reached online_size ({self.size} bytes); configure more."
            )
        done = "written" if write else "read"
        return BackendUnavailableError(f"The online rows in {self.path} cannot be {done}: {error}.")

    def hold(self) -> Opened:
        """Return the environment, which stays open until `let_go`."""
        if os.getpid() != self._pid and not self._closed:
            self._open()
        opened = self._opened
        opened.marks.append(None)
        while _shared.forking and _shared.forking != threading.get_ident():
            opened.marks.pop()
            with _shared.lock:
                opened.marks.append(None)
        if self._closed or opened.over or opened.gone:
            self.let_go(opened)
            if opened.gone and not self._closed:
                raise self._replaced()
            raise BackendUnavailableError("The store is closed; open it again with connect.")
        return opened

    def _replaced(self) -> BackendUnavailableError:
        return BackendUnavailableError(f"The online rows in {self.path} were replaced; open the store anew.")

    def let_go(self, opened: Opened) -> None:
        """Let go of what `hold` gave; close it if it is over and this was its last transaction."""
        opened.marks.pop()
        if opened.over:
            _shared.ended(opened)

    def begin(self, env: Any, *, write: bool = False) -> Any:
        """Begin a transaction; when another process has made the map greater, take its size first."""
        try:
            return env.begin(write=True) if write else env.begin()
        except lmdb.MapResizedError:
            with _shared.lock:
                env.set_mapsize(0)
            return env.begin(write=write)

    def close(self) -> None:
        """Let go of the environment; the last user in the process closes it, be it a read under way in another thread."""
        with _shared.lock:
            if self._closed:
                return
            self._closed = True
        if os.getpid() == self._pid:
            _shared.release(self._opened)


_DAMAGED = "The online rows in {} are damaged ({}). Restore the folder, or remove it and materialise the views again."


def _env(path: str, size: int) -> lmdb.Environment:
    """Open the environment in the folder ``path``."""
    try:
        env = lmdb.open(path, map_size=size, max_readers=1024, subdir=True, max_dbs=0)
        _check_whole(env, path)
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
        raise BackendDataError(_DAMAGED.format(path, error)) from error
    except (lmdb.Error, OSError) as error:
        raise BackendUnavailableError(
            f"The online rows in {path} cannot be opened: {error}. Make the folder writable."
        ) from error
    return env


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
