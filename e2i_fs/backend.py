"""What a backend is: nine methods that keep rows and never ask what a row means.

Times are integers here: microseconds since the Unix epoch, UTC (T-1). Values of online rows are *storage
values*: what `e2i_fs.values` makes of an Arrow column (integers for times and dates, text for decimals, Python
values otherwise), so that every backend can keep them in any encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from e2i_fs.frozen import FrozenMap

if TYPE_CHECKING:
    import pyarrow as pa

    from e2i_fs.catalog import Catalog

__all__ = [
    "ArrowRows",
    "Backend",
    "Capabilities",
    "Columnar",
    "Copyable",
    "HasTimeout",
    "Key",
    "Knowledge",
    "NativePointInTime",
    "OnlineColumns",
    "OnlineRow",
    "ParquetRows",
    "Position",
    "ScanPart",
]

Key = tuple[Any, ...]
"""One entity's join key values, in the view's join key order, each a storage value, none None."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend says it can do. What is declared works, what is not raises `UnsupportedError` (G-3).

    ``sources`` are the kinds of source it can read in place (`Source.kind`); ``key_kinds`` and
    ``feature_kinds`` the kinds of dtype it can keep (`DType.kind`), None meaning all. ``append`` is adding to
    history, ``online`` reading and writing online rows. ``local`` says that no call waits on a network, so
    that the core may call it without a thread to abandon when the deadline passes (X-8). ``persistent`` says
    that what was written is there after `close`. ``point_in_time`` says that it is a `NativePointInTime` too,
    ``copyable`` that it is `Copyable`, ``columnar`` that it is `Columnar`. ``certified`` is the level of its certificate (``full``, ``partial``, ``none``):
    a historical retrieval moves only between backends of one level (X-6).

    >>> from e2i_fs import Capabilities
    >>> Capabilities(local=True, sources=frozenset({"parquet"})).online  # what is not said is as it usually is
    True
    """

    append: bool = True
    online: bool = True
    sources: frozenset[str] = frozenset({"parquet", "push"})
    key_kinds: frozenset[str] | None = None
    feature_kinds: frozenset[str] | None = None
    local: bool = False
    persistent: bool = True
    point_in_time: bool = False
    copyable: bool = False
    columnar: bool = False
    certified: str = "none"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """How knowledge time counts (P-3): per entity row, up to one moment (µs), both or not at all.

    >>> from e2i_fs import Knowledge
    >>> Knowledge(filter_by_created=True).counts, Knowledge().counts
    (True, False)
    """

    filter_by_created: bool = False
    as_of_us: int | None = None

    @property
    def counts(self) -> bool:
        """True when a row without a created time is unknown."""
        return self.filter_by_created or self.as_of_us is not None


class OnlineRow(NamedTuple):
    """One row of a view as it stands online: its times in microseconds and its storage values by field name.

    >>> from e2i_fs import OnlineRow
    >>> row = OnlineRow(event_us=1_709_596_800_000_000, created_us=None, values={"trx_count": 14})
    >>> row.values["trx_count"]
    14
    """

    event_us: int
    created_us: int | None
    values: Mapping[str, Any]


class OnlineColumns(NamedTuple):
    """The online rows of some keys of a view as columns, each aligned with the keys: times in microseconds, storage values.

    Where a key has no row the event time and everything else is None. A field that is in no row may be left out of ``values``.
    ``sequence`` is that of the view's `Position` at the moment of reading.
    """

    event_us: Sequence[int | None]
    created_us: Sequence[int | None]
    values: Mapping[str, Sequence[Any]]
    sequence: int


class Position(NamedTuple):
    """How far a view's online state is: writes applied, newest event time (µs, None if empty), and rows.

    >>> from e2i_fs import Position
    >>> Position(sequence=3, newest_event_us=None, rows=0).sequence
    3
    """

    sequence: int
    newest_event_us: int | None
    rows: int


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """History that lies in Parquet files, which the engine reads itself.

    ``columns`` maps the view's column name (join key, time column, field) to the file's own; names that are
    not in it are the same in both. ``missing_ok`` has the view's names that an older file may lack.

    >>> from e2i_fs import ParquetRows
    >>> rows = ParquetRows(("visits.parquet",), {"event_timestamp": "visited_at"})
    >>> rows.columns["event_timestamp"]
    'visited_at'
    """

    paths: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=FrozenMap)
    missing_ok: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ArrowRows:
    """History that the backend streams, with the view's own column names (join keys, time columns, fields).

    >>> from e2i_fs import ArrowRows
    >>> import pyarrow as pa
    >>> table = pa.table({"hcp_id": ["hcp_1"], "event_timestamp": pa.array([0], pa.timestamp("us", "UTC")), "trx_count": [14]})
    >>> ArrowRows(table.to_reader()).reader.read_all().num_rows
    1
    """

    reader: pa.RecordBatchReader


ScanPart = ParquetRows | ArrowRows


@runtime_checkable
class Backend(Protocol):
    """A place that keeps definitions, history and online rows.

    Every error that leaves a backend is one of `e2i_fs.errors` with the driver's as its cause (G-4).

    >>> from e2i_fs import Backend
    >>> from e2i_fs.testing import FakeClock
    >>> from e2i_fs.testing.memory import MemoryBackend
    >>> backend = MemoryBackend("mine", FakeClock())
    >>> isinstance(backend, Backend), backend.capabilities.persistent
    (True, False)
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do."""
        ...

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """Replace the kept catalogue with ``definitions``, whole or not at all (R-1).

        Returns False, having changed nothing, when the kept catalogue's `Catalog.revision` is no longer
        ``expected``: somebody else applied in between. Online rows of a view whose keys or dtypes change, or
        that is gone, go too.
        """
        ...

    def definitions(self) -> Catalog:
        """Return the kept catalogue as it is now, whichever process changed it last (R-5). Cheap when unchanged.

        Never the very object that it gave before another catalogue was kept: who gets that one knows that nothing was applied
        meanwhile.
        """
        ...

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """Return the history of ``view``: join keys, time columns and the fields named in ``columns``.

        ``keys`` (a table of distinct join keys) and ``until_us`` (no later event time is needed) are hints: more
        rows than asked for are harmless, fewer are not. Rows in any order, duplicates included.
        """
        ...

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """Add checked rows (the view's columns and dtypes) to history, once for each ``batch_id`` (W-2).

        Returns False when the batch was there already. Raises `InvalidBatchError` when it was there with
        other content. Ids are compared exactly, and of two handles that add one batch at once one is told True. A table
        without rows is a batch as any other; the core sends none.
        """
        ...

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """Return for each key the greatest row (P-4) with ``event_us <= at_us``, or None; aligned with ``keys`` (O-5).

        The moment is ``at_us``, never the backend's own clock (T-5). Without keys there are no answers.
        """
        ...

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge rows into the online state by P-4's order (O-1), each row whole or not at all (O-7).

        A row later than ``at_us`` is kept beside the one that answers until then (O-2); `e2i_fs.online.merge`
        does both, and keeps the rows that answered in the last two seconds before ``at_us``, for reads that began then. The
        present moment is ``at_us``, never the backend's own clock (T-5). Reading, merging and writing are one step that no other
        handle's write comes between. Returns how many keys changed; a call without keys changes none and returns 0.
        """
        ...

    def position(self, view: str) -> Position:
        """Return how far the online state of ``view`` is, for freshness (F-1) and parity (X-4).

        Every answer carries it (X-7), so it answers where ``online`` is not declared too: newest event time None, no rows, and
        as sequence whatever is counted, 0 if nothing is.
        """
        ...

    def ping(self, deadline: float) -> float:
        """Return how many seconds the backend took to answer, or raise a `BackendError` within ``deadline`` seconds."""
        ...

    def close(self) -> None:
        """Let go of files and connections. Calling it twice is harmless."""
        ...


@runtime_checkable
class NativePointInTime(Protocol):
    """A backend that finds the answering rows where they lie, for history that should not be pulled to the engine.

    Declared with ``Capabilities(point_in_time=True)``. It is the reference path with work skipped, never another
    meaning: the kit compares the two.

    >>> from e2i_fs import NativePointInTime
    >>> from e2i_fs.testing import FakeClock
    >>> from e2i_fs.testing.memory import MemoryBackend
    >>> from e2i_fs.testing.native import NativeMemoryBackend
    >>> isinstance(MemoryBackend("rows", FakeClock()), NativePointInTime)
    False
    >>> isinstance(NativeMemoryBackend("answers", FakeClock()), NativePointInTime)
    True
    """

    def point_in_time(self, view: str, entities: pa.Table, features: Sequence[str], knowledge: Knowledge) -> pa.Table:
        """Return the winner (P-1, P-3 to P-8) of each entity row, in their order: its time and its features.

        ``entities`` has the columns ``t`` (int64, µs UTC) and ``k0..`` (the join keys in the view's order and in
        their dtypes, None matching nothing), any number of rows. The result has as many rows, and the columns ``e``
        (int64, µs, None where nothing is visible) and one for each of ``features``, by name and in its dtype. The
        ``ttl`` is not applied here: the core does that, as it decides the statuses.
        """
        ...


@runtime_checkable
class Copyable(Protocol):
    """A backend that can give away all it was written, so that another one may be made its equal (X-4).

    Declared with ``Capabilities(copyable=True)``.
    """

    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        """Yield each batch that was appended to the history of ``view``: its ``batch_id`` and its rows as `append` got them."""
        ...

    def online_rows(self, view: str) -> Iterator[tuple[Sequence[Key], Sequence[OnlineRow], int]]:
        """Yield all online rows of ``view`` in pieces, rows that wait for their time included.

        A piece has keys, their rows (a key with several rows is there several times), and the ``at_us`` with which
        `online_write` elsewhere keeps all of them. What is written meanwhile may be in it or not.
        """
        ...


@runtime_checkable
class Columnar(Protocol):
    """A backend that reads several views at once, and gives columns rather than rows.

    Declared with ``Capabilities(columnar=True)``. It is `Backend.online_read` and `Backend.position` with work skipped, never
    another meaning: the kit compares them.
    """

    def online_columns(
        self, definitions: Catalog, asked: Mapping[str, Sequence[Key]], *, at_us: int
    ) -> Mapping[str, OnlineColumns]:
        """Return for each view what `Backend.online_read` has for its keys, all views of one snapshot where there is one.

        ``definitions`` is a value that `Backend.definitions` gave a moment ago: the rows are those kept under it, so that nothing
        need be looked up twice. A view may be asked without keys.
        """
        ...


@runtime_checkable
class HasTimeout(Protocol):
    """A backend whose driver takes a timeout, so that a call that is given up ends in its thread too (X-8)."""

    def set_timeout(self, read: float, write: float) -> None:
        """Let no reading call wait on the network for more than ``read`` seconds, no other for more than ``write``."""
        ...
