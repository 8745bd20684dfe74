"""What was collected last, kept for some seconds: however many look at the page, the store is asked once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from e2i_fs.clock import Clock
from e2i_fs.forks import renew_after_fork

__all__ = ["Book"]


class Book:
    """Documents by name, each made by one thread at a time and kept for ``seconds``.

    >>> from e2i_fs.clock import SystemClock
    >>> book = Book(60.0, SystemClock())
    >>> book.page("visits", lambda: {"rows": 1}), book.page("visits", lambda: {"rows": 2})
    ({'rows': 1}, {'rows': 1})
    """

    def __init__(self, seconds: float, clock: Clock, most: int = 256) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._pages: dict[str, tuple[float, dict[str, Any]]] = {}
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Have nobody make a document."""
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}

    def page(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the document of this name, made anew unless it is younger than ``seconds``. What ``make`` raises is not kept."""
        with self._lock:
            turn = self._turns.setdefault(name, threading.Lock())
        with turn:
            found = self._pages.get(name)
            if found is None or self._clock.monotonic() - found[0] >= self._seconds:
                found = (self._clock.monotonic(), make())
                with self._lock:
                    self._pages.pop(name, None)
                    while len(self._pages) >= self._most:
                        self._pages.pop(next(iter(self._pages)))
                    self._pages[name] = found
            return found[1]
