"""Files in object stores (``s3://``, ``gs://``, ``az://`` and whatever else fsspec knows), read in place.

Where a store is and who may read it is no part of a definition: fsspec takes it from the environment, the machine's role, or
``FSSPEC_S3_ENDPOINT_URL`` and its like. pyarrow reads the columns that are needed, of the row groups that may hold what is asked.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from e2i_fs.arrow import pa, pc, pq
from e2i_fs.backend import ArrowRows, ScanPart
from e2i_fs.errors import BackendDataError, UnsupportedError, did_you_mean, unstopped

__all__ = ["expand_objects", "is_object", "object_parts", "object_schema"]

_MOST_KEYS = 10_000


def is_object(path: str) -> bool:
    """Return whether a path names something in an object store.

    >>> is_object("s3://bucket/visits.parquet"), is_object("visits.parquet")
    (True, False)
    """
    scheme, sep, _ = path.partition("://")
    return bool(sep) and len(scheme) > 1 and scheme.isalnum()


def expand_objects(path: str, suffix: str) -> list[str]:
    """Return the objects that ``path`` (one object, a folder, a glob) stands for now, each with its scheme; [] for none.

    Raises `UnsupportedError` when no package for the scheme is installed, `BackendDataError` when the store cannot be asked.
    """
    filesystem = _filesystem(path)
    try:
        if any(c in path for c in "*?["):
            found = filesystem.glob(path)
        elif filesystem.isfile(path):
            return [path]
        else:
            folder = filesystem._strip_protocol(path)
            every = [f for f in filesystem.find(path) if f.endswith(suffix)]
            # Names that begin with a dot or an underscore are other programs' work in progress, folders too.
            found = [f for f in every if not any(s[:1] in "._" for s in f.removeprefix(folder).strip("/").split("/"))]
        return sorted(map(filesystem.unstrip_protocol, found))
    except Exception as error:  # fsspec's stores have no common error class: botocore's, gcsfs's and aiohttp's escape
        raise _unreadable(path, error) from error


def object_schema(path: str) -> pa.Schema:
    """Return the Arrow schema of a Parquet object; `BackendDataError` when it cannot be read."""
    try:
        with _filesystem(path).open(path, "rb") as file:
            return pq.read_schema(file)
    except UnsupportedError:
        raise
    except Exception as error:  # as above
        raise _unreadable(path, error) from error


def object_parts(
    paths: Sequence[str],
    columns: Mapping[str, str],
    event: str,
    join_keys: Sequence[str],
    keys: pa.Table | None,
    until_us: int | None,
) -> list[ScanPart]:
    """Return the rows of Parquet objects under the view's names, a part for each.

    ``columns`` maps the view's names to the objects'. Row groups whose statistics say that they hold neither a row up to
    ``until_us`` nor one of ``keys`` are not fetched, where Arrow compares as the engine does (P-7).
    """
    return [ArrowRows(_rows(path, columns, event, join_keys, keys, until_us)) for path in paths]


def _rows(
    path: str,
    columns: Mapping[str, str],
    event: str,
    join_keys: Sequence[str],
    keys: pa.Table | None,
    until_us: int | None,
) -> pa.RecordBatchReader:
    import pyarrow.dataset as ds  # brings pandas with it: not for whoever reads no object

    try:
        filesystem = _filesystem(path)
        dataset = ds.dataset(filesystem._strip_protocol(path), filesystem=filesystem, format="parquet")
        for column in columns.values():
            if len(dataset.schema.get_all_field_indices(column)) != 1:
                raise BackendDataError(
                    f"{path} has no column {column!r}, or several.{did_you_mean(column, dataset.schema.names)}"
                )
        schema = dataset.schema
        kept = _until(schema, columns[event], until_us)
        for name, asked in zip(join_keys, [] if keys is None else keys.columns, strict=keys is not None):
            kept = _among(schema, columns[name], asked, kept)
        chosen = {name: pc.field(column) for name, column in columns.items()}
        return dataset.scanner(columns=chosen, filter=kept).to_reader()
    except (UnsupportedError, BackendDataError):
        raise
    except Exception as error:  # as above
        raise _unreadable(path, error) from error


def _until(schema: pa.Schema, column: str, until_us: int | None) -> Any:
    given = schema.field(column).type
    if until_us is None or not pa.types.is_timestamp(given) or given.unit != "us":
        return None
    return pc.field(column) <= pa.scalar(until_us, pa.int64()).cast(given)


def _among(schema: pa.Schema, column: str, asked: pa.ChunkedArray, kept: Any) -> Any:
    given, values = schema.field(column).type, pc.unique(asked.drop_null())
    if given != asked.type or not (pa.types.is_string(given) or pa.types.is_integer(given)) or len(values) > _MOST_KEYS:
        return kept
    among = pc.field(column).isin(values)
    return among if kept is None else kept & among


def _filesystem(path: str) -> Any:
    scheme = path.partition("://")[0]
    try:
        fsspec = importlib.import_module("fsspec")

        # Listings are not kept: an object that arrives must be found (W-3).
        return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        hint = "pip install 'e2i-fs[objects]'" + (
            "" if scheme in ("s3", "s3a") else f", and what fsspec needs for {scheme}"
        )
        raise UnsupportedError(f"Reading {path} needs {error.name or 'a package'}: {hint} ({error}).") from error
    except ValueError as error:
        raise UnsupportedError(f"{path}: fsspec knows no store {scheme!r} ({unstopped(error)}).") from error


def _unreadable(path: str, error: Exception) -> BackendDataError:
    return BackendDataError(
        f"{path}, a view's source, cannot be read: {type(error).__name__}: {unstopped(error)}. Is the object there, and do the "
        "environment's credentials and endpoint hold?"
    )
