"""The application: a store over HTTP, as ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException

from e2i_fs import __version__
from e2i_fs.errors import E2IError
from e2i_fs.server.answers import error_response
from e2i_fs.server.feast_paths import feast_router, not_served
from e2i_fs.server.guard import Guard
from e2i_fs.server.keys import May
from e2i_fs.server.refusals import InvalidBodyError, UnknownPathError
from e2i_fs.server.service import Service
from e2i_fs.server.v1_paths import v1_router
from e2i_fs.server.watch_paths import watch_router
from e2i_fs.wire.refusals import InvalidArgumentsError

__all__ = ["make_app"]


def make_app(service: Service) -> FastAPI:
    """Return the application of a service; every path but those of health wants a key, where the service has any.

    >>> import tempfile
    >>> import e2i_fs as fs
    >>> from e2i_fs.wire.desk import Desk
    >>> with fs.connect({"backend": "duckdb", "path": tempfile.mkdtemp()}) as store:
    ...     app = make_app(Service(Desk(store)))
    ...     sorted(path for path in app.openapi()["paths"] if path.startswith("/health"))
    ['/health', '/healthz', '/healthz/live', '/healthz/ready']
    """
    app = FastAPI(
        title="e2i_fs feature server",
        version=__version__,
        description="A feature store over HTTP: Feast's own paths, and /v1. An error says what to do (`fix`).",
        openapi_url=None,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    reads, writes = _dependencies(service, "read"), _dependencies(service, "write")
    app.include_router(feast_router(service, reads, writes))
    app.include_router(v1_router(service, reads, writes))
    app.include_router(watch_router(service, reads, app.openapi))
    app.add_exception_handler(E2IError, _refused)
    app.add_exception_handler(HTTPException, _no_such_path)
    app.add_exception_handler(RequestValidationError, _misfit)
    app.add_middleware(Guard, service=service)
    return app


def _dependencies(service: Service, may: May) -> list[Any]:
    async def allowed(request: Request) -> None:
        service.access.require(may, request.headers)

    schemes: list[Callable[[Request], Awaitable[Any]]] = []
    if not service.access.open:
        schemes = [
            HTTPBearer(auto_error=False, description=f"A key that may {may}."),
            APIKeyHeader(name="X-API-Key", auto_error=False, description=f"A key that may {may}."),
        ]
    return [*map(Depends, schemes), Depends(allowed)]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, E2IError)
    return error_response(request.url.path, error)


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code not in (404, 405):
        return error_response(path, InvalidBodyError(str(error.detail), fix="Correct the request."))
    what = (
        f"There is no path {path[:200]!r}."
        if error.status_code == 404
        else f"{path} does not take {request.method[:20]!r}."
    )
    refusal = UnknownPathError(what, fix=not_served(path) or "GET /openapi.json says what there is.")
    answer = error_response(path, refusal, error.headers)
    answer.status_code = error.status_code
    return answer


async def _misfit(request: Request, error: Exception) -> Response:
    """What does not fit in the address; bodies are read by the server itself."""
    assert isinstance(error, RequestValidationError)
    problems = [
        {"where": ".".join(map(str, e["loc"])), "problem": str(e["msg"]), "nearest": []} for e in error.errors()[:20]
    ]
    told = "; ".join(f"{p['where']}: {p['problem']}" for p in problems)
    refusal = InvalidArgumentsError(
        f"The address does not fit: {told}", fix="Correct what is named; /openapi.json says what is taken.", nearest=(),
        problems=problems,
    )  # fmt: skip
    return error_response(request.url.path, refusal)
