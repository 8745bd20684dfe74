"""Which values of a column a store would refuse as a dtype, as SQL: the rules of writing, over any number of rows."""

from __future__ import annotations

import pyarrow as pa

from e2i_fs.dtypes import DType
from e2i_fs.pit.fit import duckdb_type, misfit, time_sql
from e2i_fs.quality.rows import Column

__all__ = ["YEAR_1", "YEAR_9999", "unfit"]


def unfit(column: Column, dtype: DType) -> str:
    """Return SQL that is true for the present values of ``column`` that cannot become ``dtype`` unchanged (W-1).

    These are the values that `e2i_fs.values.cast_column` refuses; a column of the wrong type is refused whole.
    """
    value, given, kind = column.raw, column.inner, dtype.kind
    present = f"{value} IS NOT NULL"
    whole, real, decimal = pa.types.is_integer(given), pa.types.is_floating(given), pa.types.is_decimal(given)
    cast = f"TRY_CAST({value} AS {duckdb_type(dtype)})"
    if pa.types.is_null(given):
        return "false"
    if kind in ("int32", "int64"):
        if whole:
            return f"({present} AND {cast} IS NULL)"
        lost = f"abs({value}) >= {2**53}"  # from there on a float stands for several whole numbers
        return f"({present} AND ({cast} IS NULL OR {cast} <> {value} OR {lost}))" if real else present
    if kind in ("float32", "float64"):
        if real:
            return f"({present} AND {cast} IS NULL)"
        most = 2**24 if kind == "float32" else 2**53  # beyond these not every whole number is a float
        return f"({value} NOT BETWEEN -{most} AND {most})" if whole else present
    if kind == "decimal":
        lossy = f"({present} AND ({cast} IS NULL OR {cast} <> {value}))"
        return lossy if whole or decimal else present
    if kind == "timestamp":
        if column.kind not in ("time", "date"):
            return present
        fine = f" OR epoch_ns({value}) % 1000 <> 0" if column.kind == "time" and given.unit == "ns" else ""
        moment = f"TRY({time_sql(value, given)})"
        return f"({present} AND ({moment} IS NULL OR {moment} NOT BETWEEN {YEAR_1} AND {YEAR_9999}{fine}))"
    if kind == "json":
        return f"({present} AND NOT json_valid({value}))" if column.kind == "text" else present
    if kind in ("array", "struct", "vector"):  # by their types; the values inside are not looked at one by one
        if misfit(given, dtype) is not None:
            return present
        if kind != "vector":
            return "false"
        gap = f"list_contains(list_transform({value}, lambda x: x IS NULL), true)"
        return f"({present} AND (len({value}) <> {dtype.numbers[0]} OR {gap}))"
    alike = {"bool": "bool", "string": "text", "bytes": "bytes", "date": "date"}[kind]
    return "false" if alike == column.kind else present


YEAR_1, YEAR_9999 = -62_135_596_800_000_000, 253_402_300_799_999_999
