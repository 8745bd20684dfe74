"""Storage values as the bytes of Feast's value messages, and back.

Feast's online stores keep each feature as a serialised `Value`. That of a float is a tag and its own bytes, so for floats no
message is made; everything else goes by way of one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from feast.protos.feast.types.Value_pb2 import Value

from e2i_fs.dtypes import DType
from e2i_fs_feast.protos import exact, from_message, to_message

__all__ = ["Pack", "Unpack", "canonical", "packer", "unpacker"]

Pack = Callable[[Any], tuple[bytes, bool]]
"""Returns a storage value (None is missing) as the bytes to store, and whether they say all of it."""

Unpack = Callable[[bytes], Any]
"""Returns stored bytes as a storage value; raises `BackendDataError` when they are not of the dtype."""

_MISSING = (b"", True)  # the empty message, as Feast has it
_FLOATS = {
    "float64": (Value(double_val=0.0).SerializeToString()[:-8], struct.Struct("<d")),
    "float32": (Value(float_val=0.0).SerializeToString()[:-4], struct.Struct("<f")),
}


def packer(dtype: DType) -> Pack:
    """Return what packs values of ``dtype``.

    >>> packer(DType("float64"))(1.0) == (Value(double_val=1.0).SerializeToString(), True)
    True
    """
    if dtype.kind == "float64":
        tag, form = _FLOATS["float64"]
        number = form.pack

        def pack_float(value: Any) -> tuple[bytes, bool]:
            return _MISSING if value is None else (tag + number(value), True)

        return pack_float

    def pack(value: Any) -> tuple[bytes, bool]:
        if value is None:
            return _MISSING
        message = to_message(value, dtype)
        return message.SerializeToString(deterministic=True), exact(value, message, dtype)

    return pack


def unpacker(dtype: DType) -> Unpack:
    """Return what unpacks values of ``dtype``.

    >>> unpacker(DType("int64"))(Value(int64_val=2**53 + 1).SerializeToString())
    9007199254740993
    """

    def unpack(content: bytes) -> Any:
        return from_message(Value.FromString(content), dtype)

    if dtype.kind not in _FLOATS:
        return unpack
    tag, form = _FLOATS[dtype.kind]
    size, start, number = len(tag) + form.size, len(tag), form.unpack_from

    def unpack_float(content: bytes) -> Any:
        if len(content) == size and content.startswith(tag):
            return number(content, start)[0]
        return unpack(content)  # Feast may hold a whole number, or the float of the other size

    return unpack_float


def canonical(content: bytes) -> bytes:
    """Return a stored message with its maps in order, as this package writes them now."""
    ordered: bytes = Value.FromString(content).SerializeToString(deterministic=True)
    return ordered
