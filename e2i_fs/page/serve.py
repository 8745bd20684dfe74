"""Serving the page until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvicorn

from e2i_fs.page.app import Shop, make_app
from e2i_fs.server.tls import Certificate
from e2i_fs.wire.listening import Http, address_of, listen

__all__ = ["serve"]

_GRACE = 10  # seconds that requests get to end


def serve(
    shop: Shop, host: str, port: int, announce: Callable[[str], None], certificate: Certificate | None = None
) -> None:
    """Serve the page until SIGTERM or SIGINT, then let requests end; the store stays open, and is the caller's to close.

    With a ``certificate`` it speaks TLS. Port 0 takes a free one; ``announce`` is called with the address once connections are taken. Raises `ConfigError` when
    there are no keys and ``host`` is more than this machine, or when it cannot be listened on.
    """
    shop.access.require_loopback(host)
    listener = listen(host, port)
    config = uvicorn.Config(
        make_app(shop), log_config=None, access_log=False, server_header=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=_GRACE,
        ssl_certfile=certificate.certificate if certificate else None, ssl_keyfile=certificate.key if certificate else None,
    )  # fmt: skip
    address = address_of(host, listener, "https" if certificate else "http")

    async def until_stopped() -> None:
        await Http(config).serve_until_told(listener, lambda: announce(address))
        await shop.workers.drained(_GRACE)

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(until_stopped())
