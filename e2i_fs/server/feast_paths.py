"""Feast's own paths: any client of a Feast feature server, and Feast's remote online store, work against them unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from e2i_fs.server import feast_calls as calls
from e2i_fs.server import feast_forms as forms
from e2i_fs.server.openapi import body_of, feast_refusals
from e2i_fs.server.refusals import NotHereError
from e2i_fs.server.service import Service
from e2i_fs.wire.desk import Answer
from e2i_fs.wire.writing import Receipt, Receipts

__all__ = ["feast_router", "not_served"]


class Runs(Answer):
    """What a materialisation did, run by run (W-4)."""

    runs: list[dict[str, Any]] = Field(description="view, backend, outcome, rows read and written, error, duration.")


class _Anything(BaseModel):
    """What a path takes that answers nothing but that it is not here."""


_CHAT = "Feast's chat answers nothing but a fixed text; leave it out, or use `e2i-fs mcp` for agents."
_NOT_SERVED = {
    "/chat": _CHAT,
    "/ws/chat": _CHAT,
    "/static": "No files are served: they belong to Feast's chat page.",
    "/v1/vector_stores": "Search by vectors is not done here; get vectors by their keys, and search them in a vector store.",
    "/mcp": "Agents that speak MCP are served by `e2i-fs mcp`.",
}
_Background = Annotated[bool, Query(alias="async", description="Not taken: a run answers when it has ended.")]


def feast_router(service: Service, reads: Sequence[Any], writes: Sequence[Any]) -> APIRouter:
    """Return Feast's paths. ``reads`` and ``writes`` are the dependencies of those that read and those that write."""
    router = APIRouter(tags=["Feast"], responses=feast_refusals())

    @router.post(
        "/get-online-features", response_model=forms.OnlineFeatures, dependencies=reads,
        openapi_extra=body_of(forms.GetOnlineFeatures),
    )  # fmt: skip
    async def get_online_features(request: Request) -> Response:
        """Features as they are now, in Feast's form."""
        return await service.answer(request, forms.GetOnlineFeatures, calls.get_online_features)

    @router.post("/push", response_model=Receipts, dependencies=writes, openapi_extra=body_of(forms.Push))
    async def push(request: Request) -> Response:
        """Rows to every view that a push source feeds."""
        return await service.answer(request, forms.Push, calls.push_rows)

    @router.post(
        "/write-to-online-store", response_model=Receipt, dependencies=writes,
        openapi_extra=body_of(forms.WriteToOnlineStore),
    )  # fmt: skip
    async def write_to_online_store(request: Request) -> Response:
        """Rows of one view, online."""
        return await service.answer(request, forms.WriteToOnlineStore, calls.write_to_online_store)

    @router.post("/materialize", response_model=Runs, dependencies=writes, openapi_extra=body_of(forms.Materialize))
    async def materialize(request: Request, background: _Background = False) -> Response:
        """A window of history, brought online."""
        _in_the_foreground(background)
        return await service.answer(request, forms.Materialize, calls.materialize, job=True)

    @router.post(
        "/materialize-incremental", response_model=Runs, dependencies=writes,
        openapi_extra=body_of(forms.MaterializeIncremental),
    )  # fmt: skip
    async def materialize_incremental(request: Request, background: _Background = False) -> Response:
        """What arrived since the last run, late rows too, brought online."""
        _in_the_foreground(background)
        return await service.answer(request, forms.MaterializeIncremental, calls.materialize_incremental, job=True)

    @router.post("/search", dependencies=reads, openapi_extra=body_of(_Anything))
    @router.post("/retrieve-online-documents", dependencies=reads, openapi_extra=body_of(_Anything))
    async def retrieve_online_documents() -> Response:
        """Search by vectors, which is not here: always refused."""
        raise NotHereError(
            "Search by vectors is not done here: a store keeps vectors as features and has no index of them.",
            fix="Get vectors by their keys with /get-online-features, and search them in a vector store.",
        )

    @router.get(
        "/health", response_class=Response, responses={200: {"content": {}}, 503: {"description": "Not ready."}}
    )
    async def health() -> Response:
        """Whether the server answers: 200 or 503, without a body."""
        return Response(status_code=200 if await service.ready() else 503)

    return router


def not_served(path: str) -> str | None:
    """Return what to do instead of a path that Feast's feature server has and this one has not; None for any other.

    >>> not_served("/ws/chat")
    "Feast's chat answers nothing but a fixed text; leave it out, or use `e2i-fs mcp` for agents."
    """
    return next((fix for start, fix in _NOT_SERVED.items() if path == start or path.startswith(f"{start}/")), None)


def _in_the_foreground(background: bool) -> None:
    if background:
        raise NotHereError(
            "async=true is not taken: a materialisation answers when it has ended, with what it did.",
            fix="Leave async out and wait; a second run on a view meanwhile is refused.",
        )
