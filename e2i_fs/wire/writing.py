"""Writing over a wire: rows of one view, or of every view that a push source feeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from e2i_fs.errors import UnknownFeatureError, did_you_mean
from e2i_fs.wire.arguments import Strict
from e2i_fs.wire.batches import batch_dtypes, columns_of, typed_batch
from e2i_fs.wire.desk import Answer, Desk
from e2i_fs.wire.plain import plain
from e2i_fs.writing import WriteReceipt

__all__ = ["Receipt", "Receipts", "ToWrite", "Where", "feeds", "push", "write"]


class Where(Strict):
    """Where a batch goes, and its name."""

    to: Literal["online", "offline", "both"] | None = Field(
        default=None, description="online, offline (history) or both, which is the default where the view is online."
    )
    idempotency_key: str | None = Field(
        default=None, description="The same key twice is one batch; made of the rows unless given."
    )


class ToWrite(Where):
    """A batch of rows."""

    rows: list[dict[str, Any]] = Field(
        description="Each with every join key, time column and field: times and dates as ISO text, bytes as base64, decimals "
        'as text, whole numbers beyond 2**53 as text, "NaN" and "Infinity" as text; null where a value is missing.'
    )


class Receipt(Answer):
    """What became of one batch in one view."""

    view: str
    rows: int
    to: str
    idempotency_key: str
    applied: list[str] = Field(description="The backends that have it.")
    missed: dict[str, str] = Field(description="Those that have not, with why; they answer degraded until they have.")
    repeated: bool = Field(description="True when history had the batch already.")


class Receipts(Answer):
    """What became of one batch in each view that takes it."""

    receipts: dict[str, Receipt]


def write(desk: Desk, view: str, where: Where, rows: list[dict[str, Any]] | pa.Table) -> Mapping[str, Any]:
    """Write rows of one view and return its `Receipt` (W-1, W-2)."""
    what = f"The batch for view {view!r}"
    dtypes = batch_dtypes(desk.store.catalog(), [view])
    batch = rows if isinstance(rows, pa.Table) else typed_batch(what, columns_of(what, rows), dtypes)
    return _told(desk.store.write(view, batch, where.to, idempotency_key=where.idempotency_key))


def push(desk: Desk, source: str, where: Where, rows: list[dict[str, Any]] | pa.Table) -> Mapping[str, Any]:
    """Write rows to every view that a push source feeds and return `Receipts` (W-1)."""
    what = f"The batch for push source {source!r}"
    dtypes = batch_dtypes(desk.store.catalog(), feeds(desk, source))
    batch = rows if isinstance(rows, pa.Table) else typed_batch(what, columns_of(what, rows), dtypes)
    receipts = desk.store.push(source, batch, where.to, idempotency_key=where.idempotency_key)
    return {"receipts": {view: _told(receipt) for view, receipt in receipts.items()}}


def feeds(desk: Desk, source: str) -> list[str]:
    """Return the views that a push source feeds, or raise `UnknownFeatureError` with the nearest names."""
    known = desk.store.catalog().push_sources()
    if source not in known:
        raise UnknownFeatureError(f"Unknown push source {source!r}.{did_you_mean(source, known)}")
    return list(known[source])


def _told(receipt: WriteReceipt) -> dict[str, Any]:
    told: dict[str, Any] = plain(receipt)
    return told
