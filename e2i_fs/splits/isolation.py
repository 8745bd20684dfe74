"""Each entity in one split only: which one, by a rule that knows nothing of the order of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["homes"]


def homes(rows_of: Mapping[str, Sequence[int]], ratios: Sequence[float]) -> dict[str, int]:
    """Return the split in which each entity may stay; its rows elsewhere are to be dropped.

    ``rows_of`` has, for each entity, its rows in each split. Entities with the least choice choose first, of these the
    ones with most rows (ties by name, which is a hash); each goes where, of the splits in which it has rows, the rows
    kept so far fall shortest of the ratio, the later split when equal.

    >>> homes({"a": [6, 2, 0], "b": [0, 2, 1]}, [0.6, 0.3, 0.1])
    {'a': 1, 'b': 2}
    """
    kept = [0] * len(ratios)
    found: dict[str, int] = {}

    def order(entity: str) -> tuple[int, int, str]:
        counts = rows_of[entity]
        return sum(1 for n in counts if n), -sum(counts), entity

    for entity in sorted(rows_of, key=order):
        counts = rows_of[entity]
        there = [k for k, n in enumerate(counts) if n]
        home = min(there, key=lambda k: (kept[k] / ratios[k], -k))
        kept[home] += counts[home]
        found[entity] = home
    return found
