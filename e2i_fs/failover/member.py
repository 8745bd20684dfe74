"""One backend among several: opened when first needed, called within a deadline, watched by its breaker."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

from e2i_fs.backend import Backend, HasTimeout
from e2i_fs.config import FailoverConfig
from e2i_fs.errors import BackendUnavailableError, DeadlineExceededError, ThrottledError
from e2i_fs.failover.breaker import Breaker
from e2i_fs.forks import renew_after_fork
from e2i_fs.pool import DaemonPool, carried

__all__ = ["UNAVAILABLE", "Member"]

T = TypeVar("T")

UNAVAILABLE = (BackendUnavailableError, DeadlineExceededError, ThrottledError)
"""The errors, and the only ones, that move a request on (X-2)."""


class Member:
    """A backend with its name, role and breaker.

    Calls to a backend whose calls may wait on a network run in at most ``workers`` threads, so that one that
    hangs costs its caller the deadline and the process no more threads than that (X-8).
    """

    def __init__(
        self, name: str, role: str, opener: Callable[[], Backend], breaker: Breaker, config: FailoverConfig
    ) -> None:
        self.name = name
        self.role = role
        self.breaker = breaker
        self.looked_at: set[str] = set()
        """The views whose rows were seen to be there since the backend was opened or was down."""
        self._opener = opener
        self._backend: Backend | None = None
        self._closed = False
        self._pool = DaemonPool(f"e2i_fs backend {name!r}", config.workers)
        self._config = config
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin anew in a forked child."""
        self._lock = threading.Lock()
        self.breaker.renew()

    @property
    def backend(self) -> Backend:
        """The open backend; opening it may raise any error of `e2i_fs.errors`."""
        if self._backend is None:
            with self._lock:
                if self._closed:  # what is still under way must not open it again, for nobody would close it
                    raise BackendUnavailableError("This store is closed. Open it again with connect.")
                if self._backend is None:
                    opened = self._opener()
                    if isinstance(opened, HasTimeout):
                        opened.set_timeout(self._config.deadline, self._config.write_deadline)
                    self._backend = opened
        return self._backend

    @property
    def local(self) -> bool:
        """True when the backend is open and says that no call of it waits on a network."""
        return self._backend is not None and self._backend.capabilities.local

    @property
    def level(self) -> str | None:
        """The certificate level that the open backend says it has; None while it is not open."""
        return None if self._backend is None else self._backend.capabilities.certified

    def call(self, work: Callable[[Backend], T], timeout: float | None, *, writes: bool = False) -> T:
        """Return ``work(backend)``; raise `DeadlineExceededError` if it is not done within ``timeout`` seconds.

        Work that was given up goes on in its thread until the driver lets go; while all threads are so taken the
        backend counts as throttled. A local backend is called without a thread, unless the work ``writes``: then it may wait for
        the turn of another process, which may have been stopped.
        """
        try:
            return self._call(work, timeout, writes=writes)
        except UNAVAILABLE:
            self.looked_at.clear()  # what comes back may not be what went away
            raise

    def _call(self, work: Callable[[Backend], T], timeout: float | None, *, writes: bool) -> T:
        if timeout is None or (self.local and not writes):
            return work(self.backend)
        if timeout <= 0:
            raise DeadlineExceededError(f"No time was left to ask backend {self.name!r}.")
        return self.wait(self.start(work), timeout)

    def start(self, work: Callable[[Backend], T]) -> concurrent.futures.Future[T]:
        """Begin ``work(backend)`` in a thread; raise `ThrottledError` when all of them are taken."""
        return self._pool.submit(carried(lambda: work(self.backend)))

    def wait(self, future: concurrent.futures.Future[T], timeout: float | None, *, give_up: bool = True) -> T:
        """Return what was begun; raise `DeadlineExceededError` after ``timeout`` seconds.

        Without ``give_up`` the time that has passed is told by a plain `TimeoutError`, and the call goes on.
        """
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError as error:
            if future.done() and future.exception() is error:
                raise DeadlineExceededError(f"Backend {self.name!r}: {error}") from error  # the work's own
            if not give_up:
                raise
            future.cancel()
            raise DeadlineExceededError(f"Backend {self.name!r} did not answer within {timeout:.3f} s.") from error

    def close(self) -> None:
        """Close the backend if it was opened."""
        with self._lock:
            self._closed = True
            backend, self._backend = self._backend, None
        self._pool.close()
        if backend is not None:
            backend.close()
