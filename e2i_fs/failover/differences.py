"""What comes of comparing two backends: counts, and the smallest difference (X-10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from e2i_fs.frozen import FrozenMap

__all__ = ["Diff", "Difference", "ViewDiff", "size"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One key for which two backends answer differently at ``at`` (UTC); ``where`` is ``"online"`` or ``"history"``.

    ``has`` maps each backend to its row, times and values by column name, or to None where it has no row.
    """

    view: str
    where: str
    key: Mapping[str, Any]
    at: datetime
    has: Mapping[str, Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class ViewDiff:
    """The comparison of one view, counted in answers: each of ``keys`` is asked about online and in history.

    ``missing`` counts, by backend, the answers for which only the other backend had a row. ``incomparable`` counts
    answers that could not be judged, at least one when the whole view could not be; ``why`` gives the reason.
    ``example`` is the smallest difference.
    """

    view: str
    keys: int = 0
    matched: int = 0
    mismatched: int = 0
    missing: Mapping[str, int] = field(default_factory=FrozenMap)
    incomparable: int = 0
    why: str | None = None
    example: Difference | None = None

    @property
    def compared(self) -> int:
        """How many answers were compared, and so matched, mismatched or missing."""
        return self.matched + self.mismatched + sum(self.missing.values())


@dataclass(frozen=True, slots=True)
class Diff:
    """The comparison of two backends by `Store.diff`: counts over all views, and ``views`` for each (X-10).

    >>> from e2i_fs.testing import example_store
    >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
    >>> with example_store(two) as store:
    ...     found = store.diff("primary", "standby")
    >>> found.same, found.compared > 0, found.missing
    (True, True, {'primary': 0, 'standby': 0})
    """

    backend: str
    other: str
    views: tuple[ViewDiff, ...]

    @property
    def compared(self) -> int:
        """The number of answers that were compared."""
        return sum(view.compared for view in self.views)

    @property
    def matched(self) -> int:
        """The number of compared answers that were the same, in times and values."""
        return sum(view.matched for view in self.views)

    @property
    def mismatched(self) -> int:
        """The number of compared answers that differed although both backends had a row."""
        return sum(view.mismatched for view in self.views)

    @property
    def missing(self) -> dict[str, int]:
        """The number of answers for which only the other backend had a row, by the backend that had none."""
        return {name: sum(view.missing.get(name, 0) for view in self.views) for name in (self.backend, self.other)}

    @property
    def incomparable(self) -> int:
        """The number of answers not judged: a write missed or under way, other definitions, a backend down."""
        return sum(view.incomparable for view in self.views)

    @property
    def example(self) -> Difference | None:
        """The smallest difference found; None when there is none."""
        return min((view.example for view in self.views if view.example is not None), key=size, default=None)

    @property
    def same(self) -> bool:
        """True when no difference was found, which means something only if the comparison is `conclusive`."""
        return self.mismatched == 0 and not any(self.missing.values())

    @property
    def conclusive(self) -> bool:
        """True when a difference was found, or when something was compared and nothing was incomparable."""
        return not self.same or (self.compared > 0 and self.incomparable == 0)

    @property
    def ok(self) -> bool:
        """True when something was compared, nothing was incomparable and nothing differed."""
        return self.conclusive and self.same


def size(found: Difference) -> tuple[Any, ...]:
    """Return the order of examples: the one that is read most quickly first."""
    text = repr((found.key, found.has))
    return (found.where != "online", len(text), text, found.at)
