"""What a caller knows, as a list of contexts, and the rows that the store is asked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from e2i_fs.errors import InvalidEntityFrameError, did_you_mean
from e2i_fs.frames import Frame, rows_of

__all__ = ["contexts_of", "entity_rows"]


def contexts_of(given: Any) -> list[Mapping[str, Any]]:
    """Return one context, a list of them or a frame as a list; raise `InvalidEntityFrameError` when there is none.

    >>> contexts_of({"hcp_id": "a"})
    [{'hcp_id': 'a'}]
    """
    if isinstance(given, Mapping):
        return [given]
    rows = rows_of(given)
    if rows is None and (given is None or isinstance(given, str | list | tuple)):
        raise InvalidEntityFrameError(
            f"contexts is {_told(given)}; give a mapping with the join keys, a list of such mappings, or a frame (P-11)."
        )
    found: list[Mapping[str, Any]] = list(rows) if rows is not None else Frame(given, "contexts").table.to_pylist()
    if not found:
        raise InvalidEntityFrameError(
            "contexts is empty; there is nothing to enrich (P-11). Give at least one context, or do not ask."
        )
    return found


def entity_rows(contexts: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the store is asked with: the keys alone, for a given feature would collide with the fetched one."""
    for row, context in enumerate(contexts):
        lacking = [name for name in columns if name not in context]
        if lacking:
            raise InvalidEntityFrameError(
                f"Context {row} lacks {lacking[0]!r}, which its features are found by (P-11)."
                f"{did_you_mean(lacking[0], map(str, context))}"
            )
    return [{name: context[name] for name in columns} for context in contexts]


def _told(given: Any) -> str:
    if not isinstance(given, list | tuple):
        return repr(given)
    at = next(i for i, value in enumerate(given) if not isinstance(value, Mapping))
    return f"a {type(given).__name__} whose item {at} is {given[at]!r} and no mapping"
