"""What is audited: the frame's columns lined up with the store's features, or the mistake that says which is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import FeatureService, FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import InvalidEntityFrameError, RequestError, did_you_mean
from e2i_fs.frames import Frame
from e2i_fs.frozen import FrozenMap
from e2i_fs.historical import EntityFrame
from e2i_fs.pit.times import column_to_us
from e2i_fs.request import Output, Request, resolve
from e2i_fs.results import HistoricalResult

if TYPE_CHECKING:
    from e2i_fs.protocol import FeatureStore

__all__ = ["Judged", "Question"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One column of the frame and the feature that it should be. ``view`` is None for what is computed on demand."""

    ref: str
    column: str
    dtype: DType
    view: FeatureView | None
    position: int
    label: bool


@dataclass(frozen=True)
class Question:
    """One audit: a frame, what its columns stand for, and the columns that have other parts to play."""

    entities: EntityFrame
    catalog: Catalog
    request: Request
    judged: tuple[Judged, ...]
    timestamp_column: str
    label_timestamp_column: str | None
    label_times: pa.ChunkedArray | None
    target: str | None
    misused: tuple[str, ...]

    @classmethod
    def of(
        cls,
        training_frame: Any,
        store: FeatureStore,
        features: Sequence[str] | FeatureService | str,
        *,
        labels: Sequence[str],
        target: str | None,
        timestamp_column: str,
        label_timestamp_column: str | None,
        full_feature_names: bool,
        columns: Mapping[str, str],
    ) -> Question:
        """Return the question, or raise the `RequestError` that says which part of it cannot be understood."""
        native = training_frame.to_native() if isinstance(training_frame, HistoricalResult) else training_frame
        entities = EntityFrame.checked(native, timestamp_column, reject_naive=False, what="training_frame")
        catalog = _catalog(store)
        labels = [labels] if isinstance(labels, str) else list(labels)
        misused = _labels_among(catalog, features)
        full = full_feature_names or bool(columns)
        request = resolve(catalog, features, labels=[*labels, *misused], full_feature_names=full)
        named = {o.ref for o in resolve(catalog, labels, labels=labels).outputs} if labels else set[str]()
        misused = tuple(ref for ref in misused if ref not in named)
        names = entities.frame.table.column_names
        for what, column in (("target", target), ("time of the label", label_timestamp_column)):
            if column is not None and column not in names:
                raise RequestError(f"The frame has no column {column!r}, the {what}.{did_you_mean(column, names)}")
        for ref in columns:
            asked = [o.ref for o in request.outputs]
            if ref not in asked:
                raise RequestError(f"columns= names {ref!r}, which is not asked for.{did_you_mean(ref, asked)}")
        judged = []
        for output in request.outputs:
            label = output.ref in named
            column = columns.get(output.ref) or _column(output, names, full_feature_names, label, len(named), target)
            if column not in names:
                raise RequestError(_absent(output, column, names, full_feature_names))
            view = catalog.views.get(output.view)
            position = -1 if view is None else [f.name for f in view.schema].index(output.field.name)
            judged.append(Judged(output.ref, column, output.field.dtype, view, position, label))
        if target is None and len(named) == 1:
            target = next(j.column for j in judged if j.label)
        _check_keys(entities, catalog, request)
        label_times = None
        if label_timestamp_column is not None:
            known = entities.frame.table.column(label_timestamp_column)
            label_times = column_to_us(known, label_timestamp_column, reject_naive=False)
        return cls(
            entities,
            catalog,
            request,
            tuple(judged),
            timestamp_column,
            label_timestamp_column,
            label_times,
            target,
            misused,
        )

    @property
    def frame(self) -> Frame:
        """The caller's frame."""
        return self.entities.frame

    @property
    def rows(self) -> int:
        """How many rows the frame has."""
        return len(self.entities.times)

    @property
    def asked(self) -> pa.Table:
        """The entity rows to ask the store about: keys, request columns and time, as far as the frame has them."""
        wanted = dict.fromkeys([*self.request.join_keys, *self.request.columns, self.timestamp_column])
        return self.frame.table.select([n for n in wanted if n in self.frame.table.column_names])

    @property
    def labelled(self) -> set[str]:
        """The references of this question that are labels by definition, however they were asked for (P-12)."""
        return {o.ref for o in self.request.outputs if o.field.role == "label"}

    @property
    def stored(self) -> dict[str, list[Judged]]:
        """The judged columns by stored view."""
        found: dict[str, list[Judged]] = {}
        for j in self.judged:
            if j.view is not None:
                found.setdefault(j.view.name, []).append(j)
        return found

    @property
    def inputs(self) -> list[str]:
        """The columns that a model would take: all but keys, time, target and labels."""
        parts = {
            self.timestamp_column,
            self.label_timestamp_column,
            self.target,
            *self.known_keys,
            *(j.column for j in self.judged if j.label),
        }
        return [n for n in self.frame.table.column_names if n not in parts]

    @property
    def key_columns(self) -> list[str]:
        """The join keys of the features asked for, of the labels' where nothing else is asked: whose rows these are.

        A key of an entity that no feature is of says nothing of whose values stand in a row. Were it counted, a number
        for each row would make every row an entity of its own, which no two splits share.
        """
        features = [o.ref for o in self.request.outputs if o.ref not in self.labelled]
        own = resolve(self.catalog, features, full_feature_names=True).join_keys if features else self.request.join_keys
        return [n for n in self.frame.table.column_names if n in own]

    @property
    def known_keys(self) -> list[str]:
        """The columns that are join keys of any entity of the store: ids, and no inputs of a model."""
        known = {key for entity in self.catalog.entities.values() for key in entity.keys}
        return [n for n in self.frame.table.column_names if n in known]


def _catalog(store: FeatureStore) -> Catalog:
    """Return what the store has registered, by its public lists."""
    return Catalog(
        entities=FrozenMap({e.name: e for e in store.list_entities()}),
        views=FrozenMap({v.name: v for v in store.list_feature_views()}),
        services=FrozenMap({s.name: s for s in store.list_feature_services()}),
        on_demand=FrozenMap({v.name: v for v in store.list_on_demand_feature_views()}),
    )


def _labels_among(catalog: Catalog, features: Any) -> tuple[str, ...]:
    """Return the labels that ``features`` names as if they were features (P-12)."""
    refs: Sequence[Any] = ()
    if isinstance(features, FeatureService):
        refs = features.refs
    elif isinstance(features, str):
        refs = [features] if ":" in features else catalog.service(features).refs
    elif isinstance(features, Sequence):
        refs = features
    roles = {f"{v.name}:{f.name}": f.role for v in catalog.views.values() for f in v.schema}
    return tuple(dict.fromkeys(r for r in refs if isinstance(r, str) and roles.get(r) == "label"))


def _column(output: Output, names: Sequence[str], full: bool, label: bool, labels: int, target: str | None) -> str:
    """Return the name that a column should have; the one label's may be the target's."""
    column = f"{output.view}__{output.field.name}" if full else output.field.name
    return target if label and labels == 1 and target is not None and column not in names else column


def _absent(output: Output, column: str, names: Sequence[str], full: bool) -> str:
    other = output.field.name if full else f"{output.view}__{output.field.name}"
    named = f" It has {other!r}: pass full_feature_names={not full}."
    hint = named if other in names else did_you_mean(column, names)
    return (
        f"The frame has no column {column!r}, which should be {output.ref!r}.{hint} If it has another name there, say so with "
        f"columns={{{output.ref!r}: ...}}; what is not in the frame should not be among the features."
    )


def _check_keys(entities: EntityFrame, catalog: Catalog, request: Request) -> None:
    """Raise for a missing key, and for a key column none of whose values can be a key: every cell would look wrong."""
    table = entities.frame.table
    for view in request.views:
        for name, dtype in catalog.join_keys(view).items():
            if name not in table.column_names:
                raise InvalidEntityFrameError(
                    f"The frame lacks the join key {name!r} of view {view!r} (P-11).{did_you_mean(name, table.column_names)}"
                )
            keys = entities.keyed({name: dtype}).column("k0")
            if keys.null_count == len(keys) and table.column(name).null_count < len(keys):
                raise InvalidEntityFrameError(
                    f"The join key {name!r} is {table.column(name).type} in the frame and {dtype!r} in the store, so no row "
                    f"of it can match (P-7). Convert the column to {dtype!r}."
                )
