"""How large an Arrow stream is once it is unpacked, told before anything of it is.

A few bytes may stand for very many: buffers that are compressed, a dictionary whose one long text every row names, views
that all look at the same text, columns that have rows and no bytes. All are counted as if they were written out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["declared_bytes", "unpacked_bytes"]

_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # of the union MessageHeader in Arrow's Message.fbs


def declared_bytes(stream: pa.Buffer) -> int:
    """Return how many bytes the bodies of a stream's messages say that they have once they are decompressed.

    Raises what pyarrow raises for what is no stream, `struct.error` for one whose messages lead outside of themselves.

    >>> sink = pa.BufferOutputStream()
    >>> table = pa.table({"n": pa.repeat(0, 100_000)})
    >>> with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
    ...     writer.write_table(table)
    >>> stream = sink.getvalue()
    >>> stream.size < 2_000, declared_bytes(stream)
    (True, 800000)
    """
    return sum(sum(_lengths(message)) for message in pa.ipc.MessageReader.open_stream(stream))


def _lengths(message: pa.Message) -> Iterator[int]:
    """Yield the length of each buffer of a message once it is decompressed."""
    metadata, body = memoryview(message.metadata), message.body
    root = _Table(metadata, struct.unpack_from("<I", metadata, 0)[0])
    kind = root.byte(1)
    if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return
    batch = root.table(2)
    if batch is not None and kind == _DICTIONARY_BATCH:
        batch = batch.table(1)
    if batch is None:
        return
    compressed = batch.table(3) is not None
    content = memoryview(body) if body is not None else memoryview(b"")
    for offset, length in batch.pairs(2):
        told = -1
        if compressed and length > 0:
            (told,) = struct.unpack_from("<q", content, offset)
        yield length if told == -1 else max(told, length)


class _Table:
    """A table of a flatbuffer: where its fields are is said in a table of offsets before it."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._at = data, at
        self._offsets = at - struct.unpack_from("<i", data, at)[0]
        (self._end,) = struct.unpack_from("<H", data, self._offsets)

    def byte(self, field: int) -> int:
        """Return a field of one byte, 0 when it is not there."""
        at = self._field(field)
        return self._data[at] if at else 0

    def table(self, field: int) -> _Table | None:
        """Return a field that is a table, None when it is not there."""
        at = self._field(field)
        return _Table(self._data, at + struct.unpack_from("<I", self._data, at)[0]) if at else None

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """Yield the pairs of a field that is a list of two int64 each, which is what Arrow's Buffer is."""
        at = self._field(field)
        if at:
            at += struct.unpack_from("<I", self._data, at)[0]
            (count,) = struct.unpack_from("<I", self._data, at)
            yield from struct.iter_unpack("<qq", self._data[at + 4 : at + 4 + 16 * count])

    def _field(self, field: int) -> int:
        slot = 4 + 2 * field
        if slot >= self._end:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._offsets + slot)
        return self._at + offset if offset else 0


def unpacked_bytes(table: pa.Table) -> int:
    """Return at least how many bytes a table has when each row has its values for itself, one or more for each value.

    Nothing but lengths is read of it, so its values need not be valid yet. Raises `ValueError` for a kind of column that is not counted, as views of lists, which may overlap.

    >>> unpacked_bytes(pa.table({"name": pa.array(["x" * 1_000] * 5_000).dictionary_encode()})) > 5_000_000
    True
    """
    return sum(_bytes(chunk) for column in table.columns for chunk in column.chunks)


def _bytes(values: pa.Array) -> int:
    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        return _bytes(values.storage)
    if pa.types.is_dictionary(kind):
        return len(values) * _widest(values.dictionary) + _bytes(values.dictionary)
    if pa.types.is_run_end_encoded(kind):
        return len(values) * _widest(values.values) + _bytes(values.values)
    if _is_view(kind):
        return 16 * len(values) + (pc.sum(_texts(values)).as_py() or 0)
    if pa.types.is_struct(kind):
        return len(values) + sum(_bytes(values.field(i)) for i in range(kind.num_fields))
    if (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_map(kind)
    ):
        return len(values) + _bytes(values.values)
    if kind.num_fields:
        raise ValueError(f"a column of {kind} is not taken")
    return max(len(values), int(values.nbytes))


def _widest(values: pa.Array) -> int:
    """Return the bytes of the largest value, or of all together where that is not told."""
    kind = values.type
    if (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
    ):
        return 1 + (pc.max(pc.binary_length(values)).as_py() or 0)
    if _is_view(kind):
        return 16 + (pc.max(_texts(values)).as_py() or 0)
    return max(1, kind.bit_width // 8) if pa.types.is_primitive(kind) else 1 + _bytes(values)


def _texts(values: pa.Array) -> pa.Array:
    """Return the length of each text of a view: the first four bytes of its sixteen, as nothing in pyarrow tells it."""
    views = values.buffers()[1]
    words = pa.Array.from_buffers(pa.int32(), 4 * (len(values) + values.offset), [None, views])
    lengths = words.take(pa.array(range(4 * values.offset, 4 * (values.offset + len(values)), 4), pa.int64()))
    return pc.max_element_wise(lengths, 0)


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))
