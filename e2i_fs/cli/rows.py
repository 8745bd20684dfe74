"""Rows in and out of files: CSV and Parquet, with the types that the definitions ask for."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidEntityFrameError, RequestError, UnsupportedError

if TYPE_CHECKING:
    import pyarrow as pa

    from e2i_fs.store import Store

__all__ = ["check_out", "column_dtypes", "parse_entity", "parse_time", "read_rows", "write_rows"]

_PARQUET = (".parquet", ".pq")
# Kinds whose text in a CSV file must not be guessed at: "007" is a key, not seven.
_FLOATS = ("float32", "float64")
_FLOAT = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|inf|infinity))$"
_TOLD = frozenset({"string", "json", "int32", "int64", "float32", "float64", "bool", "date"})


def column_dtypes(store: Store, views: Iterable[FeatureView] | None = None) -> dict[str, DType]:
    """Return the dtype of every join key of the store, and of every field of ``views``, by column name."""
    dtypes = {key: dtype for entity in store.list_entities() for key, dtype in entity.keys.items()}
    for view in views or ():
        dtypes |= {field.name: field.dtype for field in view.schema}
    return dtypes


def read_rows(path: str, dtypes: Mapping[str, DType]) -> pa.Table:
    """Return the rows of a ``.parquet`` or ``.csv`` file; ``-`` is CSV on stdin.

    Columns of a CSV file that ``dtypes`` names are read as that dtype, others as what they look like; an empty
    field is a missing value, in quotes an empty text. Raises `RequestError` when the file cannot be read.
    """
    import pyarrow as pa

    if path != "-" and not Path(path).is_file():
        raise RequestError(f"There is no file {path}. Give a .parquet or .csv file, or - for CSV on stdin.")
    try:
        if path != "-" and Path(path).suffix.lower() in _PARQUET:
            import pyarrow.parquet as pq

            return pq.ParquetFile(path).read()
        return _read_csv(path, dtypes)
    except pa.ArrowInvalid as error:
        raise RequestError(f"{path} cannot be read: {error}") from error


def _read_csv(path: str, dtypes: Mapping[str, DType]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    from e2i_fs.values import arrow_type

    body = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    told = {name: dtype.kind for name, dtype in dtypes.items() if dtype.kind in _TOLD}
    # A float is parsed below, where what is too great for one is seen.
    types = {name: pa.string() if kind in _FLOATS else arrow_type(dtypes[name]) for name, kind in told.items()}

    def read(**more: Any) -> pa.Table:
        options = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True, **more)
        return csv.read_csv(pa.BufferReader(body), convert_options=options)

    rows = read()
    once = [
        name for name in rows.column_names if rows.column_names.count(name) == 1
    ]  # a name twice is the store's to refuse
    texts = [name for name in once if told.get(name) in ("string", "json") and rows.column(name).null_count]
    if texts:  # an empty text in quotes is one, and not missing; elsewhere some quote whatever there is
        kept = read(include_columns=texts, quoted_strings_can_be_null=False)
        for name in texts:
            rows = rows.set_column(rows.column_names.index(name), name, kept.column(name))
    for i, name in enumerate(rows.column_names):
        if told.get(name) in _FLOATS:
            rows = rows.set_column(i, name, _floats(rows.column(i), name, path))
    return rows


def _floats(texts: pa.ChunkedArray, name: str, path: str) -> pa.ChunkedArray:
    """Return texts as floats, or raise `RequestError` for one that is none, or greater than any."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(texts)
    wrong = pc.invert(pc.match_substring_regex(trimmed, _FLOAT))
    if not pc.any(wrong).as_py():
        made = pc.replace_substring_regex(trimmed, r"^\+", "").cast(pa.float64())
        wrong = pc.and_(pc.is_inf(made), pc.match_substring_regex(trimmed, "[0-9]"))
        if not pc.any(wrong).as_py():
            return made
    row = pc.index(pc.fill_null(wrong, False), pa.scalar(True)).as_py()
    raise RequestError(
        f"{path}, row {row}, column {name!r}: {texts[row].as_py()!r} is no number that a 64-bit float holds."
    )


def check_out(path: str | None) -> None:
    """Raise `RequestError` unless `write_rows` can write to ``path``: known before the work is done."""
    if path in (None, "-"):
        return
    folder = Path(str(path)).absolute().parent
    if not folder.is_dir():
        raise RequestError(f"--out {path}: there is no folder {folder}; make it first.")
    if Path(str(path)).suffix.lower() in (*_PARQUET, ".csv"):
        return
    raise RequestError(f"--out {path}: the ending says the format; use .parquet or .csv, or - for CSV on stdout.")


def write_rows(table: pa.Table, path: str | None) -> None:
    """Write rows to a ``.parquet`` or ``.csv`` file, or as CSV to stdout when ``path`` is None or ``-``."""
    from pyarrow import csv

    check_out(path)
    if path is not None and Path(path).suffix.lower() in _PARQUET:
        import pyarrow.parquet as pq

        pq.write_table(table, path)
        return
    nested = [f.name for f in table.schema if f.type.num_fields]
    if nested:
        kind = table.schema.field(nested[0]).type
        raise UnsupportedError(f"CSV cannot hold the column {nested[0]!r} ({kind}); use --out x.parquet.")
    csv.write_csv(table, sys.stdout.buffer if path is None or path == "-" else path)


def parse_entity(text: str, dtypes: Mapping[str, DType]) -> dict[str, Any]:
    """Return one entity row from ``key=value,key=value``, each value in its key's dtype; ``key=`` is missing.

    >>> from e2i_fs.dtypes import Int64, String
    >>> parse_entity("origin=JFK,stop=7", {"origin": String, "stop": Int64})
    {'origin': 'JFK', 'stop': 7}
    """
    row: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise InvalidEntityFrameError(f"--entity {text!r}: write key=value pairs with commas between them.")
        if key.strip() in row:
            raise InvalidEntityFrameError(
                f"--entity {text!r}: {key.strip()!r} is given twice. One --entity is one row; repeat the option for more."
            )
        row[key.strip()] = _parse(value, dtypes.get(key.strip()), text)
    return row


def _parse(value: str, dtype: DType | None, where: str) -> Any:
    if value == "":
        return None
    try:
        match dtype.kind if dtype else "string":
            case "int32" | "int64":
                return int(_plain(value))
            case "float32" | "float64":
                return float(_plain(value))
            case "bool":
                return {"true": True, "false": False}[value.lower()]
            case "date":
                return dt.date.fromisoformat(value)
            case "timestamp":
                return dt.datetime.fromisoformat(value)
            case _:
                return value
    except (ValueError, KeyError) as error:
        raise InvalidEntityFrameError(f"--entity {where!r}: {value!r} is not {dtype!r}.") from error


def _plain(number: str) -> str:
    """Return the text of a number; Python would pass over underscores in it, and read digits of any script."""
    if not number.isascii() or "_" in number:
        raise ValueError(f"{number!r} is no number")
    return number


def parse_time(text: str | None, option: str) -> dt.datetime | None:
    """Return an aware time from ISO text; one without an offset is UTC (T-1). None stays None.

    >>> parse_time("2026-03-01", "--as-of")
    datetime.datetime(2026, 3, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError(
            f"{option} {text!r} is not a time; write it like 2026-03-01 or 2026-03-01T12:30:00+01:00."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
