"""What a tool's call is refused for, and what to do about an error, in the words of the tools."""

from __future__ import annotations

from typing import Any

from e2i_fs import errors
from e2i_fs.errors import E2IError, RequestError
from e2i_fs.wire.refusals import Fixes, RefusalError, document_of

__all__ = ["ForbiddenSourceError", "ReadOnlyError", "UnknownPlanError", "UnknownToolError", "error_document"]


class ReadOnlyError(RefusalError):
    """The server was not started to register."""


class UnknownPlanError(RefusalError, RequestError, LookupError):
    """A plan id that this server did not give, has forgotten, or has carried out already."""


class UnknownToolError(RefusalError, RequestError, LookupError):
    """A tool that this server does not have."""


class ForbiddenSourceError(RefusalError, errors.DefinitionError):
    """A source that this server may not open."""


_FIXES: Fixes = (
    (errors.UnknownFeatureError, "Use one of the nearest names, or find the name with discover_features."),
    (errors.LabelRequestedError, "Name it in `labels` of get_training_set if it is the target; else leave it out."),
    (errors.FeatureNameCollisionError, "Ask with full_feature_names true, which names columns view__feature."),
    (
        errors.InvalidTimestampError,
        "Give every row a time in the column timestamp_column, as ISO 8601 text with an offset, no finer than microseconds.",
    ),
    (
        errors.InvalidEntityFrameError,
        "Give every entity row the join keys, each in its dtype; discover_features tells them.",
    ),
    (errors.BreakingChangeError, "Plan again with allow_breaking true, if no reader needs the old form."),
    (errors.StalePlanError, "Plan again, look at what the new plan says, and register by its id."),
    (errors.SchemaMismatchError, "Correct the schema or the source, which does not hold what the view says of it."),
    (errors.DefinitionError, "Correct the definitions and plan again."),
    (errors.UnsupportedError, "Ask for it in another way; this store cannot do it as asked."),
    (errors.DegradedAnswerError, "Ask without strict, and look at `degraded`; or try again later."),
    (errors.RequestError, "Correct the arguments as the message says."),
    (errors.ConfigError, "Tell whoever runs the server: its configuration is wrong."),
    (errors.BackendDataError, "Tell whoever runs the server: what is stored cannot be read."),
    (errors.BackendError, "Try again later; `health` says which backend is away."),
    (errors.FailoverError, "Try again later; `health` says which backend is away."),
    (E2IError, "See the message."),
)


def error_document(error: E2IError) -> dict[str, Any]:
    """Return an error as a document for an agent: `e2i_fs.wire.refusals.document_of` with what to do said in tools.

    >>> error_document(errors.LabelRequestedError("'v:sold' is a label (P-12)."))["error"]["rules"]
    ['P-12']
    """
    return document_of(error, _FIXES)
