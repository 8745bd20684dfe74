"""The order by which one row of a key wins over another (P-4), as SQL over positional columns."""

from __future__ import annotations

from e2i_fs.definitions import FeatureView
from e2i_fs.pit.fit import sort_sql

__all__ = ["winner_order"]


def winner_order(view: FeatureView, *, descending: bool = False) -> list[str]:
    """Return the ORDER BY terms of P-4: event time, created time, then every value in schema order."""
    terms = ["e ASC", "c ASC NULLS FIRST"]
    terms += [term for i, f in enumerate(view.schema) for term in sort_sql(f"v{i}", f.dtype)]
    if not descending:
        return terms
    turned = [t.replace(" ASC NULLS FIRST", " DESC NULLS LAST").replace(" ASC", " DESC") for t in terms]
    return [t if " DESC" in t else f"({t}) DESC" for t in turned]
