"""One write as it is journalled and done: rows to a view, or a materialisation, on one backend at a time (X-5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.clock import Clock, to_us
from e2i_fs.dtypes import DType, Timestamp
from e2i_fs.errors import InvalidBatchError, ThrottledError, UnsupportedError
from e2i_fs.frozen import FrozenMap

if TYPE_CHECKING:
    import pyarrow as pa

    from e2i_fs.backend import Backend
    from e2i_fs.definitions import FeatureView
    from e2i_fs.ops.ledger import Ledger

__all__ = ["Entry", "Live", "Perform", "Progress", "decode_rows", "encode_rows", "performer", "widened"]

Progress = Callable[[str, int, int], None]
"""Called with the view, the rows written so far and the rows to write: windows not yet read count as the average of those that were."""

_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Live:
    """What goes with a run that is done now, and is not kept for one that is replayed later.

    ``progress`` is told of it. ``until`` is when its time is over, by the clock's `monotonic`, after ``timeout`` seconds. ``job`` is
    the job that it belongs to.
    """

    progress: Progress | None = None
    until: float | None = None
    timeout: float = 0.0
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One write to one view.

    ``kind`` is ``"write"``, or ``"materialize:..."``, equal for runs of which a later one does all that an earlier one would
    have done. ``key`` is its idempotency key, ``content`` tells other rows under the same key (W-2). ``details`` is JSON;
    ``rows`` has the checked rows of a write. ``live`` goes with a run that is done now, and is not kept.
    """

    view: str
    kind: str
    key: str
    content: str
    details: Mapping[str, Any] = field(default_factory=FrozenMap)
    rows: pa.Table | None = None
    live: Live | None = None

    @property
    def is_run(self) -> bool:
        """True for a materialisation."""
        return self.kind.startswith("materialize:")


Perform = Callable[[Entry, str, "Backend"], Any]
"""Does an entry on the backend of this name; returns what the receipt needs. Doing it twice is doing it once."""


def performer(ledger: Ledger, clock: Clock) -> Perform:
    """Return what does entries, with the records of runs in ``ledger``."""

    def perform(entry: Entry, name: str, backend: Backend) -> Any:
        if entry.is_run:
            return _run(entry, name, backend, ledger, clock)
        return _write(entry, backend, clock)

    return perform


def _write(entry: Entry, backend: Backend, clock: Clock) -> bool:
    """Add the rows to history, then online, so that nothing online lacks its history; say whether history had them not."""
    from e2i_fs.batch import online_rows

    to, rows, can = entry.details["to"], entry.rows, backend.capabilities
    assert rows is not None
    if (to != "online" and not can.append) or (to != "offline" and not can.online):
        raise UnsupportedError(f"This backend does not take writes to {to!r}; see its capabilities.")
    own = backend.definitions()
    if not own.has(entry.view) or own.fingerprint(entry.view) != entry.details["fingerprint"]:
        rows = _fitted(entry, own)
    batch_id = entry.details["batch_id"]
    fresh = backend.append(entry.view, rows, batch_id=batch_id) if to != "online" else True
    if to == "offline":
        return fresh
    given = online_rows(rows, own.view(entry.view), own.join_keys(entry.view))
    for _ in range(_ROUNDS):
        _check_kept(entry.view, own, backend.definitions())
        backend.online_write(entry.view, *given, at_us=to_us(clock.now()))
        now = backend.definitions()
        if to == "online" or now is own or not now.has(entry.view):
            return fresh
        _check_kept(entry.view, own, now)
        # Something was applied meanwhile. If the view was deleted and made anew, it has the online rows without their history,
        # or neither. History tells (W-2), and both are written again until it has had the batch all along.
        own = now
        rows = widened(rows, own.view(entry.view), own.join_keys(entry.view))
        given = online_rows(rows, own.view(entry.view), own.join_keys(entry.view))
        if not backend.append(entry.view, rows, batch_id=batch_id):
            return fresh
        fresh = True
    raise ThrottledError(
        f"View {entry.view!r} was made anew {_ROUNDS} times while a batch was being written; write the batch again."
    )


def _check_kept(view: str, own: Catalog, now: Catalog) -> None:
    """Raise unless rows that were written to ``view`` under ``own`` are kept under ``now`` (R-4)."""
    if now is own:
        return
    now.view(view)  # raises with the nearest names when it is gone
    if view in breaking_views(own, now):
        raise InvalidBatchError(
            f"View {view!r} changed while the batch was on its way. Nothing of it is kept; write the batch again."
        )


def _fitted(entry: Entry, own: Catalog) -> pa.Table:
    """Return the rows as the view is now, when that is another: fields added since are missing in them (R-4)."""
    from e2i_fs.values import arrow_type

    rows = entry.rows
    assert rows is not None
    if entry.details.get("replayed") and own.has(entry.view):
        view, join_keys = own.view(entry.view), own.join_keys(entry.view)
        types = {**dict(join_keys), **{f.name: f.dtype for f in view.schema}}
        if all(rows.schema.field(n).type == arrow_type(t) for n, t in types.items() if n in rows.column_names):
            return widened(rows, view, join_keys)
    raise InvalidBatchError(
        f"The definition of view {entry.view!r} was changed after the batch was checked against it. Nothing was written here; "
        "apply and write again."
    )


def widened(rows: pa.Table, view: FeatureView, join_keys: Mapping[str, DType]) -> pa.Table:
    """Return rows that were written under an older definition with every column that the view has now (R-4).

    The columns are in the view's order; what the rows lack is missing in them, and an older field is gone.
    """
    import pyarrow as pa

    from e2i_fs.values import arrow_type

    types = {**join_keys, view.event_column: Timestamp}
    types |= {view.created_column: Timestamp} if view.created_column else {}
    types |= {f.name: f.dtype for f in view.schema}
    columns = {
        name: rows.column(name) if name in rows.column_names else pa.nulls(len(rows), arrow_type(dtype))
        for name, dtype in types.items()
    }
    return pa.table(columns)


def _run(entry: Entry, name: str, backend: Backend, ledger: Ledger, clock: Clock) -> Any:
    from e2i_fs.ops.materialize import materialize_view

    details = entry.details
    return materialize_view(
        backend, name, backend.definitions(), entry.view, mode=details["mode"], start_us=details["start_us"],
        end_us=details["end_us"], batch_us=details.get("batch_us"), ledger=ledger, clock=clock, live=entry.live,
    )  # fmt: skip


def encode_rows(rows: pa.Table) -> bytes:
    """Return a table as bytes: an Arrow stream, compressed."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if rows.nbytes > 4096 else None)
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def decode_rows(data: bytes) -> pa.Table:
    """Return the table that `encode_rows` was given."""
    import pyarrow as pa

    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
