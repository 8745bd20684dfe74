"""What could not be had says so in its place, and never tells a secret while it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from e2i_fs.errors import E2IError

__all__ = ["asked", "problem_of", "without_secrets"]

_USER = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?'\"]+)\?[^\s'\"]+", re.IGNORECASE)
_WORD = re.compile(r"\b(password|passwd|pwd|secret|token)=[^\s,;'\"]+", re.IGNORECASE)


def asked(ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what ``ask`` returns, or ``{"problem": why}`` when the store could not say it.

    >>> from e2i_fs.errors import BackendUnavailableError
    >>> def ask():
    ...     raise BackendUnavailableError("redis://:hunter2@cache:6379 is down.")
    >>> asked(ask)
    {'problem': 'BackendUnavailableError: redis://…@cache:6379 is down.'}
    """
    try:
        return ask()
    except E2IError as error:
        return {"problem": problem_of(error)}


def problem_of(error: BaseException) -> str:
    """Return an error as a sentence for the page."""
    return without_secrets(f"{type(error).__name__}: {error}")


def without_secrets(text: str) -> str:
    """Return ``text`` without what an address may hold beside the place: user and password, and what follows a ``?``.

    >>> without_secrets("postgresql://ann:pw@db/e2i?sslkey=x has no table")
    'postgresql://…@db/e2i?… has no table'
    """
    return _WORD.sub(r"\1=…", _QUERY.sub(r"\1?…", _USER.sub("…@", text)))
