"""What Feast cannot say of a definition, in one tag of a Feast object that people go on editing.

Each item counts only as long as the object still says what it said when the tag was written: a field's dtype while the
field has the Feast type that stands for it, a service's order while it takes the same features. So whatever is changed in
Feast's own words counts, and the rest is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from e2i_fs.definitions import FeatureView, Field
from e2i_fs.dtypes import DType, Float64, Int64, dtype_from_canonical
from e2i_fs.errors import DefinitionError
from e2i_fs_feast.keys import declared_key
from e2i_fs_feast.neutral_types import NoNeutralFormError, neutral_dtype
from e2i_fs_feast.protos import declared_type

__all__ = [
    "EXTRA", "RESULTS", "extra_of", "field_extra", "plain_tags", "said_field", "said_key", "said_result", "tagged", "view_extra",
]  # fmt: skip

EXTRA = "e2i_fs_extra"
RESULTS: Mapping[str, DType] = {"int32": Int64, "float32": Float64}
"""What Feast's trial run of an on-demand function takes the numbers that it gives for, so they must be declared as that."""


def extra_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return what the tag says, {} when there is none; raise `NoNeutralFormError` when it is not one of ours."""
    try:
        form = json.loads(tags.get(EXTRA, "{}"))
    except ValueError as error:
        raise NoNeutralFormError(f"its tag {EXTRA!r} is no JSON ({error}); mend or remove the tag") from error
    if not isinstance(form, dict):
        raise NoNeutralFormError(f"its tag {EXTRA!r} is no JSON object; mend or remove the tag")
    return form


def plain_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are the user's own."""
    return {name: text for name, text in tags.items() if name != EXTRA}


def tagged(tags: Mapping[str, str], extra: Mapping[str, Any]) -> dict[str, str]:
    """Return ``tags`` with ``extra`` in ours, if there is anything to say."""
    return {**tags, **({EXTRA: json.dumps(extra, sort_keys=True)} if extra else {})}


def said_key(theirs: Any, extra: Mapping[str, Any]) -> DType | None:
    """Return the dtype that ``extra`` gives a join key, None when it says none for the Feast type ``theirs``."""
    dtype = _dtype(extra)
    return dtype if dtype is not None and declared_key(dtype) == theirs else None


def said_field(theirs: Any, extra: Mapping[str, Any]) -> DType | None:
    """Return the dtype that ``extra`` gives a field, None when it says none for the Feast type ``theirs``."""
    dtype = _dtype(extra)
    return dtype if dtype is not None and declared_type(dtype).to_value_type() == theirs.to_value_type() else None


def said_result(theirs: Any, extra: Mapping[str, Any]) -> DType | None:
    """Return the dtype that ``extra`` gives a number which a function computes, None when it says none for ``theirs``."""
    dtype = _dtype(extra)
    wide = None if dtype is None else RESULTS.get(dtype.kind)
    return dtype if wide is not None and declared_type(wide) == theirs else None


def _dtype(extra: Mapping[str, Any]) -> DType | None:
    try:
        return dtype_from_canonical(extra["dtype"]) if "dtype" in extra else None
    except (DefinitionError, TypeError, ValueError) as error:
        raise NoNeutralFormError(f"its tag {EXTRA!r} names no dtype: {error}") from error


def field_extra(field: Field) -> dict[str, Any]:
    """Return what Feast cannot say of a field: its role if it is a label, its dtype if Feast's type is not only that one's."""
    extra: dict[str, Any] = {} if field.role == "feature" else {"role": field.role}
    try:
        exact = neutral_dtype(declared_type(field.dtype)) == field.dtype and field.dtype.kind != "struct"
    except NoNeutralFormError:
        exact = False
    return extra if exact else {**extra, "dtype": field.dtype.canonical()}


def view_extra(view: FeatureView) -> dict[str, Any]:
    """Return what Feast cannot say of a view whose source is a stored one."""
    fields = {f.name: extra for f in view.schema if (extra := field_extra(f))}
    staleness = view.to_json()["max_staleness_us"]
    return {**({"fields": fields} if fields else {}), **({"max_staleness_us": staleness} if staleness else {})}
