"""Blocking work beside the event loop: in threads, a bounded number of them, each call with an end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import anyio

from e2i_fs.wire.refusals import BusyError, OutOfTimeError

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """At most ``threads`` pieces of work at a time, counted until they end, whoever still waits for them.

    anyio's own worker threads do not do here: one that is abandoned counts as free while it still works, so that
    calls which never end would take a thread each, without bound.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._free = anyio.CapacityLimiter(threads)

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
                "unseen: of a register, look at what is registered before you try again.",
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

        def ended(value: Any, error: BaseException | None) -> None:
            self._free.release_on_behalf_of(holder)
            if done.cancelled():
                return
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

        def run() -> None:
            value, error = None, None
            try:
                value = work()
            except BaseException as raised:  # whatever it is, it belongs to the one who waits
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended, and nobody waits
                loop.call_soon_threadsafe(ended, value, error)

        # A daemon, for a server that is told to stop does not wait for work that does not end.
        thread = threading.Thread(target=run, name="e2i-fs mcp", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the machine has no thread left
            self._free.release_on_behalf_of(holder)
            raise
        return await done
