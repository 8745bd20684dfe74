"""A caller's frame as an Arrow table, or why it is none: each column of mixed types or mixed zones by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from e2i_fs.errors import InvalidBatchError, InvalidEntityFrameError
from e2i_fs.frames import Frame
from e2i_fs.quality.mixed import loose_columns, mixed_zones

__all__ = ["REFUSED", "read_table"]

REFUSED = "was refused, nothing was registered and nothing written"


def read_table(frame: Any, what: str) -> pa.Table:
    """Return a frame as an Arrow table. Raises `InvalidBatchError` naming each column of mixed types, or mixed zones."""
    if isinstance(frame, list | tuple) and not frame:
        return pa.table({})
    problems = list(mixed_zones(frame))
    try:
        table = Frame(frame, what).table
    except InvalidEntityFrameError as error:
        found = list(_mixed_types(frame)) or [str(error)]
        raise InvalidBatchError(f"{_upper(what)} {REFUSED}:", [*found, *problems]) from error
    if problems:
        raise InvalidBatchError(f"{_upper(what)} {REFUSED}:", problems)
    return table


def _mixed_types(frame: Any) -> Iterator[str]:
    for name, values in loose_columns(frame).items():
        try:
            Frame({name: list(values)})
        except InvalidEntityFrameError:
            kinds = sorted({type(v).__name__ for v in values if v is not None})
            yield f"column {name!r} mixes {' and '.join(kinds)}; give every column one type"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
