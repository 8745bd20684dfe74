"""Answers as bytes that can be compared: each column exact, in the order of the entity rows' own numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def digest(table: pa.Table, columns: list[str], folder: str) -> dict[str, Any]:
    """Keep an answer, sorted by ``row``, in ``folder``; return its hash, its number of rows, and whether it was in order."""
    rows = table.column("row").cast(pa.int64()).combine_chunks().to_numpy()
    in_order = bool(np.all(rows[1:] > rows[:-1]))
    kept = table.select(["row", *columns])
    if not in_order:
        kept = kept.take(pa.array(np.argsort(rows, kind="stable")))
    # What is missing is NaN where a peer knows no other way: the data has no NaN of its own.
    kept = pa.table({"row": kept["row"].cast(pa.int64()), **{c: _floats(kept[c]) for c in columns}})
    seen = hashlib.sha256()
    for column in kept.columns:
        seen.update(column.combine_chunks().to_numpy(zero_copy_only=False).tobytes())
    pq.write_table(kept, Path(folder) / "answer.parquet", compression="none")
    return {"hash": seen.hexdigest(), "rows": len(rows), "in_order": in_order}


def _floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(column.cast(pa.float64()), float("nan"))


def difference(first: dict[str, Any], other: dict[str, Any], *, of: str) -> str:
    """Say how ``other`` compares with ``first``, the answer of the contender called ``of``."""
    if first["hash"] == other["hash"]:
        return "equal" if other["in_order"] else "equal, rows in another order"
    if "kept" not in first or not (Path(first["kept"]) / "answer.parquet").exists():
        return f"answers differ from {of}'s"
    ours, theirs = (pq.read_table(Path(one["kept"]) / "answer.parquet") for one in (first, other))
    said = []
    missing = len(ours) - len(set(theirs["row"].to_pylist()) & set(ours["row"].to_pylist()))
    if missing:
        said.append(f"{missing:,} of {len(ours):,} rows missing")
    if len(theirs) > len(ours) - missing:
        said.append(f"{len(theirs) - (len(ours) - missing):,} rows too many")
    both = ours.join(theirs, "row", right_suffix=" theirs", join_type="inner")
    wrong = np.zeros(len(both), bool)
    for name in ours.column_names[1:]:
        a, b = (both[n].to_numpy() for n in (name, f"{name} theirs"))
        wrong |= ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if wrong.any():
        said.append(f"{int(wrong.sum()):,} rows with other values")
    return "answers differ: " + ", ".join(said or ["in their order"])
