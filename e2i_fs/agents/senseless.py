"""Rows that make no sense together: an id twice at one time, an outcome that never varies, a feature that is the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType

__all__ = ["senseless"]

_CLASSES = 20
_ROWS_PER_CLASS = 5


def senseless(batch: pa.Table, view: FeatureView, join_keys: Mapping[str, DType]) -> list[str]:
    """Return a sentence for everything in a checked batch by which nobody could train or serve."""
    return [*_twice(batch, view, join_keys), *_one_class(batch, view), *_label_copies(batch, view)]


def _twice(batch: pa.Table, view: FeatureView, join_keys: Mapping[str, DType]) -> Iterator[str]:
    columns = [*join_keys, view.event_column, *([view.created_column] if view.created_column else [])]
    counted = batch.select(columns).group_by(columns, use_threads=False).aggregate([([], "count_all")])
    twice = counted.filter(pc.greater(counted.column("count_all"), 1))
    for row in twice.slice(0, 5).to_pylist():
        key = ", ".join(f"{name}={row[name]!r}" for name in join_keys)
        when = " and ".join(
            f"{name} {row[name].isoformat() if row[name] else None}" for name in columns[len(join_keys) :]
        )
        yield f"{row['count_all']} rows have {key} at {when}: which of them is true cannot be told. Keep one of them"
    if len(twice) > 5:
        yield f"and {len(twice) - 5} more keys are there twice at one time"


def _one_class(batch: pa.Table, view: FeatureView) -> Iterator[str]:
    for field in view.schema:
        if field.role == "label" and len(batch) > 1 and not pa.types.is_nested(batch.column(field.name).type):
            values = pc.unique(batch.column(field.name).drop_null())
            if len(values) == 1:
                yield (
                    f"the label {field.name!r} is {values[0].as_py()!r} in every row that has one: with one class only no "
                    "model can learn it"
                )


def _label_copies(batch: pa.Table, view: FeatureView) -> Iterator[str]:
    """Give a sentence for each feature of ``batch`` that says its label, value for value.

    Each value of the one stands for one value of the other and misses where it misses: as it is, as 0 and 1, as text or
    as a category. That is looked for where a label has few classes with several rows each; of a label of many values
    only the value itself is a copy, for any two columns without repetition stand one for one.
    """
    labels = [f for f in view.schema if f.role == "label" and not pa.types.is_nested(batch.column(f.name).type)]
    features = [f for f in view.schema if f.role == "feature" and not pa.types.is_nested(batch.column(f.name).type)]
    for label in labels:
        outcome = batch.column(label.name)
        classes = _distinct(batch, label.name)
        few = classes <= _CLASSES and len(batch) >= _ROWS_PER_CLASS * classes
        for feature in features:
            column = batch.column(feature.name)
            same = column.type == outcome.type and column.equals(outcome)
            one_to_one = few and classes > 1 and (
                _distinct(batch, feature.name) == classes == _distinct(batch, feature.name, label.name)
            )  # fmt: skip
            if same or (one_to_one and column.null_count == outcome.null_count):
                how = "equals" if same else "says, value for value,"
                yield (
                    f"the feature {feature.name!r} {how} the label {label.name!r} in all {len(batch)} rows: a model would learn "
                    "to copy it. Leave it out with ignore=[...], or name it in labels"
                )


def _distinct(batch: pa.Table, *names: str) -> int:
    return len(batch.group_by(list(names), use_threads=False).aggregate([]))
