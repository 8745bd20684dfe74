"""Storage values as Feast's value messages, and back.

A value message says what Feast can say of a value. Where that is less than the value (a `UnixTimestamp` has no
sub-seconds, a typed list no missing element), `exact` is False and the value itself is kept beside it.
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Mapping
from typing import Any

import feast.types as ft
import msgpack
from feast.protos.feast.types.Value_pb2 import Value

from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError

__all__ = ["declared_type", "exact", "from_message", "to_message"]

_SECOND, _DAY = 1_000_000, 86_400
_NOT_A_TIME = -(2**63)  # how Feast writes a missing time

_DECLARED: dict[str, Any] = {
    "int32": ft.Int32, "int64": ft.Int64, "float32": ft.Float32, "float64": ft.Float64, "bool": ft.Bool,
    "string": ft.String, "bytes": ft.Bytes, "json": ft.Json, "timestamp": ft.UnixTimestamp, "date": ft.UnixTimestamp,
    "decimal": ft.Decimal,
}  # fmt: skip
_ONE: dict[str, str] = {
    "int32": "int32_val", "int64": "int64_val", "float32": "float_val", "float64": "double_val", "bool": "bool_val",
    "string": "string_val", "bytes": "bytes_val", "json": "json_val", "decimal": "decimal_val",
    "timestamp": "unix_timestamp_val", "date": "unix_timestamp_val",
}  # fmt: skip
_MANY: dict[str, str] = {kind: name.replace("_val", "_list_val") for kind, name in _ONE.items()}
_ALWAYS_EXACT = frozenset(
    {"int32", "int64", "float32", "float64", "bool", "string", "bytes", "json", "decimal", "date", "vector"}
)


def declared_type(dtype: DType) -> Any:
    """Return the Feast type by which a feature of ``dtype`` is declared in the repository."""
    if dtype.kind == "struct":
        return ft.Struct({name: declared_type(inner) for name, inner in dtype.fields})
    if dtype.kind == "vector":
        return ft.Array(ft.Float32)
    if dtype.kind == "array":
        assert dtype.element is not None
        return ft.Array(declared_type(dtype.element))
    return _DECLARED[dtype.kind]


def to_message(value: Any, dtype: DType) -> Any:
    """Return a storage value as a Feast `Value`; missing is the empty message, as Feast has it."""
    if value is None:
        return Value()
    kind = dtype.kind
    if kind in _ONE:
        return Value(**{_ONE[kind]: _feast_number(value, kind)})
    message = Value()
    if kind == "struct":
        _fill(message.struct_val, value, dtype)
        return message
    if kind == "vector":
        message.float_list_val.val.extend(value)
        return message
    assert dtype.element is not None
    element = dtype.element
    if element.kind in _MANY:
        if None in value:
            return Value()  # a typed list has no missing element
        numbers = [_feast_number(v, element.kind) for v in value]
        filled = getattr(message, _MANY[element.kind])
        filled.SetInParent()
        filled.val.extend(numbers)
    elif element.kind == "struct":
        message.struct_list_val.SetInParent()
        for one in value:
            _fill(message.struct_list_val.val.add(), one or {}, element)
    else:
        message.list_val.SetInParent()
        message.list_val.val.extend([to_message(one, element) for one in value])
    return message


def _fill(record: Any, value: Mapping[str, Any], dtype: DType) -> None:
    record.SetInParent()
    for name, inner in dtype.fields:
        record.val[name].CopyFrom(to_message(value.get(name), inner))


def _feast_number(value: Any, kind: str) -> Any:
    if kind == "timestamp":
        return value // _SECOND
    return value * _DAY if kind == "date" else value


def exact(value: Any, message: Any, dtype: DType) -> bool:
    """True when ``message`` says all of ``value``."""
    if value is None or dtype.kind in _ALWAYS_EXACT:
        return True
    if dtype.kind == "timestamp":
        return bool(value % _SECOND == 0)
    return bool(msgpack.packb(from_message(message, dtype)) == msgpack.packb(value))


def from_message(message: Any, dtype: DType) -> Any:
    """Return a Feast `Value` as a storage value of ``dtype``.

    Raises `BackendDataError` when the message holds what the dtype cannot be, as Feast writes whatever it is given.
    """
    which = message.WhichOneof("val")
    if which is None or which == "null_val":
        return None
    read = _READ.get(dtype.kind)
    held = getattr(message, which)
    try:
        return (read or _simple)(which, held, dtype)
    except (TypeError, ValueError, KeyError, decimal.DecimalException) as error:
        raise BackendDataError(
            f"Feast holds a {which} where {dtype!r} is declared ({error}); materialise the view again."
        ) from error


_WHOLE = frozenset({"int32_val", "int64_val"})
_PLAIN: dict[str, frozenset[str]] = {
    "int32": _WHOLE, "int64": _WHOLE, "bool": frozenset({"bool_val"}), "bytes": frozenset({"bytes_val"}),
    "string": frozenset({"string_val", "uuid_val", "time_uuid_val"}),
}  # fmt: skip


def _simple(which: str, held: Any, dtype: DType) -> Any:
    if which not in _PLAIN[dtype.kind]:
        raise TypeError(f"not one of {', '.join(sorted(_PLAIN[dtype.kind]))}")
    return held


def _float(which: str, held: Any, _: DType) -> float:
    if which not in ("float_val", "double_val", *_WHOLE):
        raise TypeError("not a number")
    return float(held)


def _json(which: str, held: Any, _: DType) -> str:
    if which not in ("json_val", "string_val"):
        raise TypeError("not JSON text")
    json.loads(held)
    return str(held)


def _time(which: str, held: Any, dtype: DType) -> int | None:
    seconds = held.unix_timestamp if which == "zoned_timestamp_val" else held
    if which not in ("unix_timestamp_val", "zoned_timestamp_val"):
        raise TypeError("not a time")
    if seconds == _NOT_A_TIME:
        return None
    return int(seconds // _DAY if dtype.kind == "date" else seconds * _SECOND)


def _decimal(which: str, held: Any, dtype: DType) -> str:
    precision, scale = dtype.numbers
    if which not in ("decimal_val", "string_val", *_WHOLE):
        raise TypeError("not a decimal")
    exactly = decimal.Context(prec=precision, traps=[decimal.Inexact, decimal.InvalidOperation])
    return str(decimal.Decimal(held).quantize(decimal.Decimal(1).scaleb(-scale), context=exactly))


def _struct(which: str, held: Any, dtype: DType) -> dict[str, Any]:
    if which not in ("struct_val", "map_val"):
        raise TypeError("not a struct")
    return _record(held, dtype)


def _record(held: Any, dtype: DType) -> dict[str, Any]:
    # `in` first: asking a map of messages for a name that is not there would put it in.
    return {name: from_message(held.val[name], inner) if name in held.val else None for name, inner in dtype.fields}


def _list(which: str, held: Any, dtype: DType) -> list[Any]:
    element = DType("float32") if dtype.kind == "vector" else dtype.element
    assert element is not None
    if not which.endswith("list_val"):
        raise TypeError("not a list")
    if which in ("struct_list_val", "map_list_val"):
        return [_record(one, element) for one in held.val]
    if which == "list_val":
        return [from_message(one, element) for one in held.val]
    one_of = which.replace("_list_val", "_val")
    read: Callable[[str, Any, DType], Any] = _READ.get(element.kind, _simple)
    return [read(one_of, one, element) for one in held.val]


_READ: dict[str, Callable[[str, Any, DType], Any]] = {
    "float32": _float, "float64": _float, "json": _json, "timestamp": _time, "date": _time, "decimal": _decimal,
    "struct": _struct, "array": _list, "vector": _list,
}  # fmt: skip
