"""A caller's frame as an Arrow table, or why it is none: each column of mixed types or mixed zones by its name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from e2i_fs.errors import InvalidBatchError, InvalidEntityFrameError
from e2i_fs.frames import Frame

__all__ = ["REFUSED", "read_table"]

REFUSED = "was refused, nothing was registered and nothing written"


def read_table(frame: Any, what: str) -> pa.Table:
    """Return a frame as an Arrow table. Raises `InvalidBatchError` naming each column of mixed types, or mixed zones."""
    if isinstance(frame, list | tuple) and not frame:
        return pa.table({})
    problems = list(_mixed_zones(frame))
    try:
        table = Frame(frame, what).table
    except InvalidEntityFrameError as error:
        found = list(_mixed_types(frame)) or [str(error)]
        raise InvalidBatchError(f"{_upper(what)} {REFUSED}:", [*found, *problems]) from error
    if problems:
        raise InvalidBatchError(f"{_upper(what)} {REFUSED}:", problems)
    return table


def _columns(frame: Any) -> Mapping[str, Sequence[Any]]:
    """Return the values of a frame whose columns may hold anything; of other kinds nothing is mixed."""
    if isinstance(frame, Mapping):
        return {str(n): v for n, v in frame.items() if isinstance(v, list | tuple)}
    if isinstance(frame, list | tuple) and frame and all(isinstance(row, Mapping) for row in frame):
        names = dict.fromkeys(name for row in frame for name in row)
        return {str(name): [row.get(name) for row in frame] for name in names}
    if type(frame).__module__.partition(".")[0] == "pandas" and type(frame).__name__ == "DataFrame":
        return {str(n): frame[n].tolist() for n in frame.columns if frame[n].dtype == object}
    return {}


def _mixed_types(frame: Any) -> Iterator[str]:
    for name, values in _columns(frame).items():
        try:
            Frame({name: list(values)})
        except InvalidEntityFrameError:
            kinds = sorted({type(v).__name__ for v in values if v is not None})
            yield f"column {name!r} mixes {' and '.join(kinds)}; give every column one type"


def _mixed_zones(frame: Any) -> Iterator[str]:
    for name, values in _columns(frame).items():
        times = [v for v in values if isinstance(v, dt.datetime) and v == v]
        naive = sum(v.tzinfo is None for v in times)
        if 0 < naive < len(times):
            yield (
                f"column {name!r} mixes {naive} times without a zone and {len(times) - naive} with one: what the first mean "
                "cannot be told. Give every time a zone"
            )


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
