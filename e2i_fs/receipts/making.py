"""How a receipt is made of an answer, and of the splits of one."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.clock import from_us
from e2i_fs.frozen import FrozenMap
from e2i_fs.receipts.hashing import cell_hashes, column_hash, kind_of, positions_hash, together
from e2i_fs.receipts.receipt import ColumnHash, TrainingReceipt
from e2i_fs.values import decoded

if TYPE_CHECKING:
    from e2i_fs.results import Asked, Provenance

__all__ = ["ENTITY", "HASH", "receipt_of", "result_columns", "split_receipt"]

# What a column of a receipt's rows is: one of the entity frame, or the hashes of an output's values.
ENTITY, HASH = "entity:", "hash:"


def receipt_of(
    asked: Asked, entities: pa.Table, columns: Mapping[str, pa.ChunkedArray], provenance: Provenance
) -> TrainingReceipt:
    """Return the receipt of one answer: ``entities`` is the caller's frame, ``columns`` the outputs by name."""
    given = dict(zip(entities.column_names, entities.columns, strict=True))
    cells = cell_hashes(given)
    entity_columns = tuple(
        ColumnHash(name, kind_of(column.type), column_hash(cells[name], kind_of(column.type)))
        for name, column in sorted(given.items())
    )
    hashed, values = result_columns(asked, columns)
    rows = {f"{ENTITY}{name}": _kept(given[name]) for name in (*asked.join_keys, *asked.columns)}
    rows[f"{ENTITY}{asked.timestamp_column}"] = asked.times.cast(pa.timestamp("us", "UTC"))
    rows |= {f"{HASH}{name}": column for name, column in values.items()}
    span = pc.min_max(asked.times).as_py()
    return TrainingReceipt(
        features=tuple(r for r in asked.refs if r not in asked.labels),
        labels=asked.labels,
        join_keys=asked.join_keys,
        request_columns=asked.columns,
        timestamp_column=asked.timestamp_column,
        full_feature_names=asked.full_feature_names,
        filter_by_created_timestamp=asked.filter_by_created_timestamp,
        as_of=asked.as_of,
        fingerprints=FrozenMap(provenance.fingerprints),
        row_count=len(entities),
        min_time=from_us(span["min"]),
        max_time=from_us(span["max"]),
        entity_columns=entity_columns,
        entity_hash=together((c.name, c.hash) for c in entity_columns),
        columns=hashed,
        result_hash=together((c.name, c.hash) for c in hashed),
        served_by=provenance.served_by,
        backend_kind=asked.backend_kind,
        role=provenance.role,
        degraded=provenance.degraded,
        reason=provenance.reason,
        position=FrozenMap(provenance.position),
        versions=_versions(asked.backend_kind),
        made_at=asked.at,
        rows=pa.table(rows),
    )


def result_columns(
    asked: Asked, columns: Mapping[str, pa.ChunkedArray]
) -> tuple[tuple[ColumnHash, ...], dict[str, pa.ChunkedArray]]:
    """Return the hash of each output column, and those of its cells by name."""
    cells = cell_hashes(columns)
    hashed = []
    for name, ref, dtype in zip(asked.names, asked.refs, asked.dtypes, strict=True):
        kind = json.dumps(dtype.canonical())
        hashed.append(ColumnHash(name, kind, column_hash(cells[name], kind), ref))
    return tuple(hashed), cells


def split_receipt(receipt: TrainingReceipt, about: Mapping[str, Any], rows: Mapping[str, pa.Array]) -> TrainingReceipt:
    """Return ``receipt`` with what a rule made of its rows: ``about`` the rule, ``rows`` the positions by split."""
    hashes = {name: positions_hash(positions) for name, positions in rows.items()}
    split = {**about, "positions": hashes, "positions_hash": together(hashes.items())}
    return replace(receipt, split=FrozenMap(split))


def _kept(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in a type that Parquet keeps, saying the same: a key must match as before (P-7)."""
    column = decoded(column)
    given = column.type
    if pa.types.is_string_view(given):
        return column.cast(pa.string())
    if pa.types.is_binary_view(given):
        return column.cast(pa.binary())
    if pa.types.is_timestamp(given) and given.tz is None:
        return column.cast(pa.timestamp(given.unit, "UTC"))  # read as UTC (T-1), by whoever asks again too
    return column


def _versions(backend_kind: str) -> FrozenMap[str]:
    from importlib.metadata import version

    import duckdb

    import e2i_fs

    found = {
        "e2i_fs": e2i_fs.__version__,
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "duckdb": duckdb.__version__,
    }
    if backend_kind == "feast":
        found["feast"] = version("feast")
    return FrozenMap(found)
