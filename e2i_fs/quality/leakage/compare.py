"""When a cell of a frame equals a value of the store: by dtype, whatever tools have made of it on the way.

NULL and NaN are one: pandas cannot tell them apart. A whole number may be a float (pandas makes one of an integer
column with a gap), and is compared as that float; a decimal is compared in the feature's own precision, and one that
does not fit into it is another number; a Float32 is compared in its own precision, and so is a float64
feature in a float32 column; times are instants, whatever the zone; a truth value may be 0 and 1, or the words; a text that is a number may have been read as one, which loses
what told "007" from "7" (`type_lost`).
"""

from __future__ import annotations

import pyarrow as pa

from e2i_fs.dtypes import DType
from e2i_fs.pit.fit import duckdb_type
from e2i_fs.values import decoded

__all__ = ["comparable", "prepared", "type_lost"]


def prepared(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a frame's column in a type that DuckDB reads as it is: no categories, no halves, times as instants in UTC.

    Naive times are read as UTC (T-1).
    """
    column = decoded(column)
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.timestamp("us"))
    if pa.types.is_decimal256(column.type) or (pa.types.is_decimal(column.type) and column.type.scale < 0):
        return column.cast(pa.string())  # which DuckDB has no number for
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.int32()) if pa.types.is_null(column.type) else column


def comparable(given: pa.DataType, dtype: DType, cell: str, value: str) -> tuple[str, str, str]:
    """Return SQL for a cell and for a value of the store that are equal when they mean the same, and for "is no such thing".

    ``given`` is the type of the `prepared` column, ``cell`` and ``value`` SQL for the two, the latter of ``dtype``.
    """
    kind = dtype.kind
    if kind in ("int32", "int64", "bool", "float32", "float64", "decimal"):
        return _number(given, dtype, cell, value)
    if kind in ("timestamp", "date"):
        return _time(given, cell, value)
    if kind == "string" and _counted(given):
        return _code(given, cell, value)
    if kind in ("string", "json"):
        if pa.types.is_floating(given):  # what a tool makes of a text column in which all is missing
            cell = _no_nan(cell)
        return f"CAST({cell} AS VARCHAR)", f"CAST({value} AS VARCHAR)", "false"
    if kind == "bytes" and (pa.types.is_binary(given) or pa.types.is_large_binary(given)):
        return cell, value, "false"
    parsed = f"TRY_CAST({cell} AS {duckdb_type(dtype)})"
    return f"CAST({parsed} AS VARCHAR)", f"CAST(CAST({value} AS {duckdb_type(dtype)}) AS VARCHAR)", _lost(cell, parsed)


def type_lost(given: pa.DataType, dtype: DType, cell: str, value: str) -> str:
    """Return SQL for whether a cell and a text of the store are equal only as numbers: "007" that a tool has read as 7."""
    if dtype.kind != "string" or not _counted(given):
        return "false"
    f, a, _ = _code(given, cell, value)
    return f"({f} = {a} AND CAST({cell} AS VARCHAR) != CAST({value} AS VARCHAR))"


def _counted(given: pa.DataType) -> bool:
    return bool(pa.types.is_integer(given) or pa.types.is_floating(given))


def _code(given: pa.DataType, cell: str, value: str) -> tuple[str, str, str]:
    """Return a number and the text that it was read from as one text: what is no number stays as it is."""
    if pa.types.is_integer(given):
        number = f"CASE WHEN regexp_full_match({value}, '[+-]?[0-9]+') THEN TRY_CAST({value} AS HUGEINT) END"
        return f"CAST({cell} AS VARCHAR)", f"coalesce(CAST({number} AS VARCHAR), {value})", "false"
    whole = f"CAST(CAST({_no_nan(cell)} AS DOUBLE) AS VARCHAR)"
    return whole, f"coalesce(CAST(TRY_CAST({value} AS DOUBLE) AS VARCHAR), {value})", "false"


def _number(given: pa.DataType, dtype: DType, cell: str, value: str) -> tuple[str, str, str]:
    kind = dtype.kind
    if pa.types.is_boolean(given) and kind == "bool":
        return cell, value, "false"
    text = pa.types.is_string(given) or pa.types.is_large_string(given)
    if kind in ("int32", "int64", "decimal") and (pa.types.is_integer(given) or pa.types.is_decimal(given)):
        parsed = f"TRY_CAST({cell} AS {duckdb_type(dtype)})"
        back = f"TRY_CAST({parsed} AS {_decimal(given) or 'HUGEINT'})"  # what was rounded to fit is another number
        return parsed, value, f"({cell} IS NOT NULL AND {back} IS DISTINCT FROM {cell})"
    if kind == "decimal" and text:
        parsed = f"TRY_CAST({cell} AS {duckdb_type(dtype)})"
        return (
            parsed,
            value,
            f"({cell} IS NOT NULL AND CAST({parsed} AS DOUBLE) IS DISTINCT FROM TRY_CAST({cell} AS DOUBLE))",
        )
    single = kind == "float32" or pa.types.is_float32(given)
    wide = "FLOAT" if single else "DOUBLE"
    if kind == "bool":
        number = "DOUBLE"
        words = f"lower(CAST({cell} AS VARCHAR))"
        yes, no = "('true', 't', 'yes', '1', '1.0')", "('false', 'f', 'no', '0', '0.0')"
        parsed = f"CASE WHEN {words} IN {yes} THEN 1.0 WHEN {words} IN {no} THEN 0.0 END"
        missing = f"isnan({cell})" if pa.types.is_floating(given) else "false"
        return parsed, f"CAST({value} AS {number})", f"({cell} IS NOT NULL AND NOT {missing} AND ({parsed}) IS NULL)"
    parsed = f"CAST({cell} AS {wide})" if _numeric(given) else f"TRY_CAST(CAST({cell} AS VARCHAR) AS {wide})"
    whole = f"CAST({value} AS {wide})"
    lost = "false" if _numeric(given) else _lost(cell, parsed)
    return _no_nan(parsed), _no_nan(whole), lost


def _time(given: pa.DataType, cell: str, value: str) -> tuple[str, str, str]:
    moment = f"epoch_us(CAST({value} AS TIMESTAMP))"
    if pa.types.is_timestamp(given) or pa.types.is_date(given):
        return f"epoch_us(CAST({cell} AS TIMESTAMP))", moment, "false"
    parsed = f"TRY_CAST(CAST({cell} AS VARCHAR) AS TIMESTAMPTZ)"
    return f"epoch_us({parsed})", moment, _lost(cell, parsed)


def _numeric(given: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(is_kind(given) for is_kind in kinds)


def _decimal(given: pa.DataType) -> str:
    return f"DECIMAL({given.precision}, {given.scale})" if pa.types.is_decimal(given) else ""


def _no_nan(sql: str) -> str:
    return f"CASE WHEN isnan({sql}) THEN NULL ELSE {sql} END"


def _lost(cell: str, parsed: str) -> str:
    return f"({cell} IS NOT NULL AND {parsed} IS NULL)"
