"""Blocking work beside the event loop: the same threads again and again, and no more than there is work at once."""

from __future__ import annotations

import threading

import anyio

from e2i_fs.wire.workers import Workers


def test_one_thread_does_what_comes_one_after_the_other() -> None:
    async def run() -> set[threading.Thread]:
        workers = Workers(8)
        return {await workers.run(threading.current_thread, 20) for _ in range(50)}

    assert len(anyio.run(run)) == 1


def test_what_comes_at_once_is_done_at_once_and_then_the_threads_end() -> None:
    all_there, before = threading.Barrier(8, timeout=20), set(threading.enumerate())

    async def run() -> None:
        workers = Workers(8)
        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(workers.run, all_there.wait, 20)
        assert await workers.drained(20)

    anyio.run(run)
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive()
