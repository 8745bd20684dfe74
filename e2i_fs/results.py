"""What comes back: values with their statuses, event times and provenance. Frozen, and lazy where it costs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from e2i_fs.cached import cached
from e2i_fs.clock import from_us
from e2i_fs.frozen import FrozenMap

if TYPE_CHECKING:
    import pyarrow as pa

    from e2i_fs.dtypes import DType
    from e2i_fs.frames import Frame
    from e2i_fs.historical import Evidence
    from e2i_fs.pit.explain import Explanation
    from e2i_fs.receipts.receipt import TrainingReceipt

__all__ = ["Asked", "Attempt", "FeatureStatus", "HistoricalResult", "OnlineResult", "Provenance"]

V = TypeVar("V")


class FeatureStatus(enum.StrEnum):
    """The status of one value (O-3).

    ``PRESENT``: there is a value. ``NULL_VALUE``: the row has none in this column. ``NOT_FOUND``: the key has no
    visible row. ``OUTSIDE_MAX_AGE``: the row is older than the view's ``ttl`` (P-2).

    >>> from e2i_fs import FeatureStatus
    >>> FeatureStatus("NOT_FOUND") is FeatureStatus.NOT_FOUND, str(FeatureStatus.PRESENT)
    (True, 'PRESENT')
    """

    PRESENT = "PRESENT"
    NULL_VALUE = "NULL_VALUE"
    NOT_FOUND = "NOT_FOUND"
    OUTSIDE_MAX_AGE = "OUTSIDE_MAX_AGE"


STATUSES = (
    FeatureStatus.PRESENT,
    FeatureStatus.NULL_VALUE,
    FeatureStatus.NOT_FOUND,
    FeatureStatus.OUTSIDE_MAX_AGE,
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One backend that was asked or skipped for an answer: how that ended, and how long it took, in seconds (X-7).

    ``outcome`` is ``answered``; ``failed`` (unavailable, too late or throttled: see ``error``); ``not the same`` (it is
    up but would not answer as the contract says: see ``error``); ``slow`` (another was asked as well); or ``open``,
    ``half-open`` or ``isolated`` (it was not called).

    >>> from e2i_fs.testing import example_store
    >>> two = {"backends": [{"name": "primary", "backend": "memory"}, {"name": "standby", "backend": "memory"}]}
    >>> with example_store(two) as store:
    ...     store.isolate("primary")
    ...     answer = store.get_online_features("hcp_model", [{"hcp_id": "hcp_1"}])
    >>> [(attempt.backend, attempt.outcome) for attempt in answer.provenance.attempts]
    [('primary', 'isolated'), ('standby', 'answered')]
    """

    backend: str
    outcome: str
    duration: float = 0.0
    error: str | None = None

    @property
    def cause(self) -> str:
        """Why it did not answer, as one of a few classes: the class of its error if it failed, otherwise the outcome.

        >>> Attempt("primary", "failed", 0.1, "DeadlineExceededError: no answer").cause
        'DeadlineExceededError'
        """
        return (self.error or "failed").partition(":")[0] if self.outcome == "failed" else self.outcome


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer comes from (X-7).

    ``served_by`` is the backend that answered, ``role`` its role (``primary`` or ``standby``), and ``attempts`` has
    each backend tried. ``degraded`` says that the answer may differ from the contract's, and ``reason`` why.
    ``fingerprints`` are those of the views used, by view. ``position`` is, by view, the number of the last write up to
    which the backend has every write: in the store's journal when there are several backends, in the backend's own
    count when there is one. ``age`` is now minus the newest event time in the answer, as a `timedelta`; None if no
    value was found.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     _ = store.materialize_incremental()
    ...     told = store.get_online_features("hcp_model", [{"hcp_id": "hcp_1"}]).provenance
    >>> told.served_by, told.degraded, str(told.age)
    ('memory', False, '5 days, 12:00:00')
    """

    served_by: str
    role: str = "primary"
    degraded: bool = False
    reason: str | None = None
    attempts: tuple[Attempt, ...] = ()
    fingerprints: Mapping[str, str] = field(default_factory=FrozenMap)
    position: Mapping[str, int] = field(default_factory=FrozenMap)
    age: timedelta | None = None


class _Lazy(Mapping[str, V]):
    """A mapping whose values are made when they are asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], V]]) -> None:
        self._makers = makers
        self._made: dict[str, V] = {}

    def __getitem__(self, key: str) -> V:
        if key not in self._made:
            self._made[key] = self._makers[key]()
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a historical retrieval was asked, enough to ask it again.

    ``refs``, ``names`` and ``dtypes`` are those of the outputs, in order; ``labels`` the references among them that are
    labels; ``columns`` the request columns that on-demand views take; ``times`` the entity rows' times in microseconds;
    ``backend_kind`` the plugin that answered, ``at`` when.
    """

    refs: tuple[str, ...]
    names: tuple[str, ...]
    dtypes: tuple[DType, ...]
    labels: tuple[str, ...]
    join_keys: tuple[str, ...]
    columns: tuple[str, ...]
    timestamp_column: str
    times: pa.ChunkedArray
    full_feature_names: bool
    filter_by_created_timestamp: bool
    as_of: datetime | None
    backend_kind: str
    at: datetime


class HistoricalResult:
    """The answer of `FeatureStore.get_historical_features`: one row for each entity row, in the same order (P-6).

    ``statuses`` and ``event_timestamps`` are keyed by ``view:feature``, each a list as long as the rows: the
    `FeatureStatus` of each value, and the event time (UTC) of its source row, None where there is none (O-3).
    ``provenance`` says who answered.

    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from e2i_fs.testing import example_store
    >>> asked = pa.table({"hcp_id": ["hcp_1", "hcp_9"], "event_timestamp": [datetime(2024, 3, 6)] * 2})
    >>> with example_store() as store:
    ...     result = store.get_historical_features(asked, ["hcp_stats:trx_count"])
    >>> result
    <HistoricalResult: 2 rows, features ['trx_count'], by 'memory'>
    >>> result.to_arrow().column_names, result.event_timestamps["hcp_stats:trx_count"][0].day
    (['hcp_id', 'event_timestamp', 'trx_count'], 5)
    """

    def __init__(
        self,
        frame: Frame,
        columns: Mapping[str, pa.ChunkedArray],
        codes: Mapping[str, pa.ChunkedArray],
        events: Mapping[str, pa.ChunkedArray],
        provenance: Provenance,
        evidence: Evidence,
        asked: Asked,
    ) -> None:
        self._frame = frame
        self._columns = columns
        self._evidence = evidence
        self._receipt: TrainingReceipt | None = None
        self.asked = asked
        self.provenance = provenance
        self.statuses: Mapping[str, list[FeatureStatus]] = _Lazy(
            {ref: lambda c=c: [STATUSES[code] for code in c.to_pylist()] for ref, c in codes.items()}  # type: ignore[misc]
        )
        self.event_timestamps: Mapping[str, list[datetime | None]] = _Lazy(
            {ref: lambda c=c: [None if e is None else from_us(e) for e in c.to_pylist()] for ref, c in events.items()}  # type: ignore[misc]
        )

    def __len__(self) -> int:
        return len(self._frame.table)

    def __repr__(self) -> str:
        return f"<HistoricalResult: {len(self)} rows, features {list(self._columns)}, by {self.provenance.served_by!r}>"

    @property
    def feature_names(self) -> list[str]:
        """The names of the feature columns, in the order requested."""
        return list(self._columns)

    @property
    def kind(self) -> str:
        """The kind of the caller's frame: ``"pandas"``, ``"polars"``, ``"duckdb"`` or ``"arrow"``."""
        return self._frame.kind

    @property
    def receipt(self) -> TrainingReceipt:
        """A `TrainingReceipt` of this answer: what it was made from, and hashes of its values. Made on first use."""
        if self._receipt is None:
            from e2i_fs.receipts.making import receipt_of

            self._receipt = receipt_of(self.asked, self._frame.table, self._columns, self.provenance)
        return self._receipt

    def to_native(self) -> Any:
        """Return a frame of the caller's own kind: its columns unchanged, then the features (P-6)."""
        return self._frame.with_columns(self._columns)

    def to_arrow(self) -> pa.Table:
        """Return a ``pyarrow.Table``: the input's columns, then the features in their dtypes (P-8)."""
        return self._frame.arrow_with(self._columns)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``; features have nullable dtypes, which missing values do not change (P-8)."""
        from e2i_fs.frames import to_pandas

        return self.to_native() if self._frame.kind == "pandas" else to_pandas(self.to_arrow())

    def to_polars(self) -> Any:
        """Return a ``polars.DataFrame``. Raises `UnsupportedError` when polars is not installed."""
        return self.to_native() if self._frame.kind == "polars" and not self._frame.lazy else _polars(self.to_arrow())

    def explain(self, row: int) -> Mapping[str, Explanation]:
        """Explain entity row ``row`` (from 0): return, by view, its candidate source rows and why each won or lost.

        Reads the history again. Raises `IndexError` for a row that the result does not have.

        >>> print(result.explain(row=3)["hcp_stats"])          # doctest: +SKIP
        """
        if not 0 <= row < len(self):
            raise IndexError(f"explain(row={row}): the result has rows 0 to {len(self) - 1}.")
        return self._evidence.explain(row)

    def history(self, view: str, *, everyone: bool = False) -> pa.Table:
        """Return all rows of a view's history for the keys asked about: what `explain` reads, for every entity row.

        This includes rows that no entity row may see (P-1 to P-3), in no particular order. The columns are ``k0``,
        ``k1``, … (the join keys), ``e`` and ``c`` (event and created time, int64 microseconds since 1970 or None) and
        ``v0``, ``v1``, … (all fields in schema order, in their dtypes). ``everyone=True`` returns the rows of all keys.
        Raises `UnknownFeatureError` for an unknown view.
        """
        return self._evidence.history(view, everyone=everyone)


class OnlineResult:
    """The answer of `FeatureStore.get_online_features`: one answer for each entity row, in the same order (O-5).

    ``statuses`` and ``event_timestamps`` are keyed by ``view:feature``, each a list as long as the rows. They and
    ``provenance`` are made on first use.

    Stores make it; of the arguments, ``names`` are the outputs' names by reference, ``values`` columns by reference,
    ``codes`` the statuses as positions in `STATUSES`, and ``events`` event times in microseconds.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     _ = store.materialize_incremental()
    ...     answer = store.get_online_features("hcp_model", [{"hcp_id": "hcp_2"}])
    >>> answer.to_dict()
    {'hcp_id': ['hcp_2'], 'trx_count': [3], 'engagement': [None]}
    >>> {ref: [str(status) for status in told] for ref, told in answer.statuses.items()}
    {'hcp_stats:trx_count': ['PRESENT'], 'hcp_stats:engagement': ['NULL_VALUE']}
    """

    def __init__(
        self,
        inputs: Mapping[str, Sequence[Any]],
        names: Mapping[str, str],
        values: Mapping[str, Sequence[Any]],
        types: Mapping[str, Callable[[], pa.DataType]],
        codes: Callable[[], Mapping[str, Sequence[int]]],
        events: Callable[[], Mapping[str, Sequence[int | None]]],
        provenance: Callable[[], Provenance],
    ) -> None:
        self._inputs = inputs
        self._names = names
        self._values = values
        self._types = types
        self._codes = codes
        self._events = events
        self._told = provenance

    @cached
    def statuses(self) -> Mapping[str, list[FeatureStatus]]:
        """The `FeatureStatus` of each value, a list by reference (O-3)."""
        codes = self._codes()
        return {ref: list(map(STATUSES.__getitem__, codes[ref])) for ref in self._names}

    @cached
    def event_timestamps(self) -> Mapping[str, list[datetime | None]]:
        """The event time (UTC) of each value's row, a list by reference; None where there is no row (O-3)."""
        times: dict[int, list[datetime | None]] = {}  # by event column: the features of one view have the same

        def told(column: Sequence[int | None]) -> list[datetime | None]:
            made = times.get(id(column))
            if made is None:
                made = times[id(column)] = [None if us is None else from_us(us) for us in column]
            return list(made)

        columns = self._events()
        return _Lazy({ref: partial(told, columns[ref]) for ref in self._names})

    @cached
    def provenance(self) -> Provenance:
        """Where the answer comes from (X-7)."""
        return self._told()

    def __len__(self) -> int:
        return len(next(iter(self._values.values()), ()))

    def __repr__(self) -> str:
        return f"<OnlineResult: {len(self)} rows, features {self.feature_names}, by {self.provenance.served_by!r}>"

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, in the order requested."""
        return list(self._names.values())

    def to_dict(self) -> dict[str, list[Any]]:
        """Return lists by column name: the entity rows' columns, then the features; None where a value is missing."""
        values = self._values
        made = {name: [*column] for name, column in self._inputs.items()}
        for ref, name in self._names.items():
            made[name] = [*values[ref]]
        return made

    def to_arrow(self) -> pa.Table:
        """Return a ``pyarrow.Table``: the entity rows' columns, then the features in their dtypes (P-8).

        Raises `InvalidEntityFrameError` for an entity column that holds values of several types.
        """
        import pyarrow as pa

        columns = {name: _asked_with(name, column) for name, column in self._inputs.items()}
        columns |= {name: pa.array(list(self._values[ref]), self._types[name]()) for ref, name in self._names.items()}
        return pa.table(columns)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with nullable dtypes; columns and errors as in `to_arrow`."""
        from e2i_fs.frames import to_pandas

        return to_pandas(self.to_arrow())

    def to_polars(self) -> Any:
        """Return a ``polars.DataFrame``, as `to_arrow`. Raises `UnsupportedError` when polars is not installed."""
        return _polars(self.to_arrow())


def _asked_with(name: str, column: Sequence[Any]) -> pa.Array:
    """Return a column of the entity rows as Arrow has it; where what is missing is of another type (NaN among texts), it is null."""
    import pyarrow as pa

    from e2i_fs.errors import InvalidEntityFrameError, unstopped
    from e2i_fs.keys import is_missing

    try:
        return pa.array(list(column))
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        known = [None if is_missing(value) else value for value in column]
    try:
        return pa.array(known)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise InvalidEntityFrameError(
            f"The column {name!r} of the entity rows is no Arrow column: {unstopped(error)}. Give its values one type, or use to_dict."
        ) from error


def _polars(table: pa.Table) -> Any:
    try:
        import polars as pl
    except ImportError as error:
        from e2i_fs.errors import UnsupportedError

        raise UnsupportedError('polars is not installed: pip install "e2i-fs[polars]".') from error
    return pl.from_arrow(table)
