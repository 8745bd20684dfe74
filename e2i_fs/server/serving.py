"""Serving over HTTP until told to stop; then requests end, the store is closed, and the process ends well."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable

import uvicorn

from e2i_fs.server.app import make_app
from e2i_fs.server.connections import Room, protocol
from e2i_fs.server.files import connections_that_fit
from e2i_fs.server.service import Service
from e2i_fs.server.tls import Certificate
from e2i_fs.wire.listening import Http, address_of, listen

__all__ = ["configured", "serve"]


def serve(
    service: Service, host: str, port: int, announce: Callable[[str], None], certificate: Certificate | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then take no more, let requests end for at most ``limits.grace`` seconds, close the store.

    Port 0 takes a free one; ``announce`` is called with the address once connections are taken. A second signal does
    not wait. Raises `ConfigError` when there are no keys and ``host`` is more than this machine, or cannot be listened on.
    """
    service.access.require_loopback(host)
    config = configured(service, connections_that_fit(service.limits.max_connections), certificate)
    listener = listen(host, port)
    http = Http(config)
    address = address_of(host, listener, "https" if certificate else "http")
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        idle = runner.run(_until_stopped(service, http, lambda: announce(address), listener))
        if idle:
            service.desk.store.close()
            return
        # A store is not closed under a call that still works: its files are whole at any moment (O-7).
        sys.stderr.flush()
        os._exit(0)


def configured(service: Service, connections: int, certificate: Certificate | None = None) -> uvicorn.Config:
    """Return how uvicorn is to serve: so many connections at a time, bounded in every way."""
    limits = service.limits
    return uvicorn.Config(
        make_app(service), http=protocol(Room(limits, connections)), h11_max_incomplete_event_size=limits.max_head_bytes,
        ssl_certfile=certificate.certificate if certificate else None, ssl_keyfile=certificate.key if certificate else None,
        log_config=None, log_level="error", access_log=False, server_header=False, proxy_headers=False, ws="none", lifespan="off",
        timeout_keep_alive=round(limits.max_idle_seconds) + 60,  # ours comes first
        timeout_graceful_shutdown=max(1, round(limits.grace)),
    )  # fmt: skip


async def _until_stopped(service: Service, http: Http, announce: Callable[[], None], listener: socket.socket) -> bool:
    """Serve, and return whether all work had ended when the server did."""

    def told() -> None:
        service.stopping = True

    await http.serve_until_told(listener, announce, told)
    return await service.drained(0.0 if http.force_exit else service.limits.grace)
