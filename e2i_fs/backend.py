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
    "KnowsLosses",
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
    """What a backend declares that it can do: that works, and anything else raises `UnsupportedError` (G-3).

    - ``append``: it adds to history. ``online``: it reads and writes online rows.
    - ``sources``: the kinds of source that it reads in place (`Source.kind`).
    - ``key_kinds``, ``feature_kinds``: the kinds of dtype that it can keep (`DType.kind`); None means all.
    - ``local``: no call waits on a network, so calls need no extra thread that could be abandoned at the deadline
      (X-8).
    - ``persistent``: what was written is still there after `close`.
    - ``point_in_time``: it is a `NativePointInTime`. ``copyable``: it is `Copyable`. ``columnar``: it is `Columnar`.
    - ``certified``: the level of its certificate (``full``, ``partial`` or ``none``). A historical retrieval fails over
      only between backends of the same level (X-6).

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
    """Which rows count as known (P-3).

    ``filter_by_created`` uses, for each entity row, only rows with a created time up to the entity row's time;
    ``as_of_us`` only rows created up to that moment (microseconds, UTC). They may be combined; the default is neither.

    >>> from e2i_fs import Knowledge
    >>> Knowledge(filter_by_created=True).counts, Knowledge().counts
    (True, False)
    """

    filter_by_created: bool = False
    as_of_us: int | None = None

    @property
    def counts(self) -> bool:
        """True when either is set, so that a row without a created time is invisible."""
        return self.filter_by_created or self.as_of_us is not None


class OnlineRow(NamedTuple):
    """One online row of a view: its times in microseconds since 1970 (UTC), and its storage values by field name.

    >>> from e2i_fs import OnlineRow
    >>> row = OnlineRow(event_us=1_709_596_800_000_000, created_us=None, values={"trx_count": 14})
    >>> row.values["trx_count"]
    14
    """

    event_us: int
    created_us: int | None
    values: Mapping[str, Any]


class OnlineColumns(NamedTuple):
    """The online rows of some keys of a view as columns, each aligned with the keys.

    ``event_us`` and ``created_us`` are in microseconds since 1970 (UTC), ``values`` are storage values by field name.
    For a key without a row, all of them are None. A field that no row has may be left out of ``values``. ``sequence``
    is that of the view's `Position` at the moment of reading.
    """

    event_us: Sequence[int | None]
    created_us: Sequence[int | None]
    values: Mapping[str, Sequence[Any]]
    sequence: int


class Position(NamedTuple):
    """How far a view's online state has come: writes applied, newest event time, and rows.

    ``newest_event_us`` is in microseconds since 1970 (UTC), None when nothing is online.

    >>> from e2i_fs import Position
    >>> Position(sequence=3, newest_event_us=None, rows=0).sequence
    3
    """

    sequence: int
    newest_event_us: int | None
    rows: int


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """History that lies in Parquet files at ``paths``, which the engine reads itself.

    ``columns`` maps the view's column names (join keys, time columns, fields) to those of the files; names that are not
    in it are the same in both. ``missing_ok`` has the view's column names that an older file may lack.

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
    """History that the backend streams through ``reader``, with the view's own column names.

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
    """The protocol of a backend: a place that keeps definitions, history and online rows.

    A backend raises only errors of `e2i_fs.errors`, with the driver's own error as the cause (G-4).

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
        """Replace the stored catalogue with ``definitions``, entirely or not at all (R-1).

        Returns False, with nothing changed, when the `Catalog.revision` of the stored catalogue is no longer
        ``expected``: another process applied in between. This also deletes the online rows of views that are gone, or
        whose keys or dtypes change.
        """
        ...

    def definitions(self) -> Catalog:
        """Return the stored catalogue, whichever process changed it last (R-5). Must be cheap when unchanged.

        Must never be the same object as before another catalogue was stored: a caller who gets that object again concludes
        that nothing was applied in between.
        """
        ...

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """Return the history of ``view``: its join keys, time columns, and the fields named in ``columns``.

        ``keys`` (a table of distinct join keys) and ``until_us`` (the latest event time needed, in microseconds) are
        hints: more rows than needed are harmless, fewer are not. Rows may come in any order, duplicates included.
        """
        ...

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """Append checked rows (the view's columns and dtypes) to history, once for each ``batch_id`` (W-2).

        Returns True if the batch was added, False if it was there already. Raises `InvalidBatchError` when the id was
        used with other rows. Ids are compared exactly. When two handles append the same batch at the same time, exactly
        one gets True. A table without rows is a batch like any other; the core sends none.
        """
        ...

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """Return for each key the greatest row (P-4) with ``event_us <= at_us``, or None, in their order (O-5).

        The present is ``at_us``, never the backend's own clock (T-5). Without keys the result is empty.
        """
        ...

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge rows into the online state by P-4's order (O-1), each row entirely or not at all (O-7).

        ``rows`` are aligned with ``keys``. A row with an event time after ``at_us`` is kept beside the one that answers
        until then (O-2). `e2i_fs.online.merge` does both, and keeps the rows that answered in the last two seconds
        before ``at_us``, for reads that began then. The present is ``at_us``, never the backend's own clock (T-5).
        Reading, merging and writing are one step, so that no other handle's write comes in between. Returns how many
        keys changed; without keys, 0.
        """
        ...

    def position(self, view: str) -> Position:
        """Return how far the online state of ``view`` has come, for freshness (F-1) and parity (X-4).

        Every answer carries it (X-7), so it must work even if ``online`` is not declared: then the newest event time is
        None, there are no rows, and the sequence is whatever is counted, or 0.
        """
        ...

    def ping(self, deadline: float) -> float:
        """Return how many seconds the backend took to answer, or raise a `BackendError` within ``deadline`` seconds."""
        ...

    def close(self) -> None:
        """Close files and connections. Calling it twice is harmless."""
        ...


@runtime_checkable
class NativePointInTime(Protocol):
    """A backend that finds the answering rows itself, for history too large to bring to the engine.

    Declared with ``Capabilities(point_in_time=True)``. The results must be the same as those of the engine, only
    faster: the test kit compares the two.

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
        """Return the event time and features of the winning row (P-1, P-3 to P-8) of each entity row, in order.

        ``entities`` has the columns ``t`` (int64, microseconds since 1970, UTC) and ``k0``, ``k1``, … (the join keys,
        in the view's order and dtypes; None matches nothing). The result has as many rows, and the columns ``e``
        (int64, microseconds; None where nothing is visible) and one for each of ``features``, by name and in its dtype.
        Do not apply the ``ttl``: the core does, since it decides the statuses.
        """
        ...


@runtime_checkable
class Copyable(Protocol):
    """A backend that can give away everything that was written to it, so that another can be made its equal (X-4).

    Declared with ``Capabilities(copyable=True)``.
    """

    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        """Yield each batch appended to the history of ``view``: its ``batch_id``, and its rows as appended."""
        ...

    def online_rows(self, view: str) -> Iterator[tuple[Sequence[Key], Sequence[OnlineRow], int]]:
        """Yield all online rows of ``view`` in pieces, including rows whose event time is still to come.

        A piece is ``(keys, rows, at_us)``, rows aligned with keys; a key with several rows appears several times.
        `online_write` on another backend with that ``at_us`` keeps all of them. Rows written meanwhile may or may not
        be included.
        """
        ...


@runtime_checkable
class Columnar(Protocol):
    """A backend that reads several views in one call, and returns columns rather than rows.

    Declared with ``Capabilities(columnar=True)``. The results must be the same as those of `Backend.online_read` and
    `Backend.position`, only faster: the test kit compares them.
    """

    def online_columns(
        self, definitions: Catalog, asked: Mapping[str, Sequence[Key]], *, at_us: int
    ) -> Mapping[str, OnlineColumns]:
        """Return by view what `Backend.online_read` finds for its keys, if possible all from one snapshot.

        ``asked`` has the keys by view, perhaps none. ``definitions`` is a recent result of `Backend.definitions`: read
        the rows that are kept under it, so that nothing need be looked up twice.
        """
        ...


@runtime_checkable
class KnowsLosses(Protocol):
    """A backend that notices when online rows of a view are gone from it, such as one whose server was restarted empty.

    From then on its `online_read` raises `BackendUnavailableError`, whatever is written, until it is told that the rows
    are back. It is not declared: having the methods is enough.
    """

    def lost(self, view: str) -> int:
        """Return the number of the loss from which ``view`` has not recovered, 0 if there is none. Later losses have greater numbers."""
        ...

    def recovered(self, view: str, loss: int, *, until_us: int | None = None) -> bool:
        """Be told that the rows up to event time ``until_us`` (microseconds, UTC; None means all) were written again since ``loss``.

        Ends the refusal and returns True, unless rows were lost again since, or rows after ``until_us`` were lost too.
        """
        ...


@runtime_checkable
class HasTimeout(Protocol):
    """A backend whose driver accepts a timeout, so that an abandoned call ends in its thread too (X-8)."""

    def set_timeout(self, read: float, write: float) -> None:
        """Limit each reading call to ``read`` seconds of waiting on the network, any other to ``write`` seconds."""
        ...
