"""For those who run the server: is it alive, is it ready, what did it count, what does it take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from e2i_fs.errors import UnsupportedError
from e2i_fs.server.answers import response_of
from e2i_fs.server.openapi import refusals
from e2i_fs.server.refusals import document
from e2i_fs.server.service import Service, json_response

__all__ = ["watch_router"]

_PATIENCE = 30.0  # seconds that telling the metrics may take


class Health(BaseModel):
    """Whether the server is alive, and whether it can answer."""

    live: bool
    ready: bool = Field(description="A backend is up, and the server was not told to stop.")


def watch_router(service: Service, reads: Sequence[Any], described: Callable[[], dict[str, Any]]) -> APIRouter:
    """Return the paths that watch. Health needs no key; the rest does, where there are any."""
    router = APIRouter(tags=["Operations"])
    not_ready: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Not ready."}}

    @router.get("/healthz", response_model=Health, responses=not_ready)
    @router.get("/healthz/ready", response_model=Health, responses=not_ready)
    async def ready() -> Response:
        """Whether the server can answer: 200, or 503."""
        answer = json_response({"live": True, "ready": await service.ready()})
        answer.status_code = 200 if b'"ready":true' in answer.body else 503
        return answer

    @router.get("/healthz/live", response_model=Health)
    async def live() -> Response:
        """Whether the process answers at all. The store is not asked."""
        return json_response({"live": True, "ready": not service.stopping})

    @router.get(
        "/metrics", dependencies=reads, response_class=Response,
        responses={**refusals(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
                   501: {"description": "prometheus-client is not installed."}},
    )  # fmt: skip
    async def metrics() -> Response:
        """What the server and its store counted, and the state of the backends now, in Prometheus's text format."""
        try:  # in a thread that no other call takes: the backends are asked
            told = await service.watching.run(service.counts.exposed, _PATIENCE)
        except UnsupportedError as error:
            return response_of("/metrics", 501, document(error))
        return Response(told.content, media_type=told.media_type)

    @router.get("/openapi.json", dependencies=reads, include_in_schema=False)
    async def openapi() -> Response:
        """What the server takes and gives."""
        return json_response(described())

    return router
