"""Serving: over stdin and stdout for one client, or over HTTP for several, until told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from e2i_fs.agents.mcp.desk import Desk
from e2i_fs.agents.mcp.server import make_server
from e2i_fs.wire.listening import LOOPBACK, Http, address_of, listen
from e2i_fs.wire.workers import Workers

__all__ = ["LOOPBACK", "serve_http", "serve_stdio", "stdout_for_the_protocol"]

_GRACE = 1.0  # seconds that calls get to end when the server is told to stop


@contextlib.contextmanager
def stdout_for_the_protocol() -> Iterator[None]:
    """Send to stderr whatever is written to stdout meanwhile, by C libraries too: Feast prints when it is imported."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def serve_stdio(desk: Desk) -> None:
    """Serve one client over stdin and stdout, until stdin ends or the process is told to stop; close the store."""

    async def serve(server: Server[Any], _: anyio.Event) -> None:
        async with stdio_server() as (read, write):  # from here on fd 1 is stderr, and the protocol has its own
            with contextlib.redirect_stdout(sys.stderr):
                await server.run(read, write, server.create_initialization_options())

    # Whoever reads stdin cannot be woken; when told to stop, the process ends without it.
    anyio.run(_until_stopped, desk, serve, True)


def serve_http(desk: Desk, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve clients over streamable HTTP at ``/mcp`` until the process is told to stop; close the store.

    Port 0 takes a free one; ``announce`` is called with the address once connections are taken.
    """
    listener = listen(host, port)

    async def serve(server: Server[Any], stop: anyio.Event) -> None:
        app = server.streamable_http_app(host=host)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=round(_GRACE))
        http = Http(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_when, stop, lambda: setattr(http, "should_exit", True))
            announce(f"{address_of(host, listener)}/mcp")
            await http.serve(sockets=[listener])
            tasks.cancel_scope.cancel()

    anyio.run(_until_stopped, desk, serve, False)


async def _until_stopped(
    desk: Desk, serve: Callable[[Server[Any], anyio.Event], Awaitable[None]], abrupt: bool
) -> None:
    """Serve until it ends by itself or by SIGTERM or SIGINT; then let calls end, and close the store.

    A store is not closed under a call that still works: its files are whole at any moment (O-7), so the process just
    ends. ``abrupt`` says that serving cannot be stopped, only left.
    """
    workers = Workers(desk.budget.threads)
    server = make_server(desk, workers)
    stop = anyio.Event()

    async def leave() -> None:
        idle = await workers.drained(_GRACE)
        if idle:
            desk.store.close()
        if (abrupt and stop.is_set()) or not idle:
            sys.stderr.flush()
            os._exit(0)

    async def on_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                stop.set()
                if abrupt:
                    await leave()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(on_signal)
        await serve(server, stop)
        await leave()
        tasks.cancel_scope.cancel()


async def _when(event: anyio.Event, then: Callable[[], None]) -> None:
    await event.wait()
    then()
