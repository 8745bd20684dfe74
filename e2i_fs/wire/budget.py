"""How much one call may ask for, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from e2i_fs.errors import ConfigError
from e2i_fs.request import Output, Request
from e2i_fs.wire.refusals import OverBudgetError

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one call gets: entity rows, cells (rows times features, a vector's numbers one by one), seconds.

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
        width = sum(map(_width, request.outputs))
        if rows * width > self.max_cells:
            fitting = self.max_cells // width
            advice = f"at most {fitting} rows of these features" if fitting else "fewer features"
            raise OverBudgetError(
                f"{rows:,} rows of {width:,} values are {rows * width:,} cells; this server gives {self.max_cells:,} in a call. "
                "Nothing was read.",
                fix=f"Ask for {advice} in a call; whoever runs the server can raise --max-cells.",
            )


def _width(output: Output) -> int:
    dtype = output.field.dtype
    return dtype.numbers[0] if dtype.kind == "vector" else 1
