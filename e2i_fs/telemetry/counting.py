"""Counting the statuses of an answer, for those who watch: whatever it is kept in, without making its values (O-3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from e2i_fs.frozen import FrozenMap
from e2i_fs.results import STATUSES, FeatureStatus

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["by_view"]


def by_view(statuses: Mapping[str, list[FeatureStatus] | pa.ChunkedArray]) -> FrozenMap[FrozenMap[int]]:
    """Return how many values of each view have each status; what is zero is left out.

    ``statuses`` has, by ``view:feature``, the statuses themselves or, in an Arrow column, their numbers in `STATUSES`.

    >>> by_view({"v:x": [FeatureStatus.PRESENT, FeatureStatus.NOT_FOUND], "v:y": [FeatureStatus.PRESENT] * 2})
    {'v': {'PRESENT': 3, 'NOT_FOUND': 1}}
    """
    listed: dict[str, list[FeatureStatus]] = {}
    counted: dict[str, Counter[FeatureStatus]] = {}
    for ref, column in statuses.items():
        view = ref.partition(":")[0]
        if isinstance(column, list):
            listed.setdefault(view, []).extend(column)
        else:
            into = counted.setdefault(view, Counter())
            for each in column.value_counts().to_pylist():
                into[STATUSES[each["values"]]] += each["counts"]
    counted |= {view: Counter(every) for view, every in listed.items()}
    plain = {view: FrozenMap({s.value: n for s, n in found.items()}) for view, found in counted.items()}
    return FrozenMap(plain)
