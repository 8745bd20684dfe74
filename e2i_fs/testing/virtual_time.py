"""Deadlines on a fake clock: what would hang for real costs just its time, in one thread, the same way each time.

The core makes a call that may wait on a network in a thread of its own, and leaves it behind when its time is over. With
`VirtualTime.installed` it makes that call where it stands; a fault that takes longer than the time left moves the clock to
the deadline and no further, and the call is left behind there.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

from e2i_fs.failover import member
from e2i_fs.testing.clock import FakeClock

__all__ = ["LeftBehind", "VirtualTime"]


class LeftBehind(BaseException):
    """The call that is under way is over its deadline: nobody waits for it any more."""


class VirtualTime:
    """The time that calls may take, on ``clock``."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self._until: list[float] = []

    def spend(self, seconds: float) -> None:
        """Let ``seconds`` go by, but at most until the deadline of the call under way: there raise `LeftBehind`."""
        left = min(self._until, default=float("inf")) - self.clock.monotonic()
        if seconds < left:
            self.clock.advance(timedelta(seconds=seconds))
            return
        # Rounded up to what the clock can tell, so that a deadline that was used up is over.
        self.clock.advance(timedelta(microseconds=max(0, -(-left * 1_000_000 // 1))))
        raise LeftBehind

    def call(self, work: Callable[[], Any], timeout: float | None) -> Any:
        """Return ``work()``; raise `concurrent.futures.TimeoutError` if it spends more than ``timeout`` seconds."""
        if timeout is None:
            return work()
        self._until.append(self.clock.monotonic() + timeout)
        try:
            return work()
        except LeftBehind:
            if len(self._until) > 1 and self.clock.monotonic() < self._until[-1]:
                raise  # an outer deadline is over, and not this one
            raise concurrent.futures.TimeoutError from None
        finally:
            self._until.pop()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While the block runs, stores that are opened make their calls so."""

        def pool(name: str, size: int) -> _Pool:
            return _Pool(self)

        with mock.patch.object(member, "DaemonPool", pool):
            yield


class _Pool:
    """In place of a pool of threads: work is done when its result is asked for."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time

    def submit(self, work: Callable[[], Any]) -> _Work:
        return _Work(self._time, work)

    def close(self) -> None:
        pass


class _Work:
    """In place of a `concurrent.futures.Future`."""

    def __init__(self, time: VirtualTime, work: Callable[[], Any]) -> None:
        self._time = time
        self._work = work

    def result(self, timeout: float | None = None) -> Any:
        return self._time.call(self._work, timeout)

    def done(self) -> bool:
        return False

    def cancel(self) -> bool:
        return False
