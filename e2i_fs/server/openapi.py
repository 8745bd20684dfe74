"""What the OpenAPI document says of bodies and refusals, which the server reads and writes itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from e2i_fs.server.refusals import ErrorDocument
from e2i_fs.server.service import ARROW, JSON

__all__ = ["ARROW_BODY", "body_of", "feast_refusals", "refusals"]

_WHAT = {
    400: "The body is no JSON (or no Arrow stream) that can be taken.",
    401: "No key, or an unknown one.",
    403: "This caller may not do this.",
    404: "A name that is not registered; `nearest` has those that are like it.",
    408: "The body did not come in time.",
    409: "The same is under way already.",
    413: "The body is too large.",
    415: "A body of a kind that is not taken here.",
    422: "The request cannot be answered as it stands; `fix` says what to do.",
    429: "The backend takes no more work for now; see Retry-After.",
    500: "What is stored or configured is wrong, or a defect; `fix` says whom to tell.",
    503: "No backend may answer now, or the server is busy; see Retry-After.",
    504: "It took longer than it may.",
}
ARROW_BODY: dict[str, Any] = {ARROW: {"schema": {"type": "string", "format": "binary"}}}
Responses = dict[int | str, dict[str, Any]]


def refusals(*without: int) -> Responses:
    """Return the refusals of a path in the form of `ErrorDocument`."""
    return {code: {"model": ErrorDocument, "description": what} for code, what in _WHAT.items() if code not in without}


def feast_refusals() -> Responses:
    """Return the refusals of one of Feast's paths: JSON text, in which Feast's own document is written."""
    about = "A text with a JSON document in it: Feast's `module`, `class` and `message`, and our `error`."
    content = {JSON: {"schema": {"type": "string", "contentMediaType": JSON, "description": about}}}
    return {code: {"description": what, "content": content} for code, what in _WHAT.items()}


def body_of(model: type[BaseModel], more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a path says of its body: a model as JSON, and other kinds beside it.

    >>> class Asked(BaseModel):
    ...     name: str
    >>> body_of(Asked)["requestBody"]["content"]["application/json"]["schema"]["required"]
    ['name']
    """
    schema = model.model_json_schema(by_alias=True)
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}, **(more or {})}}}
