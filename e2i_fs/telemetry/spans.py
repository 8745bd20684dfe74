"""The seam of tracing: what opens spans, whether they are recorded, and what opens none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["UNTRACED", "Span", "Spans", "Untraced", "Value"]

Value = str | bool | int | float | Sequence[str]


class Span(Protocol):
    """One span, while it is open."""

    @property
    def recording(self) -> bool:
        """Whether anybody will see it; attributes are not made for a span that nobody sees."""
        ...

    def add(self, attributes: Mapping[str, Value]) -> None:
        """Say more of it; by the names of `e2i_fs.telemetry.names`."""
        ...

    def failed(self, error: BaseException) -> None:
        """Say that it ended with an error: its class, and the places in the code; not its message, which may hold values."""
        ...


class Spans(Protocol):
    """Opens spans, each under the one that is open where it is called."""

    def span(self, name: str) -> AbstractContextManager[Span]:
        """Open a span until the block ends."""
        ...


class Untraced:
    """Opens no spans, and is the span that nobody sees."""

    recording = False

    def add(self, attributes: Mapping[str, Value]) -> None:
        """Say it to nobody."""

    def failed(self, error: BaseException) -> None:
        """Say it to nobody."""

    def span(self, name: str) -> AbstractContextManager[Untraced]:
        """Open nothing."""
        return _NOTHING


UNTRACED = Untraced()
_NOTHING = nullcontext(UNTRACED)
