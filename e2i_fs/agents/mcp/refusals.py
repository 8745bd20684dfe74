"""What a call is refused for, and every error as a document that a program can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from e2i_fs import errors
from e2i_fs.errors import E2IError, RequestError, suggested

__all__ = [
    "BusyError",
    "ForbiddenSourceError",
    "InvalidArgumentsError",
    "OutOfTimeError",
    "OverBudgetError",
    "ReadOnlyError",
    "UnknownPlanError",
    "UnknownToolError",
    "defect_document",
    "error_document",
]


class _RefusalError(E2IError):
    """An error that says by itself what to do: ``fix``, the ``nearest`` names, ``retry_after`` in seconds."""

    def __init__(
        self, message: str, *, fix: str, nearest: Sequence[str] = (), retry_after: float | None = None
    ) -> None:
        self.fix = fix
        self.nearest = tuple(nearest)
        self.retry_after = retry_after
        super().__init__(message)


class InvalidArgumentsError(_RefusalError, RequestError):
    """The arguments of a call do not fit the tool's schema; ``problems`` has every place where they do not."""

    def __init__(self, message: str, *, fix: str, nearest: Sequence[str], problems: Sequence[dict[str, Any]]) -> None:
        self.problems = tuple(problems)
        super().__init__(message, fix=fix, nearest=nearest)


class OverBudgetError(_RefusalError, RequestError):
    """The call asks for more rows or cells than the server gives at once. Nothing was read."""


class OutOfTimeError(_RefusalError):
    """The call took longer than the server allows. Nobody waits for its work any more, which ends by itself."""


class BusyError(_RefusalError):
    """All of the server's threads are at work, and none became free in time."""


class ReadOnlyError(_RefusalError):
    """The server was not started to register."""


class UnknownPlanError(_RefusalError, RequestError, LookupError):
    """A plan id that this server did not give, has forgotten, or has carried out already."""


class UnknownToolError(_RefusalError, RequestError, LookupError):
    """A tool that this server does not have."""


class ForbiddenSourceError(_RefusalError, errors.DefinitionError):
    """A source that this server may not open."""


_RULE = re.compile(r"\b[A-Z]-\d{1,2}\b")
_FIXES: tuple[tuple[type[E2IError], str], ...] = (
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
    """Return an error as a document: its type, message, the contract's rules, what to do, nearest names, when to retry.

    >>> document = error_document(errors.UnknownFeatureError("Unknown feature 'v:trx'. Did you mean 'v:trx_count'? (P-9)"))
    >>> document["error"]["nearest"], document["error"]["rules"]
    (['v:trx_count'], ['P-9'])
    """
    message = str(error)
    about: dict[str, Any] = {"type": type(error).__name__, "message": message, "rules": _rules(message)}
    if isinstance(error, _RefusalError):
        about |= {"fix": error.fix, "nearest": list(error.nearest), "retry_after": error.retry_after}
    else:
        fix = next(fix for kind, fix in _FIXES if isinstance(error, kind))
        about |= {"fix": fix, "nearest": suggested(message), "retry_after": None}
    if isinstance(error, errors.NoEligibleBackendError):
        about["retry_after"] = error.retry_after
    if isinstance(error, InvalidArgumentsError | errors.InvalidBatchError):
        about["problems"] = list(error.problems)
    return {"error": about}


def defect_document(reference: str) -> dict[str, Any]:
    """Return what a caller is told of a defect: a reference to the server's log, and nothing of what went wrong."""
    return {
        "error": {
            "type": "InternalError",
            "message": f"A defect in e2i_fs: the call could not be done. The server's log has it as {reference}.",
            "rules": [],
            "fix": f"Tell whoever runs the server, with the reference {reference}. The same call may fail again.",
            "nearest": [],
            "retry_after": None,
        }
    }


def _rules(message: str) -> list[str]:
    """Return the rules that a message cites, which it does in parentheses."""
    return list(dict.fromkeys(rule for cited in re.findall(r"\(([^()]*)\)", message) for rule in _RULE.findall(cited)))
