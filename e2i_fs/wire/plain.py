"""Values as JSON that every reader keeps exact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from e2i_fs.json_values import as_json

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return ``value`` as JSON that every reader keeps exact: times in UTC, whole numbers beyond 2**53 as text.

    >>> plain({"at": datetime(2026, 3, 1), "n": 2**60, "score": float("inf")})
    {'at': '2026-03-01T00:00:00+00:00', 'n': '1152921504606846976', 'score': 'Infinity'}
    """
    return as_json(_in_utc(value), safe_integers=True)


def _in_utc(value: Any) -> Any:
    match value:
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
        case Mapping():
            return {key: _in_utc(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_in_utc(inner) for inner in value]
    return value
