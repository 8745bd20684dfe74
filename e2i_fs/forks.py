"""What holds locks begins anew in a forked child: the threads that held them are not in it."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Renewable", "RenewedLock", "leave_open", "renew_after_fork"]

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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


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
