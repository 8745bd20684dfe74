"""One context and what the store says, brought together: a missing value never overwrites a value that is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from e2i_fs.keys import is_missing
from e2i_fs.results import FeatureStatus

__all__ = ["Conflict", "Origin", "Prefer", "merge"]

Prefer = Literal["given", "store"]
Origin = Literal["given", "store", "missing"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A feature for which the given and the stored value differ; ``used`` says which one was used.

    >>> from e2i_fs.agents import ContextEnricher
    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     _ = store.materialize_incremental()
    ...     made = ContextEnricher(store, ["hcp_stats:trx_count"]).enrich({"hcp_id": "hcp_1", "trx_count": 3})
    >>> made.conflicts
    (Conflict(row=0, feature='trx_count', given=3, stored=14, used='given'),)
    """

    row: int
    feature: str
    given: Any
    stored: Any
    used: Prefer


def merge(
    contexts: Sequence[Mapping[str, Any]],
    fetched: Mapping[str, Sequence[Any]],
    statuses: Mapping[str, Sequence[FeatureStatus]],
    prefer: Mapping[str, Prefer],
) -> tuple[list[dict[str, Any]], dict[str, list[Origin]], list[Conflict]]:
    """Return the contexts with the features of ``fetched`` in them, where each value is from, and the conflicts.

    Everything is by feature name and lined up with ``contexts``; what a context has beside features stays. None stands for
    a value that neither has: nothing is made up. A given value that is missing (`is_missing`) is not given.
    """
    merged = [dict(context) for context in contexts]
    origins: dict[str, list[Origin]] = {}
    conflicts: list[Conflict] = []
    for name, column in fetched.items():
        origins[name] = []
        for row, (context, value, status) in enumerate(zip(contexts, column, statuses[name], strict=True)):
            given = context.get(name)
            has_given, has_stored = not is_missing(given), status is FeatureStatus.PRESENT
            if has_given and has_stored and not _same(given, value):
                conflicts.append(Conflict(row, name, given, value, prefer[name]))
            origin: Origin = "missing"
            if has_given and (prefer[name] == "given" or not has_stored):
                origin = "given"
            elif has_stored:
                origin = "store"
            merged[row][name] = {"given": given, "store": value, "missing": None}[origin]
            origins[name].append(origin)
    return merged, origins, conflicts


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are one: NaN is equal to itself, 1 is not True, and any sequence may stand for a list."""
    if isinstance(other, list) and isinstance(one, Iterable):
        one = list(one)
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return repr(one) == repr(other) or bool(one == other)
