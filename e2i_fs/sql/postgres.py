"""PostgreSQL's types as Arrow's, exactly: what ADBC would alter without a word is checked or refused here."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError
from e2i_fs.sql.names import identifier

__all__ = ["converted", "expression", "type_name", "typed"]

_PLAIN = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar", "name", "bytea", "date", "timestamp",
     "timestamptz"}
)  # fmt: skip
_EARLIEST_US = -210_866_803_200_000_000  # 4713 BC; PostgreSQL has no earlier time
_EARLIEST_DAY = -2_440_588
_MOST_DIGITS = 38


def type_name(field: pa.Field) -> str:
    """Return PostgreSQL's name of a column's type: ``timestamptz``, ``_text`` for an array of text."""
    said: bytes = (field.metadata or {}).get(b"POSTGRESQL:type", b"")
    return said.decode()


def typed(field: pa.Field, declared: DType | None) -> pa.DataType:
    """Return the Arrow type in which a column will come; an opaque one, named like PostgreSQL's, if it cannot be read."""
    name = type_name(field)
    if name == "numeric":
        return _decimal(int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1")), declared)
    if name in ("json", "jsonb", "uuid"):
        return pa.string()
    readable = name.removeprefix("_") in _PLAIN or pa.types.is_string(field.type)  # the last is an enum, or citext
    return field.type if readable else pa.opaque(pa.null(), name or str(field.type), "PostgreSQL")


def _decimal(modifier: int, declared: DType | None) -> pa.DataType:
    if modifier < 0:  # numeric without digits: each value is looked at when it is read
        return pa.decimal128(_MOST_DIGITS, declared.numbers[1] if declared and declared.kind == "decimal" else 0)
    precision, scale = (modifier - 4) >> 16, (((modifier - 4) & 0x7FF) ^ 1024) - 1024
    return pa.decimal128(precision, scale) if precision <= _MOST_DIGITS else pa.decimal256(min(precision, 76), scale)


def expression(field: pa.Field) -> str:
    """Return the SQL that reads a column of ``source`` without loss."""
    column, name = f"source.{identifier(field.name)}", type_name(field)
    if name == "uuid":
        return f"{column}::text"
    if name.startswith("_") and name.removeprefix("_") in _PLAIN:
        # ADBC flattens an array of several dimensions. The text is no array, so the cast fails with it as message.
        said = f"column {field.name} has an array of more than one dimension: ".replace("'", "''")
        failing = f"('{said}' || array_ndims({column})::text)::{name.removeprefix('_')}[]"
        return f"CASE WHEN array_ndims({column}) > 1 THEN {failing} ELSE {column} END"
    return column


def converted(column: pa.Array, field: pa.Field, dtype: DType, where: str) -> pa.Array:
    """Return a column as it came, in the Arrow type that `typed` says; ``field`` is as the database describes it.

    Raises `BackendDataError` that names ``where`` and the value for a numeric beyond ``dtype`` and for an infinite time.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if type_name(field) == "numeric":
        return _exact_decimals(column, field.name, dtype, where)
    _check_times(column, field.name, where)
    return column


def _exact_decimals(column: pa.Array, name: str, dtype: DType, where: str) -> pa.Array:
    precision, scale = dtype.numbers
    fits = pc.match_substring_regex(column, rf"^-?[0-9]{{1,{precision - scale or 1}}}(\.[0-9]{{0,{scale}}}0*)?$")
    wrong = pc.index(fits, pa.scalar(False)).as_py()
    if wrong >= 0:
        raise BackendDataError(
            f"{where}: column {name!r} holds {column[wrong].as_py()}, which is no {dtype!r}. Declare more digits, or round it "
            "in the source's query."
        )
    return column.cast(pa.decimal128(_MOST_DIGITS, scale))


def _check_times(column: pa.Array, name: str, where: str) -> None:
    if pa.types.is_list(column.type):
        _check_times(column.flatten(), name, where)
        return
    if pa.types.is_timestamp(column.type):
        lowest, limit = pc.min(column.cast(pa.int64())).as_py(), _EARLIEST_US
    elif pa.types.is_date(column.type):
        lowest, limit = pc.min(column.cast(pa.int32())).as_py(), _EARLIEST_DAY
    else:
        return
    if lowest is not None and lowest < limit:
        raise BackendDataError(
            f"{where}: column {name!r} holds infinity, or a time beyond what microseconds can count, which is no instant (T-1). "
            "Leave it out, or make it NULL, in the source's query."
        )
