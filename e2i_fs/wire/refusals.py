"""What a call over any wire is refused for, and every error as a document that a program can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from e2i_fs import errors
from e2i_fs.errors import E2IError, RequestError, suggested

__all__ = [
    "BusyError",
    "Fixes",
    "InvalidArgumentsError",
    "OutOfTimeError",
    "OverBudgetError",
    "RefusalError",
    "defect_document",
    "document_of",
]


class RefusalError(E2IError):
    """An error that says by itself what to do: ``fix``, the ``nearest`` names, ``retry_after`` in seconds."""

    def __init__(
        self, message: str, *, fix: str, nearest: Sequence[str] = (), retry_after: float | None = None
    ) -> None:
        self.fix = fix
        self.nearest = tuple(nearest)
        self.retry_after = retry_after
        super().__init__(message)


class InvalidArgumentsError(RefusalError, RequestError):
    """The arguments of a call do not fit the tool's schema; ``problems`` has every place where they do not."""

    def __init__(self, message: str, *, fix: str, nearest: Sequence[str], problems: Sequence[dict[str, Any]]) -> None:
        self.problems = tuple(problems)
        super().__init__(message, fix=fix, nearest=nearest)


class OverBudgetError(RefusalError, RequestError):
    """The call asks for more rows or cells than the server gives at once. Nothing was read."""


class OutOfTimeError(RefusalError):
    """The call took longer than the server allows. Nobody waits for its work any more, which ends by itself."""


class BusyError(RefusalError):
    """All of the server's threads are at work, and none became free in time."""


_LONGEST = 4_000  # characters of a message, which may hold a caller's own words
_MOST = 1_000  # problems of a batch that are told one by one
_RULE = re.compile(r"\b[A-Z]-\d{1,2}\b")


Fixes = Sequence[tuple[type[E2IError], str]]


def document_of(error: E2IError, fixes: Fixes) -> dict[str, Any]:
    """Return an error as a document: its type, message, the contract's rules, what to do, nearest names, when to retry.

    ``fixes`` says what to do by kind of error, in the words of the protocol; the first kind that fits is taken.

    >>> fixes = [(E2IError, "See the message.")]
    >>> unknown = errors.UnknownFeatureError("Unknown feature 'v:trx'. Did you mean 'v:trx_count'? (P-9)")
    >>> document = document_of(unknown, fixes)
    >>> document["error"]["nearest"], document["error"]["rules"]
    (['v:trx_count'], ['P-9'])
    """
    message = _shortened(str(error))
    about: dict[str, Any] = {"type": type(error).__name__, "message": message, "rules": _rules(message)}
    if isinstance(error, RefusalError):
        about |= {"fix": error.fix, "nearest": list(error.nearest), "retry_after": error.retry_after}
    else:
        fix = next(fix for kind, fix in fixes if isinstance(error, kind))
        about |= {"fix": fix, "nearest": suggested(message), "retry_after": None}
    if isinstance(error, errors.NoEligibleBackendError):
        about["retry_after"] = error.retry_after
    if isinstance(error, InvalidArgumentsError | errors.InvalidBatchError):
        about["problems"] = _first(error.problems)
    return {"error": about}


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _first(problems: Sequence[Any]) -> list[Any]:
    """Return the problems, when there are very many the first of them and how many there are."""
    shown = [_shortened(p) if isinstance(p, str) else p for p in problems[:_MOST]]
    return [*shown, f"and {len(problems) - _MOST} more"] if len(problems) > _MOST else shown


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
