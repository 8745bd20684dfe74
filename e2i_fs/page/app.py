"""The page over HTTP, as ASGI: the page, its document and the statistics of a view; to read, and nothing else."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from e2i_fs.clock import Clock, SystemClock
from e2i_fs.errors import E2IError
from e2i_fs.page.book import Book
from e2i_fs.page.collect import collect, collect_figures
from e2i_fs.page.html import page, policy
from e2i_fs.page.shown import Shown
from e2i_fs.server.answers import error_response
from e2i_fs.server.keys import Access
from e2i_fs.server.refusals import ForbiddenError, UnauthorizedError, UnknownPathError
from e2i_fs.wire.listening import LOOPBACK
from e2i_fs.wire.workers import Workers

__all__ = ["Shop", "make_app"]

_SECONDS = 300.0  # a view's whole history is read for its statistics
_THREADS = 4


@dataclass(eq=False)
class Shop:
    """What the page is about and who may see it; ``keep`` is how many seconds a document is given again before it is made anew."""

    store: Shown
    project: str = ""
    days: float = 7.0
    statistics: bool = True
    access: Access = field(default_factory=Access)
    clock: Clock = field(default_factory=SystemClock)
    keep: float = 5.0

    def __post_init__(self) -> None:
        self.documents = Book(self.keep, self.clock)
        self.figures = Book(max(self.keep, 60.0) if self.keep else 0.0, self.clock)
        self.workers = Workers(_THREADS)

    def document(self) -> dict[str, Any]:
        """Return the document, and whether statistics can be asked for beside it."""
        made = self.documents.page(
            "", lambda: collect(self.store, project=self.project, days=self.days, clock=self.clock)
        )
        return {**made, "statistics_served": self.statistics}

    def statistics_of(self, view: str) -> dict[str, Any]:
        """Return the statistics of a view. Raises `UnknownFeatureError`, or `UnknownPathError` when none are served."""
        if not self.statistics:
            raise UnknownPathError("Statistics are not served here.", fix="Run e2i-fs ui without --no-statistics.")
        self.store.catalog().view(view)
        return self.figures.page(view, lambda: collect_figures(self.store, view))


def make_app(shop: Shop) -> Starlette:
    """Return the application: ``/``, ``/document.json`` and ``/statistics.json?view=NAME``, by GET only.

    Without keys it answers only what is addressed to this machine's own name, so that no page of another site can reach it by
    a name of its own (DNS rebinding). With keys each request needs one: a browser asks for it and sends it as the password.

    >>> from e2i_fs.testing import memory_store
    >>> [route.path for route in make_app(Shop(memory_store())).routes]
    ['/', '/document.json', '/statistics.json']
    """
    html = page()

    async def the_page(request: Request) -> Response:
        return Response(html, media_type="text/html; charset=utf-8")

    async def document(request: Request) -> Response:
        return _json(await shop.workers.run(shop.document, _SECONDS))

    async def statistics(request: Request) -> Response:
        view = request.query_params.get("view", "")
        return _json(await shop.workers.run(lambda: shop.statistics_of(view), _SECONDS))

    routes = [
        Route("/", the_page, methods=["GET"]),
        Route("/document.json", document, methods=["GET"]),
        Route("/statistics.json", statistics, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={E2IError: _refused, HTTPException: _not_here})
    app.add_middleware(BaseHTTPMiddleware, dispatch=_guard(shop.access))
    return app


_Next = Callable[[Request], Awaitable[Response]]


def _guard(access: Access) -> Callable[[Request, _Next], Awaitable[Response]]:
    headers = {
        "Content-Security-Policy": policy(served=True, header=True),
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }

    async def guarded(request: Request, rest: _Next) -> Response:
        try:
            _require_own_name(access, request)
            access.require("read", _with_password(request.headers))
            answer = await rest(request)
        except UnauthorizedError as error:
            answer = error_response(request.url.path, error, {"WWW-Authenticate": 'Basic realm="e2i_fs catalogue"'})
            answer.headers["WWW-Authenticate"] = 'Basic realm="e2i_fs catalogue", charset="UTF-8"'
        except E2IError as error:
            answer = error_response(request.url.path, error)
        answer.headers.update(headers)
        return answer

    return guarded


def _require_own_name(access: Access, request: Request) -> None:
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if access.open and name.strip("[]").lower() not in LOOPBACK:
        raise ForbiddenError(
            f"The request is to {host[:100]!r}, and without keys the page is for this machine's own name only.",
            fix="Open http://127.0.0.1 or http://localhost; whoever runs the page can give it keys.",
        )


def _with_password(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers in which a key that a browser sent as a password stands where keys stand; the user's name is no matter."""
    scheme, _, told = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return headers
    try:
        password = base64.b64decode(told, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        password = ""
    return {"x-api-key": password}


def _json(document: Mapping[str, Any]) -> Response:
    return Response(to_json(document), media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, E2IError)
    return error_response(request.url.path, error)


async def _not_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"There is no {request.method[:20]} {request.url.path[:200]!r} here."
    answer = error_response(
        request.url.path, UnknownPathError(what, fix="GET / is the page."), dict(error.headers or {})
    )
    answer.status_code = error.status_code
    return answer
