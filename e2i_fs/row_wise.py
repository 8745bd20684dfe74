"""The guard of on-demand views: what is computed for a row depends on that row alone (P-10).

A function of whole columns can look across rows, and then a later row changes an earlier answer. So what it made of all
rows together is held against what it makes of some of them: of single rows, and of all rows in other company and order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from e2i_fs.arrow import pa, pc
from e2i_fs.dtypes import DType, Float32
from e2i_fs.errors import DefinitionError
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.on_demand_call import computed

__all__ = ["ALONE_OFFLINE", "ALONE_ONLINE", "check_row_wise"]

ALONE_OFFLINE = 32
"""How many rows of a historical retrieval are computed again alone."""
ALONE_ONLINE = 4
"""How many rows of an online request are computed again alone."""

Columns = Mapping[str, Sequence[Any]]

# By how much a float may differ, of itself and of the row's greatest number: a library adds up one row in another
# order than many, and rounds otherwise.
_ROUNDING = {"float64": (1e-9, 1e-13), "float32": (1e-5, 1e-6)}


def check_row_wise(
    view: OnDemandFeatureView, columns: Columns, made: Mapping[str, pa.ChunkedArray], rows: int, *, alone: int
) -> None:
    """Raise `DefinitionError` when ``made``, computed of all ``rows`` together, is not what the rows give by themselves.

    Up to ``alone`` rows: each is computed again alone, and all in reverse. More: all again as two halves in reverse, and
    ``alone`` of them alone: the first, the last, and of each input a missing, a present, a NaN and a differing value,
    then others by a fixed spread. Floats may differ by rounding. A row that is asked for alone is what it is.

    >>> from e2i_fs import Field, Float64, RequestSource
    >>> asked = RequestSource("asked", schema=[Field("amount", Float64)])
    >>> code = "def share(c): return {'share': [a / sum(c['amount']) for a in c['amount']]}"
    >>> view = OnDemandFeatureView(
    ...     "share", inputs=(), request=(asked,), schema=(Field("share", Float64),), code=code, function="share"
    ... )
    >>> columns = {"amount": [1.0, 3.0]}
    >>> try:
    ...     check_row_wise(view, columns, computed(view, columns, range(2)), 2, alone=4)
    ... except DefinitionError as error:
    ...     print(str(error).partition(". Each")[0])
    On-demand view 'share': its function makes 'share' of row 1 0.75 among all 2 rows, and 1.0 when it is asked alone (row 1)
    """
    if rows < 2:
        return
    chosen = _chosen(columns, rows, alone)
    company = [] if view.singleton else _company(rows, alone)
    for some in (*company, *([row] for row in reversed(chosen))):
        how = (
            f"when it is asked alone (row {some[0]})" if len(some) == 1 else "with the rows in another order or company"
        )
        try:
            again = computed(view, columns, some)
        except DefinitionError as error:
            raise DefinitionError(
                f"{error} That was {how}; all {rows} rows together it answered. {_MUST} {_OTHERWISE}"
            ) from error
        picked = pa.array(some)
        for name, column in again.items():
            whole = made[name].take(picked)
            for i in _suspects(whole, column):
                row = some[i]
                if not _alike(whole[i], column[i], view.features[name].dtype, [c[row] for c in columns.values()]):
                    raise DefinitionError(
                        f"On-demand view {view.name!r}: its function makes {name!r} of row {row} {_told(whole[i])} among all "
                        f"{rows} rows, and {_told(column[i])} {how}. {_MUST} {_why(view, columns, made, rows)}"
                    )


_MUST = "Each row must be computed from that row alone (P-10), for the others may be later ones, and online there are others."
_OTHERWISE = (
    "It looks across rows (their mean, their rank, the row before), or lets the others decide a column's dtype, as pandas "
    "does when a value is missing. Compute such a value where features are made, give columns their dtype, or take one row "
    "at a time (singleton=True)."
)
_CHANCE = (
    "Asked the same once more it answers otherwise: it uses chance, the clock, or what it kept from an earlier call."
)


def _why(view: OnDemandFeatureView, columns: Columns, made: Mapping[str, pa.ChunkedArray], rows: int) -> str:
    again = computed(view, columns, range(rows))
    same = all(
        _alike(made[name][i], column[i], view.features[name].dtype, [c[i] for c in columns.values()])
        for name, column in again.items()
        for i in _suspects(made[name], column)
    )
    return _OTHERWISE if same else _CHANCE


# ---- which rows ----------------------------------------------------------------------------------------------


def _company(rows: int, alone: int) -> list[Sequence[int]]:
    """Return all rows, in reverse, in one part when each is asked alone too, else in two that no pattern fits."""
    if rows <= alone:
        return [range(rows - 1, -1, -1)]
    parts: tuple[list[int], list[int]] = ([], [])
    for row in range(rows - 1, -1, -1):
        parts[row * 2_654_435_761 >> 13 & 1].append(row)
    return [part for part in parts if part]


def _chosen(columns: Columns, rows: int, limit: int) -> list[int]:
    """Return the rows to be asked alone: those on which a function is most likely to look elsewhere."""
    if rows <= limit:
        return list(range(rows))
    chosen = dict.fromkeys([0, rows - 1])
    for row in _edges(columns):
        if len(chosen) >= limit - limit // 4:
            break
        chosen[row] = None
    step = 0
    while len(chosen) < limit:
        chosen[step * 2_654_435_761 % rows if step < 4 * limit else step - 4 * limit] = None
        step += 1
    return list(chosen)


def _edges(columns: Columns) -> Iterator[int]:
    tests = (
        lambda value, _: value is None,
        lambda value, first: value is not None and value != first,
        lambda value, _: value is not None,
        lambda value, _: isinstance(value, float) and math.isnan(value),
    )
    for test in tests:
        for values in columns.values():
            first = values[0]
            found = next((row for row, value in enumerate(values) if test(value, first)), None)
            if found is not None:
                yield found


# ---- what is the same ----------------------------------------------------------------------------------------


def _suspects(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Sequence[int]:
    """Return the places where two columns of one type may differ, found without looking at each value in Python."""
    if one.equals(other):
        return ()
    if not pa.types.is_floating(one.type):
        return range(len(one))
    both_missing = pc.and_(one.is_null(), other.is_null())
    both_nan = pc.fill_null(pc.and_(pc.is_nan(one), pc.is_nan(other)), False)
    same = pc.or_(pc.or_(both_missing, both_nan), pc.fill_null(pc.equal(one, other), False))
    return list(pc.indices_nonzero(pc.invert(same)).to_pylist())


def _alike(one: pa.Scalar, other: pa.Scalar, dtype: DType, inputs: list[Any]) -> bool:
    """Return whether two answers of ``dtype`` to a row of ``inputs`` are the same up to rounding, NaN being NaN."""
    return bool(one == other) or (_has_floats(dtype) and _close(one.as_py(), other.as_py(), dtype, _greatest(inputs)))


def _has_floats(dtype: DType) -> bool:
    inner = [t for _, t in dtype.fields] if dtype.element is None else [dtype.element]
    return dtype.kind in _ROUNDING or dtype.kind == "vector" or any(map(_has_floats, inner))


def _close(one: Any, other: Any, dtype: DType, scale: float) -> bool:
    if one is None or other is None:
        return one is other
    if dtype.kind in ("array", "vector"):
        scale = max(scale, _greatest(one), _greatest(other))
        element = dtype.element or Float32
        return len(one) == len(other) and all(_close(a, b, element, scale) for a, b in zip(one, other, strict=True))
    if dtype.kind == "struct":
        return all(_close(one[name], other[name], inner, scale) for name, inner in dtype.fields)
    if dtype.kind not in _ROUNDING:
        return bool(one == other)
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    of_itself, of_the_row = _ROUNDING[dtype.kind]
    return math.isclose(one, other, rel_tol=of_itself, abs_tol=of_the_row * scale)


def _greatest(value: Any) -> float:
    """Return the greatest magnitude among the finite numbers in a value, 0 if there are none."""
    if isinstance(value, list):
        return max(map(_greatest, value), default=0.0)
    if isinstance(value, dict):
        return _greatest(list(value.values()))
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        size = abs(float(value))
        return size if math.isfinite(size) else 0.0
    return 0.0


def _told(value: pa.Scalar) -> str:
    if pa.types.is_timestamp(value.type):  # it may be later than Python can say
        value = value.cast(pa.timestamp("us")).cast(pa.string())
    return repr(value.as_py())
