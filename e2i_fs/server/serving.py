"""Serving over HTTP until told to stop; then requests end, the store is closed, and the process ends well."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable

import uvicorn

from e2i_fs.server.app import make_app
from e2i_fs.server.service import Service
from e2i_fs.wire.listening import Http, address_of, listen

__all__ = ["serve"]


def serve(service: Service, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; then take no more, let requests end for at most ``limits.grace`` seconds, close the store.

    Port 0 takes a free one; ``announce`` is called with the address once connections are taken. A second signal does
    not wait. Raises `ConfigError` when there are no keys and ``host`` is more than this machine, or cannot be listened on.
    """
    service.access.require_loopback(host)
    _raise_open_files()
    listener = listen(host, port)
    config = uvicorn.Config(
        make_app(service), log_config=None, access_log=False, server_header=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=max(1, round(service.limits.grace)),
    )  # fmt: skip
    http = Http(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        idle = runner.run(_until_stopped(service, http, lambda: announce(address_of(host, listener)), [listener]))
        if idle:
            service.desk.store.close()
            return
        # A store is not closed under a call that still works: its files are whole at any moment (O-7).
        sys.stderr.flush()
        os._exit(0)


async def _until_stopped(service: Service, http: Http, announce: Callable[[], None], sockets: list[object]) -> bool:
    """Serve, and return whether all work had ended when the server did."""

    def stop() -> None:
        http.force_exit = http.should_exit
        http.should_exit = service.stopping = True

    loop = asyncio.get_running_loop()
    for told in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(told, stop)
    announce()
    await http.serve(sockets=sockets)  # type: ignore[arg-type]
    return await service.drained(0.0 if http.force_exit else service.limits.grace)


def _raise_open_files() -> None:
    """Let the process hold as many connections as the machine lets it: each is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
