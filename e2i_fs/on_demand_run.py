"""Running an on-demand view over retrieved columns: the one way, offline and online alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from e2i_fs.definitions import Field
from e2i_fs.errors import DefinitionError, E2IError, InvalidEntityFrameError
from e2i_fs.frames import arrow_table
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.pit.times import column_to_us
from e2i_fs.results import STATUSES, FeatureStatus
from e2i_fs.values import LossyCastError, cast_column, python_value, storage_values

__all__ = ["request_columns", "run_on_demand"]

Made = tuple[pa.ChunkedArray, list[int], list[int | None]]
_CODE = {status: code for code, status in enumerate(STATUSES)}


def request_columns(
    view: OnDemandFeatureView, columns: Mapping[str, Any], *, reject_naive: bool = False
) -> dict[str, list[Any]]:
    """Return the request's columns in the dtypes that the view declares, as Python values.

    Times become UTC; with ``reject_naive`` those without a time zone are an `InvalidTimestampError` (T-1). Raises
    `InvalidEntityFrameError` for a value that does not fit its dtype.
    """
    made = {}
    for name, field in view.request_columns.items():
        given = columns[name]
        try:
            column = (
                given if isinstance(given, pa.ChunkedArray) else arrow_table({name: list(given)}, name).column(name)
            )
            if pa.types.is_timestamp(column.type):
                column_to_us(column, name, reject_naive=reject_naive)
            values = storage_values(cast_column(column, field.dtype), field.dtype)
        except (LossyCastError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InvalidEntityFrameError(
                f"Request column {name!r} of on-demand view {view.name!r}: {error}; it is declared {field.dtype!r}."
            ) from error
        made[name] = [python_value(value, field.dtype) for value in values]
    return made


def run_on_demand(
    view: OnDemandFeatureView,
    request: Mapping[str, Sequence[Any]],
    inputs: Mapping[str, Sequence[Any]],
    codes: Mapping[str, Sequence[int]],
    events: Mapping[str, Sequence[int | None]],
    rows: int,
) -> dict[str, Made]:
    """Return, for each field, its column in its dtype, status codes and event times (µs), each ``rows`` long.

    A value is PRESENT; a missing one has the status of the first input that was not found or too old, else
    NULL_VALUE. Its event time is the oldest of its inputs'. Whatever the function raises is a `DefinitionError`
    that names the view, with the cause.
    """
    columns = {name: list(values) for name, values in request.items()}
    columns |= {ref.partition(":")[2]: list(values) for ref, values in inputs.items()}
    try:
        result = view.load()(columns)
    except E2IError:
        raise
    except (Exception, SystemExit) as error:  # whatever it does, the process that asked goes on
        hint = " A value may be missing: it must take None." if "NoneType" in str(error) else ""
        if isinstance(error, KeyError) and error.args and error.args[0] not in columns:
            hint = f" It is given {', '.join(map(repr, columns))}; what else it needs must be among its sources."
        raise DefinitionError(
            f"On-demand view {view.name!r}: its function raised {type(error).__name__}: {error}.{hint}"
        ) from error
    made: dict[str, Made] = {}
    for f in view.schema:
        values: Any = result.get(f.name) if isinstance(result, Mapping) else None
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            values = None
        elif not isinstance(values, pa.Array | pa.ChunkedArray):
            values = list(values)
        if values is None or len(values) != rows:
            got = f"{len(values)} values" if values is not None else f"{type(result).__name__}, which has nothing"
            raise DefinitionError(
                f"On-demand view {view.name!r}: its function returned {got} for {f.name!r}; {rows} rows were given."
            )
        column = _typed(view, f, values)
        missing = column.is_null().to_pylist()
        statuses = [_status(gone, [codes[r][i] for r in view.inputs]) for i, gone in enumerate(missing)]
        times = [min((e for r in view.inputs if (e := events[r][i]) is not None), default=None) for i in range(rows)]
        made[f.name] = (column, statuses, times)
    return made


def _typed(view: OnDemandFeatureView, field: Field, values: Any) -> pa.ChunkedArray:
    """Return what the function returned in the dtype declared, or raise: nothing is cut or rounded silently (P-8)."""
    try:
        column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values)])
        return cast_column(column, field.dtype)
    except (LossyCastError, pa.ArrowException, TypeError, OverflowError) as error:
        rows = f", row {error.rows[0]}" if isinstance(error, LossyCastError) and error.rows else ""
        raise DefinitionError(
            f"On-demand view {view.name!r}: what its function returned for {field.name!r}{rows} {error}; "
            f"it is declared {field.dtype!r}."
        ) from error


def _status(missing: bool, inputs: Sequence[int]) -> int:
    if not missing:
        return _CODE[FeatureStatus.PRESENT]
    lost = (_CODE[FeatureStatus.NOT_FOUND], _CODE[FeatureStatus.OUTSIDE_MAX_AGE])
    return next((code for code in inputs if code in lost), _CODE[FeatureStatus.NULL_VALUE])
