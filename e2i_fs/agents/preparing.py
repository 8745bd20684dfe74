"""A frame and its metadata → the view it makes and the batch to write, every problem listed before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from e2i_fs.agents.columns import Columns
from e2i_fs.agents.inference import Inferred
from e2i_fs.agents.reading import REFUSED
from e2i_fs.agents.senseless import senseless
from e2i_fs.agents.spec import FeatureSpec
from e2i_fs.batch import checked_batch
from e2i_fs.definitions import Entity, FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidBatchError

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a frame comes to: its view with entities as objects, the batch in the view's dtypes, and what was inferred."""

    view: FeatureView
    join_keys: Mapping[str, DType]
    batch: pa.Table
    inferred: tuple[Inferred, ...]
    warnings: tuple[str, ...]


def prepare(
    table: pa.Table,
    spec: FeatureSpec,
    *,
    registered: Mapping[str, Entity],
    existing: FeatureView | None,
    now_us: int,
    skew_us: int,
) -> Prepared:
    """Return what ``table`` comes to, or raise `InvalidBatchError` with every problem of it.

    ``registered`` are the store's entities and ``existing`` its view of this name, whose dtypes stand. Times later than
    ``now_us`` and ``skew_us`` (microseconds) are refused.
    """
    columns = Columns(table, spec, existing)
    entities = columns.entities(registered)
    join_keys = {key: dtype for entity in entities for key, dtype in entity.keys.items()}
    source, note = spec.view_source()
    warnings = [note] if note else []
    columns.times()
    fields = columns.fields(join_keys)
    if not any(f.role == "feature" for f in fields):
        about = " and ".join(repr(entity.name) for entity in entities) or "nothing"
        if not fields:
            columns.problems.append(
                f"there are no features of {about}: every column is a key, a time, or left out. Add feature columns."
            )
        else:
            warnings.append(f"all columns of view {spec.view!r} are labels; none is ever given as a model input (P-12)")
    if columns.problems:
        raise InvalidBatchError(f"The frame for view {spec.view!r} {REFUSED}:", columns.problems)
    view = FeatureView(
        spec.view,
        entities=entities,
        schema=fields,
        source=source,
        ttl=spec.ttl,
        online=spec.online,
        max_staleness=spec.max_staleness,
        tags=spec.tags,
        owner=spec.owner,
        description=spec.description,
    )
    left_out = [i.column for i in columns.inferred if i.role == "left out"]
    batch = checked_batch(
        table.drop_columns(left_out), view, join_keys, now_us=now_us, skew_us=skew_us, reject_naive=False
    )
    problems = senseless(batch, view, join_keys)
    if problems:
        raise InvalidBatchError(f"The frame for view {spec.view!r} {REFUSED}:", problems)
    return Prepared(view, join_keys, batch, tuple(columns.inferred), (*warnings, *columns.warnings))
