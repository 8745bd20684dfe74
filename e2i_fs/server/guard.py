"""Before any path is reached: how many at a time, how long a body, from where; and after it: the counts, and defects."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from e2i_fs.errors import E2IError
from e2i_fs.server.answers import error_response, response_of
from e2i_fs.server.refusals import AmbiguousBodyError, BodyTooLargeError, ForbiddenError
from e2i_fs.server.service import Service
from e2i_fs.wire.listening import LOOPBACK
from e2i_fs.wire.refusals import BusyError, defect_document

__all__ = ["Guard"]

_LOG = logging.getLogger("e2i_fs.server")
_ALWAYS = frozenset({"/healthz", "/healthz/live", "/healthz/ready", "/metrics"})  # told however many others ask


class Guard:
    """The outermost layer of the application (ASGI)."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._under_way = 0
        self._held = 0  # bytes of the bodies of all requests under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it; count it in any case."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service, begun, status = self._service, self._service.clock.monotonic(), 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        service.counts.begun()
        self._under_way += 1
        body = _Body(receive)
        try:
            self._admit(scope)
            with service.caller({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}):
                await self._app(scope, self._limited(body), told)
        except ClientDisconnect:  # nobody is there to be told
            status = status or 499
        except E2IError as error:
            await error_response(scope["path"], error)(scope, receive, told)
        except Exception:
            # The one place where a defect ends: told to the caller by a reference, and to the log whole.
            reference = uuid.uuid4().hex[:12]
            _LOG.exception("Defect %s in %s %r", reference, scope["method"], scope["path"])
            if not status:
                await response_of(scope["path"], 500, defect_document(reference))(scope, receive, told)
        finally:
            self._under_way -= 1
            self._held -= body.bytes
            route: Any = scope.get("route")
            path = getattr(route, "path", None) or "unknown"
            seconds = service.clock.monotonic() - begun
            service.counts.ended(_method(scope), path, status or 500, seconds)

    def _admit(self, scope: Scope) -> None:
        """Raise unless a request may come in: in number, by its announced length, and to the name of this machine."""
        limits, headers = self._service.limits, dict(scope["headers"])
        if self._under_way > limits.max_requests and scope["path"] not in _ALWAYS:
            raise BusyError(
                f"{limits.max_requests} requests are under way, which is as many as the server takes.",
                fix="Try again later, with fewer requests at a time.",
                retry_after=1.0,
            )
        if b"transfer-encoding" in headers and b"content-length" in headers:
            raise AmbiguousBodyError(
                "The request has both Content-Length and Transfer-Encoding, so where its body ends is not certain.",
                fix="Send one of the two.",
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > limits.max_body_bytes:
            raise _too_large(limits.max_body_bytes)
        if self._service.access.open:
            host = headers.get(b"host", b"").decode("latin-1")
            name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
            if name.strip("[]").lower() not in LOOPBACK:
                raise ForbiddenError(
                    f"The request is to {host[:100]!r}, and without keys this server answers to this machine's own name only.",
                    fix="Ask http://127.0.0.1 or http://localhost; whoever runs the server can give it keys.",
                )

    def _limited(self, body: _Body) -> Receive:
        limits = self._service.limits

        async def counted() -> Message:
            message = await body.receive()
            if message["type"] == "http.request":
                came = len(message.get("body", b""))
                body.bytes += came
                self._held += came
                if body.bytes > limits.max_body_bytes:
                    raise _too_large(limits.max_body_bytes)
                if self._held > limits.bodies * limits.max_body_bytes:
                    raise BusyError(
                        f"The bodies of requests under way have more than {limits.bodies * limits.max_body_bytes:,} bytes together, "
                        "which is as many as the server holds.",
                        fix="Try again later, with fewer such requests at a time.",
                        retry_after=1.0,
                    )
            return message

        return counted


@dataclass
class _Body:
    """A body as it comes, and how much of it has."""

    receive: Receive
    bytes: int = 0


def _too_large(most: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"The body has more than {most:,} bytes, which is as many as the server takes. The rest was not read.",
        fix="Send less at a time; whoever runs the server can raise --max-body.",
    )


def _method(scope: Scope) -> str:
    """Return the method, any that HTTP does not have as one: what is counted by is never a caller's own word."""
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
    return scope["method"] if scope["method"] in known else "other"
