"""How far a run is, in rows: of the step that it is at exactly, of those that come after it by what there was so far."""

from __future__ import annotations

from dataclasses import dataclass

from e2i_fs.entries import Progress

__all__ = ["Pace"]


@dataclass(slots=True)
class Pace:
    """Tells ``progress`` of the rows of a view that are done and those that there are; ``steps_left`` are steps not yet begun.

    A step that is not yet read counts as many rows as the average of those that were.

    >>> pace = Pace("v", lambda view, done, total: print(view, done, total), steps_left=2)
    >>> pace.begin(10)
    >>> pace.tell(10)
    v 10 20
    >>> pace.begin(2)
    >>> pace.tell(2)
    v 12 12
    """

    view: str
    progress: Progress | None
    steps_left: int = 0
    _begun: int = 0
    _before: int = 0
    _rows: int = 0

    def begin(self, rows: int) -> None:
        """Begin a step of so many rows; one without any is told of at once."""
        self.steps_left = max(0, self.steps_left - 1)
        self._begun += 1
        self._before += self._rows
        self._rows = rows
        if not rows:
            self.tell(0)

    def tell(self, done: int) -> None:
        """Say that so many rows of the step are done."""
        if self.progress is not None:
            known = self._before + self._rows
            self.progress(self.view, self._before + done, known + known * self.steps_left // self._begun)
