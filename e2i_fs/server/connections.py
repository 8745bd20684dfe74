"""Connections: how many there may be, and how long and how much each may take to say what it wants and to take its answer.

uvicorn reads requests; what it does not bound is bounded here, whichever of its two parsers is installed. A client that
sends its head a byte at a time, opens connections and says nothing, sends requests faster than it takes answers, or does
not take them at all, holds a connection for a while, and no memory to speak of.
"""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json
from uvicorn.protocols.http.h11_impl import H11Protocol

from e2i_fs.errors import E2IError
from e2i_fs.server.limits import Limits
from e2i_fs.server.refusals import HeadTooLongError, document
from e2i_fs.wire.refusals import BusyError

__all__ = ["Room", "protocol"]

_PIPELINED = 64  # requests of one connection that wait for the answers to those before them
_LEAST = 2**16  # bytes of its answer that a client must take within ``max_unread_seconds``


def _refusal(status: bytes, error: E2IError, more: bytes = b"") -> bytes:
    body = to_json(document(error))
    head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, len(body), more) + body


_FULL = _refusal(
    b"503 Service Unavailable",
    BusyError(
        "The server holds as many connections as it may have, all of them at work.",
        fix="Try again later, over fewer connections; whoever runs the server can raise --max-connections.",
        retry_after=1.0,
    ),
    b"Retry-After: 1\r\n",
)
_LONG = _refusal(
    b"431 Request Header Fields Too Large",
    HeadTooLongError(
        "The head of the request is longer than the server takes.",
        fix="Send fewer or shorter headers, and a shorter address.",
    ),
)


@dataclass(eq=False)
class Room:
    """The connections of one server: how many there may be, and those that are idle, the longest first."""

    limits: Limits
    most: int
    idle: dict[_Bounded, None] = field(default_factory=dict)


class _Bounded(asyncio.Protocol):
    """What is added to either of uvicorn's protocols; ``room`` is the server's."""

    room: Room
    transport: asyncio.Transport
    connections: set[Any]
    cycle: Any
    _due: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _in_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection; when there are as many as may be, one that is idle goes for it, or else it is refused."""
        super().connection_made(transport)
        if len(self.connections) > self.room.most:
            longest = next(iter(self.room.idle), None)
            if longest is None:
                self.transport.write(_FULL)
                self.transport.close()
                return
            longest._leave()
        self._becomes_idle()

    def data_received(self, data: bytes) -> None:
        """Take bytes; from the first of a head on it has ``max_head_seconds``, however many come."""
        if self.transport.is_closing():
            return
        self.room.idle.pop(self, None)
        super().data_received(data)
        if self._working():
            self._in_head = False
            self._stop_waiting()
        elif not self._in_head:
            self._in_head = True
            self._wait(self.room.limits.max_head_seconds)

    def on_response_complete(self) -> None:
        """Be idle again, until the next request."""
        super().on_response_complete()  # type: ignore[misc]
        if self.transport.is_closing():
            self._watch()
        elif not self._working():
            self._becomes_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.room.idle.pop(self, None)
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """See that the client takes what waits for it."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """The client took it."""
        self._stop_watching()
        super().resume_writing()

    def _working(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _becomes_idle(self) -> None:
        self._in_head = False
        self.room.idle[self] = None
        self._wait(self.room.limits.max_idle_seconds)

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._due = asyncio.get_running_loop().call_later(seconds, self._leave)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def shutdown(self) -> None:
        """Leave when nothing is asked or answered, else after the answer: the server is told to stop."""
        super().shutdown()  # type: ignore[misc]
        if not self._working():
            self._leave()

    def _leave(self) -> None:
        self.room.idle.pop(self, None)
        if self.transport.get_extra_info("ssl_object") is not None and not self.transport.get_write_buffer_size():
            self.transport.abort()  # else TLS waits half a minute for a farewell, that may never come
            return
        self.transport.close()
        self._watch()  # for closing waits until all is taken

    def _watch(self) -> None:
        self._stop_watching()
        if waiting := self.transport.get_write_buffer_size():
            loop = asyncio.get_running_loop()
            self._unread = loop.call_later(self.room.limits.max_unread_seconds, self._require_taken, waiting)

    def _require_taken(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() < _LEAST:
            self.transport.abort()
        else:
            self._watch()

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class _H11(_Bounded, H11Protocol):
    """h11 bounds heads, trailers and pipelines itself."""


def protocol(room: Room) -> type[asyncio.Protocol]:
    """Return the protocol of a server's connections: over httptools where it is installed, which is faster, else over h11."""
    return type("Connection", (_httptools() if _fast() else _H11,), {"room": room})


def _fast() -> bool:
    return importlib.util.find_spec("httptools") is not None


def _httptools() -> type[asyncio.Protocol]:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class _HttpTools(_Bounded, HttpToolsProtocol):
        """httptools bounds nothing: heads, trailers and pipelines are bounded here."""

        _unspent = 0  # bytes since the last whole head or part of a body
        _in_body = False
        _flooded = False

        def data_received(self, data: bytes) -> None:
            self._unspent += len(data)
            super().data_received(data)
            if self._flooded or self._unspent > self.room.limits.max_head_bytes:
                if not self._flooded and not self._working() and not self.transport.is_closing():
                    self.transport.write(_LONG)
                    self.transport.close()
                else:
                    self.transport.abort()

        def on_message_begin(self) -> None:
            self._in_body = False
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            if not self._in_body:  # after a body they are trailers, which nobody reads
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._unspent, self._in_body = 0, True
            if len(self.pipeline) >= _PIPELINED:
                self._flooded = True
            else:
                super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._unspent = 0
            if not self._flooded:
                super().on_body(body)

        def on_message_complete(self) -> None:
            self._in_body, self._unspent = False, 0
            if not self._flooded:
                super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.pipeline and not self.transport.is_closing():
                self.flow.pause_reading()  # what has been read is answered first

    return _HttpTools
