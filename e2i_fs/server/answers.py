"""Errors as answers: our document, or on Feast's own paths the text that Feast's clients make an exception of."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic_core import to_json

from e2i_fs.errors import E2IError, UnknownFeatureError
from e2i_fs.server.refusals import (
    AmbiguousBodyError,
    ForbiddenError,
    UnauthorizedError,
    document,
    retry_after,
    status_of,
)

__all__ = ["FEAST_PATHS", "error_response", "response_of"]

_LOG = logging.getLogger("e2i_fs.server")
FEAST_PATHS = frozenset({
    "/get-online-features", "/push", "/write-to-online-store", "/materialize", "/materialize-incremental",
    "/retrieve-online-documents", "/search",
})  # fmt: skip


def error_response(path: str, error: E2IError, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as the answer of a path, with ``Retry-After`` where time mends it."""
    status, wait = status_of(error), retry_after(error)
    sent = dict(headers or {})
    if wait is not None:
        sent["Retry-After"] = str(wait)
    if status in (408, 413) or isinstance(error, AmbiguousBodyError):
        sent["Connection"] = "close"  # what is left of the body is not waited for
    if status == 401:
        sent["WWW-Authenticate"] = "Bearer"
    told = document(error)
    if status == 500:
        # What is stored or configured, where it lies, and in what words a driver says so, is for those who run the server.
        reference = uuid.uuid4().hex[:12]
        _LOG.error("Error %s in %s: %s", reference, path, error, exc_info=error)
        told["error"] |= {
            "message": f"What is stored or configured is wrong. The server's log has it as {reference}.",
            "nearest": [],
        }
    return response_of(path, status, told, sent, kind=_feast_class(error))


def response_of(
    path: str,
    status: int,
    told: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    kind: str = "FeastError",
) -> Response:
    """Return an error document as an answer, in the form of the path."""
    if path in FEAST_PATHS:
        # Feast's clients raise the class that is named here. The document stands beside it, for those who look.
        about = {"module": "feast.errors", "class": kind, "message": _message(told["error"]), **told}
        return Response(to_json(to_json(about).decode()), status, dict(headers or {}), "application/json")
    return Response(to_json(told), status, dict(headers or {}), "application/json")


def _message(error: Mapping[str, Any]) -> str:
    return f"{error['type']}: {error['message']}"


def _feast_class(error: E2IError) -> str:
    if isinstance(error, ForbiddenError | UnauthorizedError):
        return "FeastPermissionError"
    return "FeastObjectNotFoundException" if isinstance(error, UnknownFeatureError) else "FeastError"
