"""A job interrupted: at points spread over its calls another thread acts, so that a half-done state is seen.

Threads left to themselves meet in the middle of a write once in a thousand times. Here they meet there by
construction: Python's profile hook stops the job between two calls and lets the other thread go first. One that
waits for a lock of the job is not waited for.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from e2i_fs.testing.findings import Stuck

__all__ = ["Beside", "interrupted"]

_MOMENT = 0.002


class Beside:
    """A thread that does ``act`` each time it is asked; ``troubles`` has what that raised.

    ``moment`` is how many seconds it is waited for: it may be waiting itself, for a lock of the one that asks.
    """

    def __init__(self, act: Callable[[], None], moment: float = _MOMENT) -> None:
        self.troubles: list[Exception] = []
        self.done = 0
        self._act = act
        self._moment = moment
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._work, name="e2i_fs-kit-beside", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while self._asked.get():
            try:
                self._act()
                self.done += 1
            except Exception as error:  # told to the test in its own thread
                self.troubles.append(error)
            self._idle.set()

    def ask(self) -> None:
        """Have it act once and wait for a moment, unless it is still at the last time."""
        if self._idle.is_set():
            self._idle.clear()
            self._asked.put(True)
            self._idle.wait(self._moment)

    def close(self, patience: float) -> None:
        """Let it end; raise `Stuck` if it does not within ``patience`` seconds."""
        self._asked.put(False)
        self._thread.join(patience)
        if self._thread.is_alive():
            raise Stuck("the reader", patience)


def interrupted(
    job: Callable[[], Any], between: Callable[[], None] | None, every: int, first: int, patience: float
) -> int:
    """Do ``job`` in a thread of its own, with ``between`` before every ``every``-th call or return from number ``first``.

    Returns how many calls and returns there were. Raises what the job raises, or `Stuck`.
    """
    count = 0
    raised: list[BaseException] = []

    def hook(_frame: Any, _event: str, _arg: Any) -> None:
        nonlocal count
        count += 1
        if between is not None and count % every == first % every:
            between()

    def work() -> None:
        sys.setprofile(hook)
        try:
            job()
        except BaseException as error:  # raised again below
            raised.append(error)
        finally:
            sys.setprofile(None)

    worker = threading.Thread(target=work, name="e2i_fs-kit-interrupted", daemon=True)
    worker.start()
    worker.join(patience)
    if worker.is_alive():
        raise Stuck("the interrupted call", patience)
    for error in raised:
        raise error
    return count
