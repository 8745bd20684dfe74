"""Which stored Arrow types can be read as which dtype without changing a value, and the SQL that does it."""

from __future__ import annotations

from e2i_fs.arrow import pa
from e2i_fs.dtypes import DType

__all__ = ["always_fits", "cast_sql", "duckdb_type", "instant_sql", "misfit", "sort_sql", "time_sql"]

_DUCKDB = {
    "int32": "INTEGER", "int64": "BIGINT", "float32": "FLOAT", "float64": "DOUBLE", "bool": "BOOLEAN",
    "string": "VARCHAR", "json": "VARCHAR", "bytes": "BLOB", "date": "DATE", "timestamp": "TIMESTAMP",
}  # fmt: skip


def duckdb_type(dtype: DType) -> str:
    """Return the DuckDB type of a dtype; a Timestamp is a TIMESTAMP in UTC.

    >>> from e2i_fs.dtypes import Array, Int64
    >>> duckdb_type(Array(Int64))
    'BIGINT[]'
    """
    match dtype.kind:
        case "struct":
            return "STRUCT(" + ", ".join(f"{_quoted(n)} {duckdb_type(t)}" for n, t in dtype.fields) + ")"
        case "array":
            assert dtype.element is not None
            return f"{duckdb_type(dtype.element)}[]"
        case "vector":
            return "FLOAT[]"  # DuckDB's casts of missing lists to FLOAT[n] fail now and then
        case "decimal":
            return "DECIMAL({}, {})".format(*dtype.numbers)
        case kind:
            return _DUCKDB[kind]


def misfit(given: pa.DataType, dtype: DType, *, is_time: bool = False) -> str | None:
    """Return why a stored column of Arrow type ``given`` cannot be read as ``dtype``, or None if it can.

    ``is_time`` is for the event and created time columns, which may be dates as well.
    """
    if pa.types.is_dictionary(given):
        given = given.value_type
    if pa.types.is_null(given) or (is_time and pa.types.is_date(given)):
        return None
    kind = dtype.kind
    whole, real = pa.types.is_integer(given), pa.types.is_floating(given)
    if kind in ("int32", "int64"):
        return (
            None
            if whole
            else ("a float would be cut; declare Float64, or store whole numbers" if real else "not a whole number")
        )
    if kind in ("float32", "float64"):
        return None if whole or real else "not a number"
    if kind == "decimal":
        if whole:
            return None
        if not pa.types.is_decimal(given):
            return "not a decimal"
        if given.precision > 38:
            return "it has more than 38 digits"  # DuckDB would read it as a float
        return None if given.scale <= dtype.numbers[1] else "it has more digits after the point"
    if kind in {"array", "vector"}:
        if not (pa.types.is_list(given) or pa.types.is_large_list(given) or pa.types.is_fixed_size_list(given)):
            return "not a list"
        return _inner_misfit(given.value_type, dtype.element or DType("float32"))
    if kind == "struct":
        if not pa.types.is_struct(given):
            return "not a struct"
        names = [given.field(i).name for i in range(given.num_fields)]
        if len({n.lower() for n in names}) < len(names):
            return "two of its fields differ only by case"
        for name, inner in dtype.fields:
            if given.get_field_index(name) < 0:
                return f"it has no field {name!r}"
            reason = _inner_misfit(given.field(name).type, inner)
            if reason:
                return f"field {name!r}: {reason}"
        return None
    tests = {
        "bool": pa.types.is_boolean,
        "string": _is_text,
        "json": _is_text,
        "bytes": lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t),
        "date": pa.types.is_date,
        "timestamp": pa.types.is_timestamp,
    }
    return None if tests[kind](given) else "another kind of value"


def always_fits(given: pa.DataType, dtype: DType) -> bool:
    """Return whether every value of an Arrow type that is no `misfit` can be read as ``dtype``, or only some.

    >>> from e2i_fs.dtypes import Int32, Int64
    >>> always_fits(pa.int32(), Int64), always_fits(pa.int64(), Int32)
    (True, False)
    """
    if pa.types.is_dictionary(given):
        given = given.value_type
    if pa.types.is_null(given):
        return True
    match dtype.kind:
        case "int32" | "int64":
            bits = 32 if dtype.kind == "int32" else 64
            return bool(given.bit_width < bits or (given.bit_width == bits and pa.types.is_signed_integer(given)))
        case "float32" | "float64":
            whole, bits = (24, 32) if dtype.kind == "float32" else (53, 64)
            return bool(given.bit_width <= (bits if pa.types.is_floating(given) else whole))
        case "decimal":
            if not pa.types.is_decimal(given):
                return False
            return bool(given.precision - given.scale <= dtype.numbers[0] - dtype.numbers[1])
        case "timestamp" | "vector":  # it may be infinite; it may have another length
            return False
        case "array":
            assert dtype.element is not None
            return always_fits(given.value_type, dtype.element)
        case "struct":
            return all(always_fits(given.field(name).type, inner) for name, inner in dtype.fields)
        case _:
            return True


def _inner_misfit(given: pa.DataType, dtype: DType) -> str | None:
    """Return why a type inside a list or struct does not fit: there a value cannot be checked one by one."""
    bits = {"float32": 16, "float64": 32}.get(dtype.kind)
    if bits is not None and pa.types.is_integer(given) and given.bit_width > bits:
        return f"a whole number of {given.bit_width} bits may not fit {dtype!r}"
    if dtype.kind == "timestamp" and pa.types.is_timestamp(given) and given.unit == "ns":
        return "times finer than a microsecond (T-2); store microseconds"
    return misfit(given, dtype)


def _is_text(t: pa.DataType) -> bool:
    return bool(pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t))


def time_sql(column: str, given: pa.DataType) -> str:
    """Return SQL for a time column as microseconds since the epoch; a naive time is read as UTC (T-1).

    An infinite time has none and is missing: see `instant_sql`.
    """
    if pa.types.is_null(given):
        return "CAST(NULL AS BIGINT)"
    return f"epoch_us({_moment(column, given)})"


def instant_sql(column: str, given: pa.DataType, called: str, *, future: bool = False) -> str:
    """Return `time_sql` that fails for an infinite time, which is no instant (T-1), saying what the column is ``called``.

    With ``future`` the one that never comes is missing, as it is for any request (P-1); the one before all times fails.
    """
    if pa.types.is_null(given):
        return time_sql(column, given)
    taken = f"{_moment(column, given)} <> '-infinity'" if future else f"isfinite({_moment(column, given)})"
    message = f"a time in {called.replace(chr(39), '')} is infinite, which is no instant (T-1)"
    return (
        f"CASE WHEN ({taken}) IS NOT FALSE THEN {time_sql(column, given)} ELSE CAST(error('{message}') AS BIGINT) END"
    )


def _moment(column: str, given: pa.DataType) -> str:
    zoned = pa.types.is_timestamp(given) and given.tz is not None
    return f"CAST({column} AS {'TIMESTAMPTZ' if zoned else 'TIMESTAMP'})"


def cast_sql(column: str, given: pa.DataType, dtype: DType, called: str) -> str:
    """Return SQL that reads ``column`` as ``dtype`` exactly, or fails when a value does not fit, saying what it is ``called``."""
    target = duckdb_type(dtype)
    if dtype.kind == "timestamp":
        return f"make_timestamp({instant_sql(column, given, called)})"
    if dtype.kind in ("float32", "float64") and pa.types.is_integer(given) and given.bit_width > 16:
        message = f"a whole number in {called.replace(chr(39), '')} is too large for {dtype!r}"
        return (
            f"CASE WHEN {column} IS NULL OR CAST(CAST({column} AS {target}) AS HUGEINT) = CAST({column} AS HUGEINT) "
            f"THEN CAST({column} AS {target}) ELSE CAST(error('{message}') AS {target}) END"
        )
    if dtype.kind == "vector":
        message = f"a vector in {called.replace(chr(39), '')} has not {dtype.numbers[0]} numbers"
        return (
            f"CASE WHEN {column} IS NULL OR len({column}) = {dtype.numbers[0]} "
            f"THEN CAST({column} AS {target}) ELSE CAST(error('{message}') AS {target}) END"
        )
    return f"CAST({column} AS {target})"


def sort_sql(column: str, dtype: DType) -> list[str]:
    """Return the ORDER BY terms of a column in the dtype's natural order, missing lowest (P-4)."""
    if dtype.kind in ("float32", "float64"):
        return [f"{column} ASC NULLS FIRST", f"NOT signbit({column})"]
    if dtype.kind in ("array", "struct", "vector"):
        # A missing struct is below a struct whose fields are all missing.
        return [f"{column} IS NOT NULL", f"{_nested(column, dtype, 0)} ASC NULLS FIRST"]
    return [f"{column} ASC NULLS FIRST"]


def _nested(value: str, dtype: DType, depth: int) -> str:
    """Return an expression whose DuckDB order is the natural order; DuckDB itself puts missing elements last."""
    if dtype.kind in ("float32", "float64"):
        return f"{{'v': {value}, 's': NOT signbit({value})}}"
    if dtype.kind in ("array", "vector"):
        name = f"x{depth}"
        inner = _nested(name, dtype.element or DType("float32"), depth + 1)
        return f"list_transform({value}, lambda {name}: {{'p': {name} IS NOT NULL, 'v': {inner}}})"
    if dtype.kind == "struct":
        parts = []
        for i, (field, kind) in enumerate(dtype.fields):
            got = f"struct_extract({value}, '{field.replace(chr(39), chr(39) * 2)}')"
            parts.append(f"'p{i}': {got} IS NOT NULL, 'v{i}': {_nested(got, kind, depth)}")
        return "{" + ", ".join(parts) + "}"
    return value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
