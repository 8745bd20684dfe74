"""What a request is refused for, the HTTP status of every error, and the document that a client gets."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, Field

from e2i_fs import errors
from e2i_fs.errors import E2IError, RequestError
from e2i_fs.wire.refusals import BusyError, Fixes, OutOfTimeError, RefusalError, document_of

__all__ = [
    "AmbiguousBodyError",
    "BodyTooLargeError",
    "ErrorDocument",
    "ForbiddenError",
    "HeadTooLongError",
    "InvalidBodyError",
    "NotHereError",
    "SlowBodyError",
    "UnauthorizedError",
    "UnknownMediaError",
    "UnknownPathError",
    "document",
    "retry_after",
    "status_of",
]


class InvalidBodyError(RefusalError, RequestError):
    """The body is not what its kind says it is: no JSON, or no Arrow stream."""


class AmbiguousBodyError(InvalidBodyError):
    """Where the body ends is said twice, so that two servers may see its end in two places."""


class BodyTooLargeError(RefusalError, RequestError):
    """The body has more bytes than the server takes. Reading it was stopped there."""


class HeadTooLongError(RefusalError, RequestError):
    """The head of a request has more bytes than the server takes."""


class SlowBodyError(RefusalError, RequestError):
    """The body did not come in time."""


class UnknownMediaError(RefusalError, RequestError):
    """A body, or an answer, of a kind that the path does not speak."""


class UnauthorizedError(RefusalError, RequestError):
    """No key, or none that the server knows."""


class ForbiddenError(RefusalError, RequestError):
    """What this caller may not do."""


class UnknownPathError(RefusalError, RequestError, LookupError):
    """A path, or a method on it, that the server does not have."""


class NotHereError(RefusalError, RequestError):
    """Something of another server's that this one does not do."""


class _Problem(BaseModel):
    where: str
    problem: str
    nearest: list[str]


class _Error(BaseModel):
    type: str = Field(description="The class of the error, in the tree of the documentation.")
    message: str
    rules: list[str] = Field(description="The rules of the contract that it cites.")
    fix: str = Field(description="What to do.")
    nearest: list[str] = Field(description="The nearest names to one that is not known.")
    retry_after: float | None = Field(description="In how many seconds the same may work.")
    problems: list[str | _Problem] | None = Field(default=None, description="Each problem of a batch or a body.")


class ErrorDocument(BaseModel):
    """What every refusal answers."""

    error: _Error


_FIXES: Fixes = (
    (errors.UnknownFeatureError, "Use one of the nearest names, or find the name with POST /v1/search."),
    (errors.LabelRequestedError, "Name it in `labels` of /v1/historical if it is the target; else leave it out."),
    (errors.FeatureNameCollisionError, "Ask with full_feature_names true, which names columns view__feature."),
    (errors.InvalidTimestampError, "Give times as ISO 8601 text with an offset, no finer than microseconds."),
    (
        errors.InvalidEntityFrameError,
        "Give every entity row the join keys, each in its dtype; /v1/catalogue/{name} tells them.",
    ),
    (errors.InvalidBatchError, "Correct each problem and send the batch again; nothing of it was written."),
    (errors.RunOverlapError, "Wait until the run that is under way has ended."),
    (errors.UnsupportedError, "Ask for it in another way; this store cannot do it as asked."),
    (errors.DegradedAnswerError, "Ask without strict, and look at `degraded`; or try again later."),
    (errors.RequestError, "Correct the request as the message says."),
    (errors.DefinitionError, "Tell whoever runs the server: a definition does not fit its source."),
    (errors.ConfigError, "Tell whoever runs the server: its configuration is wrong."),
    (errors.BackendDataError, "Tell whoever runs the server: what is stored cannot be read."),
    (errors.BackendError, "Try again later; /v1/health says which backend is away."),
    (errors.FailoverError, "Try again later; /v1/health says which backend is away."),
    (E2IError, "See the message."),
)

# The first kind that fits. What the caller can mend is 4xx; what heals by itself is 429, 503 or 504; the rest is ours.
_STATUSES: tuple[tuple[type[E2IError], int], ...] = (
    (InvalidBodyError, 400),
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (UnknownPathError, 404),
    (SlowBodyError, 408),
    (BodyTooLargeError, 413),
    (UnknownMediaError, 415),
    (HeadTooLongError, 431),
    (OutOfTimeError, 504),
    (BusyError, 503),
    (errors.UnknownFeatureError, 404),
    (errors.RunOverlapError, 409),
    (errors.RequestError, 422),
    (errors.UnsupportedError, 422),
    (errors.ThrottledError, 429),
    (errors.DeadlineExceededError, 504),
    (errors.BackendUnavailableError, 503),
    (errors.FailoverError, 503),
    (E2IError, 500),
)
_LATER = (429, 503)


def status_of(error: E2IError) -> int:
    """Return the HTTP status of an error.

    >>> status_of(errors.ThrottledError("Too much.")), status_of(errors.UnknownFeatureError("Unknown view 'v'."))
    (429, 404)
    """
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


def document(error: E2IError) -> dict[str, Any]:
    """Return what a client is told of an error, in the form of `ErrorDocument`."""
    return document_of(error, _FIXES)


def retry_after(error: E2IError) -> int | None:
    """Return the whole seconds of a ``Retry-After`` header, None for errors that time does not mend.

    >>> retry_after(errors.NoEligibleBackendError("Nobody may answer.", retry_after=2.5))
    3
    """
    if status_of(error) not in _LATER and not isinstance(error, errors.RunOverlapError):
        return None
    if isinstance(error, errors.NoEligibleBackendError) and error.retry_after is None:
        return None
    seconds = getattr(error, "retry_after", None)
    return 1 if seconds is None else max(1, math.ceil(seconds))
