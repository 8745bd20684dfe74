"""What the journal knows of every backend at one moment: read once for a question, then asked as often as needed (X-4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from e2i_fs.failover.parity import Standing

__all__ = ["Behind", "Facts", "Fault", "UnderWay"]

Fault = Literal["lost", "late", "differs"]
"""Why rows cannot be believed: they went, there never were all of them, or they are others than they should be."""


class UnderWay(NamedTuple):
    """A write that a process is, or was, busy with: its number, that process's name, and whether some backend has taken it."""

    seq: int
    writer: str
    taken: bool


class Behind(NamedTuple):
    """The writes to one view that one backend has not taken, in numbers: there may be very many of them.

    ``number`` is how many, ``first`` the number of the first, ``left`` of the first that nobody is busy with (None if there is none);
    ``under_way`` are those that a process was busy with, whether it lives or not.
    """

    number: int
    first: int
    left: int | None
    under_way: tuple[UnderWay, ...] = ()


_NONE = Behind(0, 0, None)


@dataclass(frozen=True)
class Facts:
    """The journal's small tables, and ``busy``: whether the process that wrote under a name is alive."""

    version: tuple[int, int]
    busy: Callable[[str], bool]
    behind: Mapping[tuple[str, str], Behind] = field(default_factory=dict)
    heads: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[tuple[str, str], tuple[Fault, str]] = field(default_factory=dict)
    quarantines: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def against(self, backend: str) -> bool:
        """Return whether anything is held against a backend: a write that it has not taken, or a quarantine."""
        return any(name == backend for name, _ in self.behind) or any(name == backend for name, _ in self.quarantined)

    def standing(self, backend: str, view: str) -> Standing:
        """Return the facts of one backend and view; writes under way by processes that live are not missed."""
        rows = self.behind.get((backend, view), _NONE)
        position = rows.first - 1 if rows.number else self.heads.get(view, 0)
        busy = [each for each in rows.under_way if self.busy(each.writer)]
        found = self.quarantined.get((backend, view))
        times = self.quarantines.get((backend, view), 0)
        return Standing(
            rows.number - len(busy),
            None if found is None else found[1],
            position=position,
            quarantines=times,
            coming=sum(each.taken for each in busy),
        )

    def pending(self, backend: str, view: str) -> bool:
        """Return whether a write to ``view`` is missed by ``backend`` or still under way."""
        return (backend, view) in self.behind

    def missed(self, backend: str) -> dict[str, int]:
        """Return how many writes ``backend`` has missed, by view; views without any are left out."""
        views = [view for name, view in self.behind if name == backend]
        return {view: missed for view in views if (missed := self.standing(backend, view).missed)}

    def missed_before(self, backend: str, view: str, seq: int) -> bool:
        """Return whether ``backend`` has missed a write to the view before number ``seq``."""
        rows = self.behind.get((backend, view), _NONE)
        if rows.left is not None and rows.left < seq:
            return True
        return any(each.seq < seq and not self.busy(each.writer) for each in rows.under_way)

    def older_busy(self, backend: str, view: str, seq: int) -> bool:
        """Return whether an earlier write to the view, which ``backend`` has not taken, is still under way."""
        rows = self.behind.get((backend, view), _NONE)
        return any(each.seq < seq and self.busy(each.writer) for each in rows.under_way)

    def faults(self, backend: str) -> dict[str, tuple[Fault, str]]:
        """Return what is wrong with the rows of ``backend`` and why that is known, by view."""
        return {view: found for (name, view), found in self.quarantined.items() if name == backend}
