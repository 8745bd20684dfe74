"""Arrow IPC streams in and out: exact values, and no text in between."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from fastapi import Request, Response
from pydantic_core import to_json

from e2i_fs.errors import FeatureNameCollisionError, unstopped
from e2i_fs.server.arrow_size import declared_bytes, unpacked_bytes
from e2i_fs.server.body import WIDEST
from e2i_fs.server.refusals import BodyTooLargeError, InvalidBodyError
from e2i_fs.server.service import ARROW, told_headers
from e2i_fs.wire.desk import Desk
from e2i_fs.wire.plain import plain
from e2i_fs.wire.retrieving import AskedAtTimes, at_times, told_features, told_receipt

__all__ = ["arrow_rows", "historical_in_arrow", "wants_arrow"]

_KEY = b"e2i_fs"
_OFFSET = re.compile(r"[+-](?:[01]\d|2[0-3]):[0-5]\d")


def wants_arrow(request: Request) -> bool:
    """Return whether the caller accepts an Arrow stream by name."""
    accepted = request.headers.get("accept", "").lower().split(",")
    return ARROW in (kind.partition(";")[0].strip() for kind in accepted)


def arrow_rows(body: bytes, most: int) -> pa.Table:
    """Return the table of an Arrow IPC stream that has at most so many bytes unpacked, looked through before anything reads it.

    Raises `BodyTooLargeError` for more, `InvalidBodyError` for what is no such stream.
    """
    stream = pa.py_buffer(body)
    try:
        _require_room(declared_bytes(stream), most)
        with pa.ipc.open_stream(stream) as reader:
            if len(reader.schema) > WIDEST:
                raise ValueError(f"it has {len(reader.schema):,} columns; {WIDEST:,} are taken")
            table = reader.read_all()
        table.validate()
        _require_room(unpacked_bytes(table), most)  # before each value is looked at, for those of views may overlap
        table.validate(full=True)
        for field in table.schema:  # names that are no UTF-8 show here, as Arrow itself looks at none
            _require_zones(field.type)
    except BodyTooLargeError:
        raise
    except (pa.ArrowException, OSError, KeyError, IndexError, ValueError, struct.error) as error:
        raise InvalidBodyError(
            f"The body is no Arrow IPC stream that can be taken: {unstopped(error)[:200]}.",
            fix="Send one table in the streaming format, as pyarrow.ipc.new_stream writes it.",
        ) from error
    return table


def _require_room(unpacked: int, most: int) -> None:
    if unpacked > most:
        raise BodyTooLargeError(
            f"The body has {unpacked:,} bytes once it is unpacked; the server takes {most:,}.",
            fix="Send fewer rows at a time; whoever runs the server can raise --max-body.",
        )


def _require_zones(kind: pa.DataType) -> None:
    """Raise `ValueError` or `KeyError` for a time zone that there is not, wherever it stands in a type."""
    if pa.types.is_timestamp(kind) and kind.tz is not None and not _OFFSET.fullmatch(kind.tz):
        ZoneInfo(kind.tz)
    if pa.types.is_dictionary(kind):
        _require_zones(kind.value_type)
    for i in range(kind.num_fields):
        _require_zones(kind.field(i).type)


def historical_in_arrow(
    desk: Desk, asked: AskedAtTimes, rows: Sequence[Mapping[str, Any]] | pa.Table, *, statuses: bool
) -> Response:
    """Return features at each row's time as an Arrow stream: the rows' own columns, then the features (P-6, P-8).

    The schema's metadata has under ``e2i_fs`` what JSON answers beside its rows: features, provenance and receipt. With
    ``statuses`` a column ``NAME__status`` for each feature follows, dictionary-encoded.
    """
    request, result = at_times(desk, asked, rows)
    table = result.to_arrow()
    if statuses:
        for output in request.outputs:
            name = f"{output.name}__status"
            if name in table.column_names:
                raise FeatureNameCollisionError(f"A column is called {name!r} already; ask without statuses (P-9).")
            told = pa.array([status.value for status in result.statuses[output.ref]], pa.string())
            table = table.append_column(name, told.dictionary_encode())
    provenance = plain_provenance(result.provenance)
    about = {
        "features": told_features(request),
        "degraded": result.provenance.degraded,
        "provenance": provenance,
        "receipt": plain(told_receipt(result)),
    }
    metadata = {**(table.schema.metadata or {}), _KEY: to_json(about)}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table.replace_schema_metadata(metadata))
    return Response(sink.getvalue().to_pybytes(), media_type=ARROW, headers=told_headers(provenance))


def plain_provenance(provenance: Any) -> dict[str, Any]:
    """Return provenance as a document."""
    told: dict[str, Any] = plain(provenance)
    return told
