"""Making a training set again from its receipt, and comparing: definitions first, then value for value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.catalog import Catalog
from e2i_fs.errors import RequestError
from e2i_fs.frozen import FrozenMap
from e2i_fs.receipts.differences import Difference, DifferenceKind, Verification
from e2i_fs.receipts.making import ENTITY, HASH, result_columns
from e2i_fs.receipts.receipt import ColumnHash, TrainingReceipt

if TYPE_CHECKING:
    from e2i_fs.results import HistoricalResult

__all__ = ["verified"]

_SHOWN = 100


def verified(
    receipt: TrainingReceipt, catalog: Catalog, ask: Callable[..., HistoricalResult], at: datetime
) -> Verification:
    """Return what differs between ``receipt`` and what ``ask`` (``get_historical_features``) answers now."""
    if not isinstance(receipt, TrainingReceipt):
        raise RequestError(
            f"verify takes a TrainingReceipt, not {receipt!r}; read one from its file with TrainingReceipt.load(path)."
        )
    differences = _definitions(receipt, catalog)
    there = [c for c in receipt.columns if _has(catalog, c.ref)]
    gone = [c for c in receipt.columns if not _has(catalog, c.ref)]
    differences += [
        Difference(DifferenceKind.FEATURE_MISSING, f"The feature {c.ref!r} is no longer registered.", feature=c.ref)
        for c in gone
    ]
    if not there:
        return _verification(receipt, differences, None, 0, at)
    try:
        result = _again(receipt, catalog, there, ask)
    except RequestError as error:
        if not differences:
            raise
        why = f"The training set cannot be made again with the definitions as they are now: {error}"
        return _verification(receipt, [*differences, Difference(DifferenceKind.NOT_REBUILT, why)], None, 0, at)
    found, changed = _values(receipt, there, result)
    return _verification(receipt, [*differences, *found], result, changed, at)


def _definitions(receipt: TrainingReceipt, catalog: Catalog) -> list[Difference]:
    found = []
    for view, before in receipt.fingerprints.items():
        if not catalog.has(view):
            text = f"The view {view!r} is no longer registered (its fingerprint was {before})."
            found.append(Difference(DifferenceKind.VIEW_MISSING, text, view=view, before=before))
        elif catalog.fingerprint(view) != before:
            now = catalog.fingerprint(view)
            text = f"The definition of view {view!r} changed: its fingerprint was {before} and is {now}."
            found.append(Difference(DifferenceKind.DEFINITION, text, view=view, before=before, now=now))
    return found


def _has(catalog: Catalog, ref: str) -> bool:
    return _role(catalog, ref) is not None


def _role(catalog: Catalog, ref: str) -> str | None:
    view, _, feature = ref.partition(":")
    found = catalog.views.get(view) or catalog.on_demand.get(view)
    return found.features[feature].role if found is not None and feature in found.features else None


def _again(
    receipt: TrainingReceipt, catalog: Catalog, columns: Sequence[ColumnHash], ask: Callable[..., HistoricalResult]
) -> HistoricalResult:
    entities = receipt.rows.select([n for n in receipt.rows.column_names if n.startswith(ENTITY)])
    entities = entities.rename_columns([n.removeprefix(ENTITY) for n in entities.column_names])
    refs = [c.ref for c in columns]
    return ask(
        entities,
        refs,
        labels=[ref for ref in refs if _role(catalog, ref) == "label"],
        full_feature_names=receipt.full_feature_names,
        filter_by_created_timestamp=receipt.filter_by_created_timestamp,
        as_of=receipt.as_of,
        timestamp_column=receipt.timestamp_column,
    )


def _values(
    receipt: TrainingReceipt, columns: Sequence[ColumnHash], result: HistoricalResult
) -> tuple[list[Difference], int]:
    """Return the differences of dtype and value, and the number of rows with another value."""
    table = result.to_arrow()
    hashed, cells = result_columns(result.asked, {name: table.column(name) for name in result.feature_names})
    found: list[Difference] = []
    changed: pa.ChunkedArray | None = None
    for before, now in zip(columns, hashed, strict=True):
        if before.kind != now.kind:
            text = f"{before.ref}: its dtype was {before.kind} and is {now.kind}."
            found.append(Difference(DifferenceKind.DTYPE, text, feature=before.ref, before=before.kind, now=now.kind))
        differs = pc.not_equal(receipt.rows.column(f"{HASH}{before.name}"), cells[now.name])
        positions = pc.indices_nonzero(differs).to_pylist()
        if positions:
            found.append(_changed(receipt, before, positions, result, table.column(now.name)))
            changed = differs if changed is None else pc.or_(changed, differs)
    return found, 0 if changed is None else int(pc.sum(changed).as_py())


def _changed(
    receipt: TrainingReceipt,
    column: ColumnHash,
    positions: list[int],
    result: HistoricalResult,
    values: pa.ChunkedArray,
) -> Difference:
    first = positions[0]
    keys = {key: receipt.rows.column(f"{ENTITY}{key}")[first].as_py() for key in receipt.join_keys}
    time = receipt.rows.column(f"{ENTITY}{receipt.timestamp_column}")[first].as_py()
    event = result.event_timestamps[column.ref][first]
    example = {"position": first, "keys": keys, "time": time, "now": values[first].as_py(), "event_timestamp": event}
    told = ", ".join(f"{k}={v!r}" for k, v in keys.items())
    source = "from no source row" if event is None else f"from the source row of {event.isoformat()}"
    text = (
        f"{column.ref}: {len(positions)} of {receipt.row_count} rows have another value. The first is row {first} ({told}, "
        f"{time.isoformat()}): it is now {example['now']!r}, {source}."
    )
    return Difference(
        DifferenceKind.VALUES,
        text,
        feature=column.ref,
        rows=len(positions),
        positions=tuple(positions[:_SHOWN]),
        example=FrozenMap(example),
    )


def _verification(
    receipt: TrainingReceipt, differences: list[Difference], result: HistoricalResult | None, changed: int, at: datetime
) -> Verification:
    provenance: Any = None if result is None else result.provenance
    return Verification(
        identical=not differences,
        differences=tuple(differences),
        notes=tuple(_notes(receipt, result)),
        rows=receipt.row_count,
        rows_changed=changed,
        served_by=None if provenance is None else provenance.served_by,
        degraded=False if provenance is None else provenance.degraded,
        verified_at=at,
    )


def _notes(receipt: TrainingReceipt, result: HistoricalResult | None) -> list[str]:
    if result is None:
        return []
    found = []
    kind, provenance = result.asked.backend_kind, result.provenance
    if (kind, provenance.served_by) != (receipt.backend_kind, receipt.served_by):
        found.append(
            f"made by {receipt.served_by!r} ({receipt.backend_kind}), verified on {provenance.served_by!r} ({kind})"
        )
    if receipt.degraded:
        found.append(f"the training set was made of a degraded answer: {receipt.reason}")
    if provenance.degraded:
        found.append(f"what it was compared with is a degraded answer: {provenance.reason}")
    return found
