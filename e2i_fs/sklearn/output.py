"""Columns of features in the container that scikit-learn was told to give: numpy, pandas or polars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["as_numpy", "in_container"]


def in_container(kind: str, columns: Mapping[str, pa.ChunkedArray], index: Any) -> Any:
    """Return the columns as ``kind``: ``"pandas"`` with this index if any, ``"polars"``, else a numpy array."""
    if kind == "pandas":
        from e2i_fs.frames import to_pandas

        made = to_pandas(pa.table(dict(columns)))
        return made if index is None else made.set_axis(index, axis=0)
    if kind == "polars":
        import polars as pl

        return pl.from_arrow(pa.table(dict(columns)))
    return as_numpy(columns)


def as_numpy(columns: Mapping[str, pa.ChunkedArray]) -> NDArray[Any]:
    """Return the columns as one array, of floats where these hold every value exactly, else of objects.

    What is missing is NaN among floats, None among objects.

    >>> as_numpy({"a": pa.chunked_array([[1, None]]), "b": pa.chunked_array([[True, False]])})
    array([[ 1.,  1.],
           [nan,  0.]])
    """
    try:
        made = [_floats(column) for column in columns.values()]
    except pa.ArrowException:  # text, or whole numbers beyond 2**53: no floats hold these
        values = [column.to_pylist() for column in columns.values()]
        found = np.empty((len(values[0]), len(values)), dtype=object)
        for i, column in enumerate(values):
            found[:, i] = _objects(column)
        return found
    return np.column_stack(made)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    given = column.type
    if pa.types.is_boolean(given):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(given) or pa.types.is_floating(given)):
        raise pa.ArrowInvalid(f"{given} is not a number")
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _objects(values: list[Any]) -> NDArray[Any]:
    """Return values as an array of objects: lists stay values, they become no dimension."""
    found = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        found[i] = value
    return found
