"""A few daemon threads: work that hangs can neither use up the process's threads nor keep it from ending (X-8)."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from e2i_fs.errors import ThrottledError
from e2i_fs.forks import renew_after_fork

__all__ = ["DaemonPool", "carried"]

T = TypeVar("T")


def carried(work: Callable[[], T]) -> Callable[[], T]:
    """Return ``work`` with the context variables of here, wherever it is done: so that its spans lie under the caller's."""
    return partial(contextvars.copy_context().run, work)


class DaemonPool:
    """At most ``size`` threads, started as needed. Work is refused, never queued, when all of them are taken."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Have no threads yet."""
        self._lock = threading.Lock()
        self._free = 0
        self._threads = 0
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Start ``work`` now; raise `ThrottledError` when every thread is taken."""
        future: Future[T] = Future()
        with self._lock:
            if self._free > 0:
                self._free -= 1
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()
            else:
                raise ThrottledError(f"All {self._size} threads of {self._name} are waiting for an answer.")
        self._work.put((future, work))
        return future

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            if future.set_running_or_notify_cancel():
                try:
                    result = work()
                except BaseException as error:
                    self._release()
                    future.set_exception(error)
                else:
                    self._release()
                    future.set_result(result)
            else:
                self._release()

    def _release(self) -> None:
        with self._lock:
            self._free += 1

    def close(self) -> None:
        """Let the threads end when their work is done."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)
