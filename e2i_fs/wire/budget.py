"""How much one call may ask for, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2i_fs.dtypes import DType
from e2i_fs.errors import ConfigError
from e2i_fs.request import Output, Request
from e2i_fs.wire.refusals import OverBudgetError

__all__ = ["Budget", "cells_of"]

_NESTED = frozenset({"array", "struct", "vector"})


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one call gets: entity rows, cells (values, those inside of one another one by one), seconds.

    What the dtypes tell is counted before anything is read (`require`). How long a list is they do not tell: it is
    counted in the answer (`require_given`), and what `explain` shows ends where the cells do.

    ``threads`` is how many calls work at a time, those that ran out of time and have not ended yet among them.
    """

    max_rows: int = 1_000
    max_cells: int = 100_000
    max_seconds: float = 30.0
    threads: int = 8

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_cells", "max_seconds", "threads"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give a number greater than 0.")

    def require_rows(self, rows: int) -> None:
        """Raise `OverBudgetError` when a call brings more rows than may be asked about at once."""
        if rows > self.max_rows:
            raise OverBudgetError(
                f"{rows:,} entity rows were asked about; this server answers {self.max_rows:,} in a call. Nothing was read.",
                fix=f"Ask in calls of at most {self.max_rows} rows each; whoever runs the server can raise --max-rows.",
            )

    def require(self, rows: int, request: Request) -> None:
        """Raise `OverBudgetError` unless so many rows of what is asked for fit into one answer."""
        self.require_rows(rows)
        width = sum(_width(output.field.dtype) for output in request.outputs)
        if rows * width > self.max_cells:
            fitting = self.max_cells // width
            advice = f"at most {fitting} rows of these features" if fitting else "fewer features"
            raise OverBudgetError(
                f"{rows:,} rows of {width:,} values are {rows * width:,} cells; this server gives {self.max_cells:,} in a call. "
                "Nothing was read.",
                fix=f"Ask for {advice} in a call; whoever runs the server can raise --max-cells.",
            )

    def require_given(self, request: Request, rows: int, column: Callable[[Output], Sequence[Any]]) -> int:
        """Return how many cells an answer of so many rows has; raise `OverBudgetError` when they are too many.

        ``column`` gives the values of an output, and is asked only for those that may hold more than a cell each.
        """
        counted = {
            output.ref: sum(map(cells_of, column(output))) if output.field.dtype.kind in _NESTED else rows
            for output in request.outputs
        }
        cells = sum(counted.values())
        if cells > self.max_cells:
            widest = max(counted, key=lambda ref: counted[ref])
            raise OverBudgetError(
                f"The answer has {cells:,} cells, {counted[widest]:,} of them in {widest!r}, for every value in a list counts; this "
                f"server gives {self.max_cells:,} in a call. The answer is withheld.",
                fix=f"Ask for fewer rows in a call, or without {widest!r}; whoever runs the server can raise --max-cells.",
            )
        return cells


def cells_of(value: Any) -> int:
    """Return how many cells a value is: itself, or what is in it, an empty list or struct too being one.

    >>> cells_of(3), cells_of([1, 2, 3]), cells_of({"at": [1, 2], "name": "x"}), cells_of([])
    (1, 3, 3, 1)
    """
    if isinstance(value, Mapping):
        return max(1, sum(map(cells_of, value.values())))
    return max(1, sum(map(cells_of, value))) if isinstance(value, list | tuple) else 1


def _width(dtype: DType) -> int:
    """Return the cells that a value of a dtype has, as far as that tells: at least one for a list of any length."""
    if dtype.kind == "struct":
        return max(1, sum(_width(inner) for _, inner in dtype.fields))
    return dtype.numbers[0] if dtype.kind == "vector" else 1
