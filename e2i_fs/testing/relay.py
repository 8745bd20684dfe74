"""A wire that can be cut: a TCP relay in front of a server that must not be touched.

>>> import socket, threading
>>> server = socket.create_server(("127.0.0.1", 0))
>>> with Relay(*server.getsockname()) as relay:
...     client = socket.create_connection(("127.0.0.1", relay.port))
...     client.sendall(b"hello")
...     there, _ = server.accept()
...     print(there.recv(5))
...     relay.cut()
...     print(client.recv(5))
b'hello'
b''
>>> for each in (client, there, server):
...     each.close()
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self

__all__ = ["Relay"]

_PATIENCE = 10.0
_CHUNK = 65_536


class Relay:
    """Listens on ``port`` of 127.0.0.1 and passes on what comes, both ways, to ``host`` and ``port``.

    A ``host`` that begins with ``/`` is the path of a unix socket. `cut` closes every connection and refuses new ones, as
    when the server has gone; `mend` listens again on the same port. The server notices nothing but clients that leave.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        self._target = (host, port)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="e2i_fs relay", daemon=True)
        self._thread.start()
        self.mend()

    def mend(self) -> None:
        """Listen, on the same port as before."""
        self._do(self._listen())

    def cut(self) -> None:
        """Close everything: nobody gets through any more."""
        self._do(self._drop())

    def close(self) -> None:
        """Cut, for good; harmless twice."""
        if self._thread.is_alive():
            self._do(self._drop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_PATIENCE)
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()
        carrying = asyncio.all_tasks() - {asyncio.current_task()}
        if carrying:
            await asyncio.wait(carrying, timeout=_PATIENCE / 2)

    async def _carry(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Pass on one connection until either side ends it."""
        self._open.add(back)
        try:
            there, onward = await self._reach()
        except OSError:  # the server is away: so is the relay
            self._close(back)
            return
        if self._server is None:  # cut in the meantime
            onward.transport.abort()
            self._close(back)
            return
        self._open.add(onward)
        try:
            await asyncio.gather(self._pump(here, onward), self._pump(there, back))
        finally:
            self._close(onward)
            self._close(back)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._target
        if host.startswith("/"):
            return await asyncio.open_unix_connection(host)
        return await asyncio.open_connection(host, port)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_CHUNK):
                sink.write(data)
                await sink.drain()
        except ConnectionError:  # one side is gone, by a cut or by itself; then the other goes too
            sink.transport.abort()
            return
        sink.close()

    def _close(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        self._open.discard(writer)
