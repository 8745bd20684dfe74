"""Join keys as Feast's entity keys: no two keys have one message (P-7)."""

from __future__ import annotations

import decimal
from collections.abc import Mapping, Sequence
from typing import Any

import feast.types as ft
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from e2i_fs.backend import Key
from e2i_fs.dtypes import DType

__all__ = ["declared_key", "entity_key"]

_SECOND, _DAY = 1_000_000, 86_400
_KEY_TYPES: dict[str, Any] = {
    "int32": ft.Int32, "int64": ft.Int64, "string": ft.String, "bytes": ft.Bytes, "bool": ft.Int64,
    "timestamp": ft.UnixTimestamp, "date": ft.UnixTimestamp, "decimal": ft.String,
}  # fmt: skip


def declared_key(dtype: DType) -> Any:
    """Return the Feast type by which a join key of ``dtype`` is declared: an integer, text, bytes or seconds."""
    return _KEY_TYPES[dtype.kind]


def entity_key(join_keys: Mapping[str, DType], key: Sequence[Any] | Key) -> Any:
    """Return a join key as Feast's `EntityKey`; no two keys have one message (P-7)."""
    if not join_keys:
        return EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])
    values = [_key_message(value, dtype.kind) for value, dtype in zip(key, join_keys.values(), strict=True)]
    return EntityKey(join_keys=list(join_keys), entity_values=values)


def _key_message(value: Any, kind: str) -> Any:
    match kind:
        case "int32":
            return Value(int32_val=value)
        case "string":
            return Value(string_val=value)
        case "bytes":
            return Value(bytes_val=value)
        case "decimal":
            return Value(string_val=f"{decimal.Decimal(value).normalize():f}")
        case "date":
            return Value(unix_timestamp_val=value * _DAY)
        case "timestamp" if value % _SECOND == 0:
            return Value(unix_timestamp_val=value // _SECOND)
    # Whole numbers, true and false as 1 and 0, and times with sub-seconds in microseconds: their type tells them
    # from times in seconds.
    return Value(int64_val=int(value))
