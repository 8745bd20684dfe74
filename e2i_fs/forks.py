"""What holds locks begins anew in a forked child: the threads that held them are not in it.

Locks of a library of C, and those of modules, cannot begin anew. While a thread is within one, or imports, a fork waits.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol

__all__ = ["AtWork", "Renewable", "RenewedLock", "leave_open", "renew_after_fork", "within_sqlite"]

_LOOKS, _PAUSE = 250, 0.001
"""How often, and after how many seconds each, a fork looks whether threads have come out of a library."""

_bootstrap: Any = import_module("importlib._bootstrap")
"""Nothing else of Python says which modules are being imported."""

_left: list[Any] = []


def leave_open(connection: Any) -> None:
    """Keep for good what a child inherited: to close it could wait for a thread that only the parent has."""
    _left.append(connection)


class Renewable(Protocol):
    """What holds locks or counts threads."""

    def renew(self) -> None:
        """Begin anew in a forked child, which has one thread: others that held a lock or were at work are not in it."""
        ...


_renewed: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(thing: Renewable) -> None:
    """Have ``thing`` renewed in every child that is forked from now on."""
    _renewed.add(thing)


def _forked() -> None:
    for thing in list(_renewed):
        thing.renew()


def _imported() -> None:
    """Wait until no other thread imports a module of ours: much is imported when it is first used.

    Python has a lock for each module; one that a thread held at the fork is held in the child for good.
    """
    for name in list(_bootstrap._module_locks):
        if name.startswith("e2i_fs"):
            _bootstrap._lock_unlock_module(name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_imported, after_in_child=_forked)


class RenewedLock:
    """A lock that nobody holds in a forked child, for what a thread may be doing while another one forks.

    >>> lock = RenewedLock()
    >>> with lock:
    ...     print("alone")
    alone
    """

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Be free."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class _Depth(threading.local):
    """How often this thread has entered and not left."""

    here = 0


class AtWork:
    """The threads that are within a library whose locks a forked child could never have again: a fork waits until there are none.

    It waits a quarter of a second at the most, and then goes on: a thread that waits for another process may be within for long, and
    all others wait for the fork. Marks are put without a lock. Whoever enters puts one and then looks whether a fork has begun, a
    fork says so (``_forking``, the number of its thread) and then looks at the marks. Its own thread, and a handler of signals that
    runs in it, is in nobody's way.

    >>> with AtWork():
    ...     print("no fork now")
    no fork now
    """

    def __init__(self) -> None:
        self._marks: list[None] = []
        self._depth = _Depth()
        self._forking = 0
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._wait, after_in_parent=self._go_on, after_in_child=self._in_the_child)

    def _wait(self) -> None:
        self._lock.acquire()
        self._forking = threading.get_ident()
        for _ in range(_LOOKS):
            if len(self._marks) <= min(1, self._depth.here):
                break
            time.sleep(_PAUSE)

    def _go_on(self) -> None:
        self._forking = 0
        self._lock.release()

    def _in_the_child(self) -> None:
        self._marks, self._forking, self._lock = [None] * min(1, self._depth.here), 0, threading.Lock()

    def __enter__(self) -> None:
        self._depth.here += 1
        if self._depth.here > 1:
            return
        self._marks.append(None)
        while self._forking and self._forking != threading.get_ident():
            self._marks.pop()
            with self._lock:
                self._marks.append(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth.here -= 1
        if not self._depth.here:
            self._marks.pop()


within_sqlite = AtWork()
"""SQLite has locks for the whole process, held a moment in every call of every connection."""
