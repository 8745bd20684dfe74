"""Listening for HTTP: a socket, and a server that leaves signals to whoever runs it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from e2i_fs.errors import ConfigError

__all__ = ["LOOPBACK", "Http", "address_of", "listen"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. Raises `ConfigError` when that cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"{host}, port {port} cannot be listened on: {error}. Name another.") from error


def address_of(host: str, listener: socket.socket, scheme: str = "http") -> str:
    """Return the address of a listening socket as a URL without a path."""
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{listener.getsockname()[1]}"


class Http(uvicorn.Server):
    """uvicorn without its own signal handlers, which end the process before the store is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the server."""
        yield

    async def serve_until_told(
        self, listener: socket.socket, announce: Callable[[], None], told: Callable[[], None] = lambda: None
    ) -> None:
        """Serve until SIGTERM or SIGINT, then take no more and let requests end; a second signal does not wait.

        ``announce`` is called once a signal is heeded, ``told`` at each signal.
        """

        def stop() -> None:
            self.force_exit = self.should_exit
            self.should_exit = True
            told()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        announce()
        await self.serve(sockets=[listener])
