"""Features that are a label in disguise, seen before anything is registered."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from e2i_fs.definitions import FeatureView

__all__ = ["label_copies"]

_CLASSES = 20
_ROWS_PER_CLASS = 5


def label_copies(batch: pa.Table, view: FeatureView) -> Iterator[str]:
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
