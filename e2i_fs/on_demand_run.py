"""Running an on-demand view over retrieved columns: the one way, offline and online alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from e2i_fs.arrow import pa
from e2i_fs.errors import InvalidEntityFrameError
from e2i_fs.frames import arrow_table
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.on_demand_call import computed
from e2i_fs.pit.times import column_to_us
from e2i_fs.results import STATUSES, FeatureStatus
from e2i_fs.row_wise import check_row_wise
from e2i_fs.values import LossyCastError, cast_column, python_value, storage_values

__all__ = ["request_columns", "run_on_demand"]

Made: TypeAlias = "tuple[pa.ChunkedArray, list[int], list[int | None]]"
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
    *,
    alone: int,
) -> dict[str, Made]:
    """Return, for each field, its column in its dtype, status codes and event times (µs), each ``rows`` long.

    A value is PRESENT; a missing one has the status of the first input that was not found or too old, else
    NULL_VALUE. Its event time is the oldest of its inputs'. Whatever the function raises is a `DefinitionError`
    that names the view, with the cause, and so is an answer that depends on other rows (P-10): of every row when there
    are no more than ``alone`` of them, else as `check_row_wise` says.
    """
    columns = {**request, **{ref.partition(":")[2]: values for ref, values in inputs.items()}}
    results = computed(view, columns, range(rows))
    check_row_wise(view, columns, results, rows, alone=alone)
    times = [min((e for r in view.inputs if (e := events[r][i]) is not None), default=None) for i in range(rows)]
    made: dict[str, Made] = {}
    for name, column in results.items():
        missing = column.is_null().to_pylist()
        statuses = [_status(gone, [codes[r][i] for r in view.inputs]) for i, gone in enumerate(missing)]
        made[name] = (column, statuses, times)
    return made


def _status(missing: bool, inputs: Sequence[int]) -> int:
    if not missing:
        return _CODE[FeatureStatus.PRESENT]
    lost = (_CODE[FeatureStatus.NOT_FOUND], _CODE[FeatureStatus.OUTSIDE_MAX_AGE])
    return next((code for code in inputs if code in lost), _CODE[FeatureStatus.NULL_VALUE])
