"""Results against the oracle: values exact in type and bits, statuses, row order, input columns unchanged."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from e2i_fs.dtypes import DType, Float32
from e2i_fs.testing.oracle import Answer
from e2i_fs.testing.worlds import Request, ViewWorld, World
from e2i_fs.values import arrow_type

__all__ = ["Difference", "historical_difference", "online_difference", "same_value"]


class Difference(NamedTuple):
    """The first thing in which a result is not what the contract says."""

    view: str
    feature: str
    row: int | None
    expected: Any
    got: Any
    about: str = ""

    def __str__(self) -> str:
        where = f"{self.view}:{self.feature}" + ("" if self.row is None else f", row {self.row}")
        return f"{where}: expected {self.expected!r}, got {self.got!r}. {self.about}"


def same_value(a: Any, b: Any, dtype: DType) -> bool:
    """True when two Python values of ``dtype`` are the same to the last bit; any NaN is the same as another.

    >>> from e2i_fs.dtypes import Float64
    >>> same_value(0.0, -0.0, Float64), same_value(float("nan"), None, Float64)
    (False, False)
    """
    if a is None or b is None:
        return a is b
    if dtype.kind in ("float32", "float64"):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("<d", a) == struct.pack("<d", b)
    if dtype.kind == "struct":
        return all(same_value(a.get(name), b.get(name), inner) for name, inner in dtype.fields) and len(a) == len(b)
    if dtype.kind in ("array", "vector"):
        inner = dtype.element or Float32
        return len(a) == len(b) and all(same_value(x, y, inner) for x, y in zip(a, b, strict=True))
    return isinstance(a, type(b)) and bool(a == b)


def historical_difference(world: World, request: Request, result: Any, given: Any) -> Difference | None:
    """Return the first difference between ``result`` and the oracle, or None.

    ``given`` is the entity frame as it was asked with; ``result`` what ``get_historical_features`` returned.
    """
    table: pa.Table = result.to_arrow()
    before = _as_arrow(given)
    labels = [_label(world, number, name) for number, name in request.asked]
    if table.column_names != [*before.column_names, *labels]:
        return Difference("", "", None, [*before.column_names, *labels], table.column_names, "The output columns.")
    if table.num_rows != before.num_rows:
        return Difference("", "", None, before.num_rows, table.num_rows, "The number of rows (P-6).")
    changed = _input_difference(given, result, before)
    if changed is not None:
        return changed
    expected: Mapping[int, list[Answer]] = {
        n: world.expected(world.views[n], request) for n in {n for n, _ in request.asked}
    }
    for (number, name), label in zip(request.asked, labels, strict=True):
        view = world.views[number]
        place, dtype = _field(view, name)
        column = table.column(label)
        if column.type != arrow_type(dtype):
            return Difference(view.name, name, None, arrow_type(dtype), column.type, "The dtype (P-8).")
        statuses = result.statuses[f"{view.name}:{name}"]
        found = _first(view, name, dtype, place, expected[number], column.to_pylist(), statuses)
        if found is not None:
            row = found.row or 0
            return found._replace(about=f"{found.about} Asked at {world.times[row]} for {world.entity_keys[row]}.")
    return None


def online_difference(
    view: ViewWorld, expected: Sequence[Answer], answer: Any, label: str = "{1}"
) -> Difference | None:
    """Return the first difference between an online answer of all of a view's fields and the oracle, or None."""
    values = answer.to_dict()
    for place, (name, dtype) in enumerate(view.fields):
        ref = f"{view.name}:{name}"
        got = values[label.format(view.name, name)]
        found = _first(view, name, dtype, place, expected, got, answer.statuses[ref])
        if found is not None:
            return found
        for row, (one, event) in enumerate(zip(expected, answer.event_timestamps[ref], strict=True)):
            if one.event != event:
                return Difference(view.name, name, row, one.event, event, "The event time (O-3).")
    return None


def _first(
    view: ViewWorld, name: str, dtype: DType, place: int, expected: Sequence[Answer], values: Sequence[Any], statuses: Sequence[Any]
) -> Difference | None:  # fmt: skip
    if not len(expected) == len(values) == len(statuses):
        return Difference(view.name, name, None, len(expected), (len(values), len(statuses)), "The number of answers.")
    for row, (one, value, status) in enumerate(zip(expected, values, statuses, strict=True)):
        wanted = (one.values[place], one.statuses[place])
        if not same_value(value, wanted[0], dtype) or status.name != wanted[1]:
            return Difference(view.name, name, row, wanted, (value, status.name), f"The source row is of {one.event}.")
    return None


def _field(view: ViewWorld, name: str) -> tuple[int, DType]:
    return next((n, dtype) for n, (field, dtype) in enumerate(view.fields) if field == name)


def _label(world: World, number: int, name: str) -> str:
    return f"{world.views[number].name}__{name}" if world.full_feature_names else name


def _as_arrow(frame: Any) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    if type(frame).__module__.startswith("pandas"):
        return pa.table({name: pa.array([None] * len(frame)) for name in frame.columns})
    return pa.table(frame)


def _input_difference(given: Any, result: Any, before: pa.Table) -> Difference | None:
    """Compare the input columns as the caller's own kind of frame (P-6)."""
    native = result.to_native()
    if type(native) is not type(given):
        return Difference("", "", None, type(given), type(native), "The kind of frame.")
    if type(given).__module__.startswith("pandas"):
        import pandas as pd

        own = native[list(given.columns)]
        try:
            pd.testing.assert_frame_equal(own, given, check_exact=True, check_freq=False)
        except AssertionError as error:
            return Difference("", "", None, "the input unchanged", str(error), "Input columns (P-6).")
        return None
    own = native.select(before.column_names)
    same = own.equals(given) and own.schema == given.select(before.column_names).schema
    return None if same else Difference("", "", None, given, own, "Input columns (P-6).")
