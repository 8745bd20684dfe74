"""The time of each row, from whatever scikit-learn passes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples  # what scikit-learn itself counts rows by

from e2i_fs.errors import InvalidTimestampError, RequestError, did_you_mean
from e2i_fs.frames import Frame
from e2i_fs.pit.times import column_to_us

__all__ = ["times_of"]

_FINER = ("ns", "ps", "fs", "as")


def times_of(X: Any, groups: Any, times: Any) -> NDArray[np.int64]:
    """Return the times of the rows of X in microseconds: those given as ``groups``, or as ``times``, or of that column.

    Raises `RequestError` when none or both are given, `InvalidTimestampError` for what is no time, missing (T-3) or finer
    than a microsecond (T-2).
    """
    if groups is not None and times is not None:
        raise RequestError("Times are given both as groups= and as times=; leave one of them out.")
    if groups is None and times is None:
        raise RequestError(
            "When is each row? Pass the times as groups=, or make the splitter with times= (a column of X, or an array)."
        )
    column, name = _column(X, groups if times is None else times)
    rows = _num_samples(X)
    if len(column) != rows:
        raise RequestError(f"{name} has {len(column)} times and X has {rows} rows; give one for each row.")
    found = column_to_us(column, name, reject_naive=False)
    if found.null_count:
        row = pc.index(found.is_null(), pa.scalar(True)).as_py()
        raise InvalidTimestampError(
            f"{name}, row {row}: the time is missing. A row without one can be in no fold (T-3)."
        )
    return np.array(found.to_pylist(), dtype=np.int64)


def _column(X: Any, given: Any) -> tuple[pa.ChunkedArray, str]:
    if isinstance(given, str):
        table = Frame(X, "X").table
        if given not in table.column_names:
            raise RequestError(f"X has no column {given!r} of times.{did_you_mean(given, table.column_names)}")
        return table.column(given), given
    if isinstance(given, pa.ChunkedArray | pa.Array):
        return pa.chunked_array(given.chunks if isinstance(given, pa.ChunkedArray) else [given]), "times"
    if isinstance(given, np.ndarray) and given.dtype.kind in "Mif":
        # Numbers are refused below, by their type: nobody can say what they count.
        return pa.chunked_array([pa.array(given)]), "times"
    values: Sequence[Any] = list(given)
    return Frame({"times": [_plain(v, row) for row, v in enumerate(values)]}, "times").table.column("times"), "times"


def _plain(value: Any, row: int) -> Any:
    """Return a numpy time as Python's own, so that columns of mixed kinds are read alike."""
    if not isinstance(value, np.datetime64):
        return value
    if np.isnat(value):
        return None
    whole = value.astype("datetime64[us]")
    found = whole.item()
    if whole.astype(value.dtype) == value and isinstance(found, datetime):
        return found
    if np.datetime_data(value.dtype)[0] in _FINER:
        raise InvalidTimestampError(
            f"times, row {row}: {value} is finer than a microsecond (T-2). Rounding down could let the future in, so round "
            "it yourself, upwards."
        )
    raise InvalidTimestampError(f"times, row {row}: {value} is beyond what microseconds or a datetime can count.")
