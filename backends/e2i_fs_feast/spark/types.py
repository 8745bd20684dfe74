"""Stored Arrow types as Spark's, read exactly, and the order in which Spark compares values as P-4 does."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import types as st

from e2i_fs.dtypes import DType
from e2i_fs.values import arrow_type

__all__ = ["FINE", "cast_sql", "instant_sql", "missing_sql", "order_sql", "quoted", "read_type", "spark_type"]

FINE = "E2I_FS_FINER_THAN_A_MICROSECOND"
"""What Spark's error says when a time has a part below one microsecond (T-2)."""

_KINDS: dict[str, st.DataType] = {
    "int32": st.IntegerType(), "int64": st.LongType(), "float32": st.FloatType(), "float64": st.DoubleType(),
    "bool": st.BooleanType(), "string": st.StringType(), "json": st.StringType(), "bytes": st.BinaryType(),
    "date": st.DateType(), "timestamp": st.TimestampType(),
}  # fmt: skip
_STORED: tuple[tuple[pa.DataType, st.DataType], ...] = (
    (pa.int8(), st.ByteType()), (pa.int16(), st.ShortType()), (pa.int32(), st.IntegerType()), (pa.int64(), st.LongType()),
    (pa.uint8(), st.ShortType()), (pa.uint16(), st.IntegerType()), (pa.uint32(), st.LongType()),
    (pa.uint64(), st.DecimalType(20, 0)), (pa.float32(), st.FloatType()), (pa.float64(), st.DoubleType()),
    (pa.bool_(), st.BooleanType()), (pa.string(), st.StringType()), (pa.large_string(), st.StringType()),
    (pa.string_view(), st.StringType()), (pa.binary(), st.BinaryType()), (pa.large_binary(), st.BinaryType()),
    (pa.binary_view(), st.BinaryType()), (pa.date32(), st.DateType()), (pa.null(), st.NullType()),
)  # fmt: skip


def spark_type(dtype: DType) -> st.DataType:
    """Return the Spark type of a dtype; a Timestamp is one in UTC."""
    match dtype.kind:
        case "struct":
            return st.StructType([st.StructField(name, spark_type(inner)) for name, inner in dtype.fields])
        case "array":
            assert dtype.element is not None
            return st.ArrayType(spark_type(dtype.element))
        case "vector":
            return st.ArrayType(st.FloatType())
        case "decimal":
            return st.DecimalType(*dtype.numbers)
        case kind:
            return _KINDS[kind]


def read_type(given: pa.DataType, dtype: DType) -> st.DataType | None:
    """Return the type as which Spark reads a Parquet column of Arrow type ``given`` exactly; None when it cannot.

    Inside lists and structs only the dtype's own types are read: there no value can be checked one by one.
    """
    if dtype.kind in ("array", "vector", "struct"):
        return spark_type(dtype) if _same(given, arrow_type(dtype)) else None
    if pa.types.is_dictionary(given):
        given = given.value_type
    if pa.types.is_timestamp(given):
        if given.unit == "ns":
            return st.LongType()
        return st.TimestampType() if given.tz is not None else st.TimestampNTZType()
    if pa.types.is_decimal(given):
        return st.DecimalType(given.precision, given.scale) if given.precision <= 38 else None
    return next((spark for arrow, spark in _STORED if arrow.equals(given)), None)


def _same(given: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_struct(wanted):
        if not pa.types.is_struct(given):
            return False
        places = [given.get_field_index(f.name) for f in wanted]
        return all(p >= 0 and _same(given.field(p).type, f.type) for p, f in zip(places, wanted, strict=True))
    if pa.types.is_list(wanted) or pa.types.is_fixed_size_list(wanted):
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(kind(given) for kind in lists) and _same(given.value_type, wanted.value_type)
    if pa.types.is_timestamp(wanted):
        return pa.types.is_timestamp(given) and given.unit in ("us", "ms") and given.tz is not None
    return bool(given.equals(wanted))


def cast_sql(column: str, given: pa.DataType, dtype: DType, called: str) -> str:
    """Return SQL that reads ``column`` as ``dtype`` exactly, or fails when a value does not fit, saying what it is ``called``."""
    if pa.types.is_dictionary(given):
        given = given.value_type
    if pa.types.is_null(given):
        return missing_sql(dtype)
    if dtype.kind == "timestamp":
        return f"timestamp_micros({instant_sql(column, given, called)})"
    if dtype.kind == "vector":
        size = dtype.numbers[0]
        fits = f"{column} IS NULL OR size({column}) = {size}"
        return _only(fits, column, f"a vector in {called} has not {size} numbers")
    if dtype.kind in ("array", "struct"):
        return column  # `read_type` has read it as it is declared
    target = spark_type(dtype).simpleString()
    made = f"CAST({column} AS {target})"
    if dtype.kind in ("float32", "float64") and pa.types.is_integer(given) and given.bit_width > 16:
        fits = f"{column} IS NULL OR CAST({made} AS DECIMAL(38, 0)) = CAST({column} AS DECIMAL(38, 0))"
        return _only(fits, made, f"a whole number in {called} is too large for {dtype!r}")
    if dtype.kind == "float32" and pa.types.is_float64(given):
        fits = f"{column} IS NULL OR abs({made}) <> float('Infinity') OR abs({column}) = double('Infinity')"
        return _only(fits, made, f"a number in {called} is too large for {dtype!r}")
    return made


def missing_sql(dtype: DType) -> str:
    """Return SQL of a missing value of ``dtype``."""
    return f"CAST(NULL AS {_ddl(spark_type(dtype))})"


def _ddl(kind: st.DataType) -> str:
    """Return a type as SQL says it, whatever its fields are called."""
    if isinstance(kind, st.StructType):
        return "STRUCT<" + ", ".join(f"{quoted(f.name)}: {_ddl(f.dataType)}" for f in kind.fields) + ">"
    if isinstance(kind, st.ArrayType):
        return f"ARRAY<{_ddl(kind.elementType)}>"
    return kind.simpleString()


def instant_sql(column: str, given: pa.DataType, called: str) -> str:
    """Return SQL for a time column as microseconds since the epoch; a naive time is read as UTC (T-1), a finer one fails (T-2)."""
    if pa.types.is_null(given):
        return "CAST(NULL AS BIGINT)"
    if pa.types.is_timestamp(given) and given.unit == "ns":
        return _only(f"{column} IS NULL OR {column} % 1000 = 0", f"{column} div 1000", f"{FINE} {called}")
    return f"unix_micros(CAST({column} AS TIMESTAMP))"


def _only(fits: str, made: str, message: str) -> str:
    return f"CASE WHEN {fits} THEN {made} ELSE raise_error({_text(message)}) END"


def quoted(name: str) -> str:
    """Return a name as SQL says it, whatever characters it has."""
    return "`" + name.replace("`", "``") + "`"


def _text(words: str) -> str:
    return "'" + "".join(f"\\{c}" if c in "'\\" else c for c in words) + "'"


def order_sql(value: str, dtype: DType, depth: int = 0) -> str:
    """Return SQL that Spark compares in the dtype's natural order, missing lowest (P-4).

    Spark's own order is that one, NaN highest and missing lowest, lists and structs too, but for -0.0, which it takes for 0.0.
    """
    if not _has_floats(dtype):
        return value
    if dtype.kind in ("float32", "float64"):
        return f"named_struct('v', {value}, 's', {value} <> 0 OR CAST({value} AS STRING) <> '-0.0')"
    if dtype.kind in ("array", "vector"):
        inner = order_sql(f"y{depth}", dtype.element or DType("float32"), depth + 1)
        return f"transform({value}, y{depth} -> {inner})"
    fields = [
        f"'f{i}', {order_sql(f'{value}.{quoted(name)}', inner, depth)}" for i, (name, inner) in enumerate(dtype.fields)
    ]
    return f"CASE WHEN {value} IS NOT NULL THEN named_struct({', '.join(fields)}) END"


def _has_floats(dtype: DType) -> bool:
    match dtype.kind:
        case "float32" | "float64" | "vector":
            return True
        case "array":
            return _has_floats(dtype.element or DType("float32"))
        case "struct":
            return any(_has_floats(inner) for _, inner in dtype.fields)
        case _:
            return False
