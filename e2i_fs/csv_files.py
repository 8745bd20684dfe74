"""CSV files, read without guessing: a header, one delimiter, double quotes, and each column parsed as declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.csv as pc

from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, did_you_mean
from e2i_fs.pit.connection import connect
from e2i_fs.pit.fit import duckdb_type
from e2i_fs.sources import CSVSource

__all__ = ["NESTED", "csv_names", "read_csv"]

NESTED = ("array", "struct", "vector")
"""The kinds of dtype that a CSV column cannot hold."""

_FLOAT = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*|\s*[+-]?(?i:nan|inf|infinity)\s*"
_EXACT = {
    "int32": r"\s*[+-]?[0-9]+\s*",
    "int64": r"\s*[+-]?[0-9]+\s*",
    "float32": _FLOAT,
    "float64": _FLOAT,
    "bytes": r"([0-9A-Fa-f]{2})*",
    "date": r"\s*[0-9]+-[0-9]+-[0-9]+\s*",
    "timestamp": r"[^.]*(\.[0-9]{1,6}0*([^0-9].*)?)?",
}


def csv_names(file: str, source: CSVSource) -> list[str]:
    """Return the names in the header of a CSV file, doubled ones included."""
    return list(_text(file, source).column_names)


def read_csv(
    source: CSVSource, files: Sequence[str], columns: Mapping[str, str], types: Mapping[str, DType]
) -> pa.RecordBatchReader:
    """Return the rows of all files under the view's names, each column in its dtype.

    ``columns`` maps the view's name to the file's. A text that is not what its column declares is a
    `BackendDataError` that shows it: 1.5 is no Int64, and is not rounded to one.
    """
    tables = []
    for file in files:
        text = _text(file, source)
        for column in columns.values():
            if text.column_names.count(column) != 1:
                raise BackendDataError(
                    f"{file} has {text.column_names.count(column) or 'no'} column {column!r}; one is needed."
                    f"{did_you_mean(column, text.column_names)}"
                )
        chosen = text.select([text.column_names.index(c) for c in columns.values()])
        tables.append(chosen.rename_columns([f"c{i}" for i in range(len(columns))]))
    connection = connect()
    try:
        connection.register("read", pa.concat_tables(tables))
        parsed = ", ".join(_parse(f"c{i}", columns[name], types[name]) for i, name in enumerate(columns))
        table = connection.sql(f"SELECT {parsed} FROM read").to_arrow_table()
    except duckdb.Error as error:
        raise BackendDataError(f"{source.where()} cannot be read as the view declares it: {error}") from error
    finally:
        connection.close()
    return table.rename_columns(list(columns)).to_reader()


def _text(file: str, source: CSVSource) -> pa.Table:
    """Return a file as text columns, missing where nothing stands between two delimiters."""
    parse = pc.ParseOptions(delimiter=source.delimiter, quote_char='"', double_quote=True, newlines_in_values=True)
    try:
        with pc.open_csv(file, parse_options=parse) as peek:
            names = peek.schema.names
        convert = pc.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        return pc.read_csv(file, parse_options=parse, convert_options=convert)
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise BackendDataError(f"The file {file} is not readable CSV: {error}") from error


def _parse(text: str, column: str, dtype: DType) -> str:
    """Return SQL that parses a text column as ``dtype`` or fails: DuckDB's own cast would round 1.5 to 2."""
    if dtype.kind == "bytes":
        cast = f"from_hex({text})"
    elif dtype.kind == "timestamp":
        cast = f"CAST({text} AS TIMESTAMPTZ)"
    else:
        cast = f"CAST({text} AS {duckdb_type(dtype)})"
    exact = _EXACT.get(dtype.kind)
    if dtype.kind == "decimal":
        exact = rf"\s*[+-]?[0-9]+(\.[0-9]{{0,{dtype.numbers[1]}}}0*)?\s*"
    if exact is None:
        return f"{cast} AS {text}"
    message = f"'column {column.replace(chr(39), '')}: ' || {text} || ' is no {dtype!r}'"
    matches = f"{text} IS NULL OR regexp_full_match({text}, '{exact}')"
    if dtype.kind in ("float32", "float64"):  # DuckDB makes an infinity of a number that is too great
        matches = f"({matches}) AND NOT (coalesce(isinf({cast}), false) AND regexp_matches({text}, '[0-9]'))"
    return f"CASE WHEN {matches} THEN {cast} ELSE error({message}) END AS {text}"
