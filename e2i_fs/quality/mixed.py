"""Columns of a caller's frame that hold times with a zone beside times without one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["loose_columns", "mixed_zones"]


def loose_columns(frame: Any) -> Mapping[str, Sequence[Any]]:
    """Return the values of a frame whose columns may hold anything; of other kinds nothing is mixed."""
    if isinstance(frame, Mapping):
        return {str(n): v for n, v in frame.items() if isinstance(v, list | tuple)}
    if isinstance(frame, list | tuple) and frame and all(isinstance(row, Mapping) for row in frame):
        names = dict.fromkeys(name for row in frame for name in row)
        return {str(name): [row.get(name) for row in frame] for name in names}
    if type(frame).__module__.partition(".")[0] == "pandas" and type(frame).__name__ == "DataFrame":
        return {str(n): frame[n].tolist() for n in frame.columns if frame[n].dtype == object}
    return {}


def mixed_zones(frame: Any) -> Iterator[str]:
    """Yield what is wrong with each column in which what the times without a zone mean cannot be told (T-1)."""
    for name, values in loose_columns(frame).items():
        first = next((v for v in values if isinstance(v, dt.datetime | str | bytes)), None)
        if not isinstance(first, dt.datetime):
            continue  # a long column of text is not gone through
        times = [v for v in values if isinstance(v, dt.datetime) and v == v]
        naive = sum(v.tzinfo is None for v in times)
        if 0 < naive < len(times):
            yield (
                f"column {name!r} mixes {naive} times without a zone and {len(times) - naive} with one: what the first mean "
                "cannot be told. Give every time a zone"
            )
