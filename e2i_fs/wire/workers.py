"""Blocking work beside the event loop: in threads, a bounded number of them, each call with an end."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import anyio

from e2i_fs.pool import carried
from e2i_fs.wire.refusals import BusyError, OutOfTimeError

__all__ = ["Workers"]

T = TypeVar("T")
_Work = Callable[[], Callable[[], None]]
_IDLE = 0.2  # seconds that a thread waits for more work before it ends


class Workers:
    """At most ``threads`` pieces of work at a time, counted until they end, whoever still waits for them.

    anyio's own worker threads do not do here: one that is abandoned counts as free while it still works, so that
    calls which never end would take a thread each, without bound.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._free = anyio.CapacityLimiter(threads)
        self._hands = _Hands()

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """Return what ``work`` returns, or raise what it raises.

        After ``seconds``, waiting for a thread included, the caller is let go: `OutOfTimeError` when the work had
        begun (its thread ends when it does, for work cannot be stopped from outside), else `BusyError`.
        """
        holder = object()
        begun = False
        with anyio.move_on_after(seconds):
            await self._free.acquire_on_behalf_of(holder)
            begun = True
            return await self._start(holder, work)
        if begun:
            raise OutOfTimeError(
                f"The call took longer than {seconds:g} seconds and was given up. What it began ends by itself, "
                "unseen: of one that writes or registers, look at what is there before you try again.",
                fix="Ask for fewer rows, features or views in a call; whoever runs the server can raise --max-seconds.",
            )
        raise BusyError(
            f"All {self._threads} threads of the server were at work for {seconds:g} seconds, so the call did not begin.",
            fix="Try again later, with fewer calls at a time.",
            retry_after=seconds,
        )

    async def drained(self, seconds: float) -> bool:
        """Wait for all work to end, at most so long, and return whether it did. No work begins after it."""
        with anyio.move_on_after(seconds):
            for _ in range(self._threads):
                await self._free.acquire_on_behalf_of(object())
            return True
        return False

    async def _start(self, holder: object, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        inside = carried(work)

        def ended(value: Any, error: BaseException | None) -> None:
            self._free.release_on_behalf_of(holder)
            if done.cancelled():
                return
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

        def run() -> Callable[[], None]:
            value, error = None, None
            try:
                value = inside()
            except BaseException as raised:  # whatever it is, it belongs to the one who waits
                error = raised
            return lambda: tell(value, error)

        def tell(value: Any, error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended, and nobody waits
                loop.call_soon_threadsafe(ended, value, error)

        try:
            self._hands.do(run)
        except RuntimeError:  # the machine has no thread left
            self._free.release_on_behalf_of(holder)
            raise
        return await done


class _Hands:
    """Threads that do one piece of work after another; as many as there is work at once, and none for long when there is none.

    Starting a thread for each piece would hold up whoever starts it, who is the event loop.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._there = 0
        self._busy = 0

    def do(self, work: _Work) -> None:
        """Have a piece of work done by a thread that is free, or by a new one; raise `RuntimeError` when none can be had.

        What it returns is called when the thread counts as free again.
        """
        with self._lock:
            if self._busy == self._there:
                # A daemon, for a server that is told to stop does not wait for work that does not end.
                threading.Thread(target=self._go_on, name="e2i-fs worker", daemon=True).start()
                self._there += 1
            self._busy += 1
            self._work.put(work)

    def _go_on(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    if self._busy < self._there:
                        self._there -= 1
                        return
                continue
            tell = work()
            with self._lock:
                self._busy -= 1
            tell()
