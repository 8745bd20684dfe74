"""Calling an on-demand view's function: columns in, columns in the dtypes declared out, or an error that names the view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from e2i_fs.arrow import pa
from e2i_fs.definitions import Field
from e2i_fs.errors import DefinitionError, E2IError
from e2i_fs.on_demand import OnDemandFeatureView
from e2i_fs.values import LossyCastError, cast_column

__all__ = ["computed"]

Columns = Mapping[str, Sequence[Any]]


def computed(view: OnDemandFeatureView, columns: Columns, rows: Sequence[int]) -> dict[str, pa.ChunkedArray]:
    """Return, for each field, what the function makes of these ``rows`` of ``columns``, in this order.

    The function is loaded anew and owns what it is given, so that nothing it keeps or changes reaches another call.
    Whatever it raises, and whatever it returns that does not fit, is a `DefinitionError` with the cause.
    """
    given = {name: [_own(values[row]) for row in rows] for name, values in columns.items()}
    count = len(rows)
    try:
        function = view.load()
        result = _by_row(view, function, given, count) if view.singleton else function(given)
    except E2IError:
        raise
    except (Exception, SystemExit) as error:  # whatever it does, the process that asked goes on
        hint = " A value may be missing: it must take None." if "NoneType" in str(error) else ""
        lacking = error.args[0] if isinstance(error, KeyError) and error.args else None
        if isinstance(lacking, str) and lacking not in columns:
            hint = f" It is given {', '.join(map(repr, columns))}; what else it needs must be among its sources."
        raise DefinitionError(
            f"On-demand view {view.name!r}: its function raised {type(error).__name__}: {error}.{hint}"
        ) from error
    return {f.name: _typed(view, f, _returned(view, f, result, count)) for f in view.schema}


def _own(value: Any) -> Any:
    """Return a value that its holder may change: lists and mappings are copied, all else cannot change."""
    if isinstance(value, list):
        return [_own(inner) for inner in value]
    return {name: _own(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def _by_row(
    view: OnDemandFeatureView, function: Any, given: Mapping[str, list[Any]], count: int
) -> dict[str, list[Any]]:
    """Return the columns of what the function makes of each row alone."""
    made: dict[str, list[Any]] = {f.name: [] for f in view.schema}
    for row in range(count):
        result = function({name: values[row] for name, values in given.items()})
        for name, column in made.items():
            if not isinstance(result, Mapping) or name not in result:
                raise DefinitionError(
                    f"On-demand view {view.name!r}: its function returned {_kind(result)} for row {row}, which has nothing "
                    f"for {name!r}; with singleton=True it returns a mapping of name to value."
                )
            column.append(result[name])
    return made


def _kind(result: Any) -> str:
    return (
        f"a mapping of {', '.join(map(repr, result)) or 'nothing'}"
        if isinstance(result, Mapping)
        else type(result).__name__
    )


def _returned(view: OnDemandFeatureView, field: Field, result: Any, rows: int) -> Any:
    values: Any = result.get(field.name) if isinstance(result, Mapping) else None
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        values = None
    elif not isinstance(values, pa.Array | pa.ChunkedArray):
        values = list(values)
    if values is None or len(values) != rows:
        got = f"{len(values)} values" if values is not None else f"{type(result).__name__}, which has nothing"
        raise DefinitionError(
            f"On-demand view {view.name!r}: its function returned {got} for {field.name!r}; {rows} rows were given."
        )
    return values


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
