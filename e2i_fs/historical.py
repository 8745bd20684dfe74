"""Historical retrieval, in one straight line: frame → request → scan → join → assemble → result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from e2i_fs.backend import Backend, Knowledge, NativePointInTime, ScanPart
from e2i_fs.catalog import Catalog
from e2i_fs.clock import from_us
from e2i_fs.config import Config, EngineConfig
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import BackendDataError, InvalidEntityFrameError, InvalidTimestampError
from e2i_fs.frames import Frame
from e2i_fs.keys import key_column
from e2i_fs.on_demand_run import request_columns, run_on_demand
from e2i_fs.pit.engine import Wanted, together, typed_column
from e2i_fs.pit.explain import Explanation, every_row, explain_row
from e2i_fs.pit.steady import ChangedWhileReadError
from e2i_fs.pit.times import column_to_us
from e2i_fs.question import Answered
from e2i_fs.request import Request
from e2i_fs.results import STATUSES, Asked, FeatureStatus
from e2i_fs.row_wise import ALONE_OFFLINE

if TYPE_CHECKING:
    from e2i_fs.pit.sorted_rows import SortedRows
    from e2i_fs.sorted_copies import SortedCopies

__all__ = ["EntityFrame", "Evidence", "Retrieved", "asked_of", "retrieve"]

_CODE = {status: code for code, status in enumerate(STATUSES)}


@dataclass(frozen=True)
class EntityFrame:
    """The caller's entity rows, checked: the frame and its times in microseconds (T-1 to T-3)."""

    frame: Frame
    times: pa.ChunkedArray
    reject_naive: bool = False
    timestamp_column: str = "event_timestamp"

    @classmethod
    def checked(cls, native: Any, timestamp_column: str, *, reject_naive: bool, what: str = "entity_df") -> EntityFrame:
        """Return the checked frame, or raise before any backend is asked (P-11). ``what`` is what the caller calls it."""
        frame = Frame(native, what)
        table = frame.table
        if len(table) == 0:
            raise InvalidEntityFrameError(f"{what} has no rows, so nothing can be asked (P-11). Give at least one row.")
        if timestamp_column not in table.column_names:
            raise InvalidTimestampError(
                f"{what} has no column {timestamp_column!r}, the time of each row."
                f" It has {', '.join(repr(n) for n in table.column_names[:12])}. Name it with timestamp_column= (on the command line --timestamp-column)."
            )
        times = column_to_us(table.column(timestamp_column), timestamp_column, reject_naive=reject_naive)
        if times.null_count:
            row = pc.index(times.is_null(), pa.scalar(True)).as_py()
            raise InvalidTimestampError(
                f"{what}, column {timestamp_column!r}, row {row}: the time is missing. Every row needs one (T-3)."
            )
        return cls(frame, times, reject_naive, timestamp_column)

    def require(self, request: Request) -> None:
        """Raise unless every join key and request column is there (P-11) and no output hides a column (P-9)."""
        names = self.frame.table.column_names
        for column in (*request.join_keys, *request.columns):
            if column not in names:
                what = "join key" if column in request.join_keys else "request column"
                raise InvalidEntityFrameError(
                    f"entity_df lacks the {what} {column!r} (P-11). It has {', '.join(repr(n) for n in names[:12])}."
                )
        request.check_collisions(names)
        if self.frame.kind == "duckdb":
            request.check_case(names)

    def keyed(self, join_keys: Mapping[str, DType], rows: slice = slice(None)) -> pa.Table:
        """Return the engine's form of (some of) the rows: ``t`` and ``k0..``."""
        start, stop, _ = rows.indices(len(self.times))
        columns = {"t": self.times.slice(start, stop - start)}
        for i, (name, dtype) in enumerate(join_keys.items()):
            part = self.frame.table.column(name).slice(start, stop - start)
            columns[f"k{i}"] = key_column(part, name, dtype, reject_naive=self.reject_naive)
        return pa.table(columns)


@dataclass(frozen=True)
class Retrieved:
    """The columns of an answer: by output name the values, by reference the status codes and event times."""

    columns: Mapping[str, pa.ChunkedArray]
    codes: Mapping[str, pa.ChunkedArray]
    events: Mapping[str, pa.ChunkedArray]

    @property
    def newest_event(self) -> int | None:
        """The newest event time in the answer, in microseconds; None if there is none."""
        newest = [pc.max(column).as_py() for column in self.events.values()]
        return max((e for e in newest if e is not None), default=None)


def retrieve(
    backend: Backend, catalog: Catalog, request: Request, entities: EntityFrame, knowledge: Knowledge, *,
    limits: EngineConfig | None = None, copies: SortedCopies | None = None,
) -> Retrieved:  # fmt: skip
    """Return the point-in-time answer of one backend, whole (X-6).

    ``limits`` bounds what the engine takes of the machine, ``copies`` are sorted copies that may stand for files.
    """
    values: dict[str, pa.ChunkedArray] = {}
    codes: dict[str, pa.ChunkedArray] = {}
    events: dict[str, pa.ChunkedArray] = {}
    reading = _Reading(backend, catalog, entities, knowledge, limits, copies)
    present = pa.scalar(_CODE[FeatureStatus.PRESENT], pa.int8())
    for name, found in reading.winners(request.views).items():
        view, features = catalog.view(name), request.views[name]
        event = found.column(0)
        missing = event.is_null()
        age = pc.subtract(entities.times, event)
        old = pa.scalar(False) if view.ttl_us is None else pc.fill_null(pc.greater(age, view.ttl_us), False)
        # The status of a feature that has no value, by row: it is the same for all of a view.
        lacking = pc.if_else(old, _CODE[FeatureStatus.OUTSIDE_MAX_AGE], _CODE[FeatureStatus.NULL_VALUE])
        lacking = pc.if_else(missing, _CODE[FeatureStatus.NOT_FOUND], lacking).cast(pa.int8())
        for i, feature in enumerate(features):
            ref = f"{name}:{feature}"
            values[ref] = _without(found.column(1 + i), old)
            codes[ref] = _chunked(pc.if_else(values[ref].is_valid(), present, lacking))
            events[ref] = event
    for view_od in request.on_demand:
        sent = {n: entities.frame.table.column(n) for n in view_od.request_columns}
        given = request_columns(view_od, sent, reject_naive=entities.reject_naive)
        made = run_on_demand(view_od, given, {r: values[r].to_pylist() for r in view_od.inputs},
                             {r: codes[r].to_pylist() for r in view_od.inputs},
                             {r: events[r].to_pylist() for r in view_od.inputs}, len(entities.times), alone=ALONE_OFFLINE)  # fmt: skip
        for f in view_od.schema:
            ref = f"{view_od.name}:{f.name}"
            column_values, column_codes, column_events = made[f.name]
            values[ref] = column_values
            codes[ref] = pa.chunked_array([pa.array(column_codes, pa.int8())])
            events[ref] = pa.chunked_array([pa.array(column_events, pa.int64())])
    refs = [o.ref for o in request.outputs]
    return Retrieved(
        {o.name: values[o.ref] for o in request.outputs}, {r: codes[r] for r in refs}, {r: events[r] for r in refs}
    )


@dataclass(frozen=True)
class _Reading:
    """Where the winners of one retrieval come from."""

    backend: Backend
    catalog: Catalog
    entities: EntityFrame
    knowledge: Knowledge
    limits: EngineConfig | None
    copies: SortedCopies | None

    def winners(self, views: Mapping[str, Sequence[str]]) -> dict[str, pa.Table]:
        """Return the winners of each view, in their order: ``e`` and the features named. Views of one key are asked together."""
        by_keys: dict[tuple[tuple[str, DType], ...], list[str]] = {}
        for name in views:
            by_keys.setdefault(tuple(self.catalog.join_keys(name).items()), []).append(name)
        found: dict[str, pa.Table] = {}
        for join_keys, names in by_keys.items():
            keyed = self.entities.keyed(dict(join_keys))
            if self.backend.capabilities.point_in_time:
                for name in names:
                    view = self.catalog.view(name)
                    found[name] = _native(self.backend, view, views[name], keyed, self.knowledge)
            else:
                made = self._by_the_engine(keyed, dict(join_keys), {name: views[name] for name in names})
                found |= dict(zip(names, made, strict=True))
        return {name: found[name] for name in views}

    def _by_the_engine(
        self, keyed: pa.Table, join_keys: Mapping[str, DType], views: Mapping[str, Sequence[str]]
    ) -> list[pa.Table]:
        """Return the winners that the engine finds; where a file was replaced meanwhile, those of the new one.

        The last try reads no sorted copies, which may be replaced each time, too, without a change in what they are copies of.
        """
        for last in (False, False, True):
            copies = None if last else self.copies
            wanted = [Wanted(self.catalog.view(name), views[name], self._parts(name, keyed, copies)) for name in views]
            try:
                return together(keyed, join_keys, wanted, self.knowledge, limits=self.limits)
            except ChangedWhileReadError:
                if last:
                    raise
        raise AssertionError("the last try returns or raises")

    def _parts(self, name: str, keyed: pa.Table, copies: SortedCopies | None) -> Sequence[ScanPart | SortedRows]:
        parts = _scan(self.backend, name, self.catalog.view(name).features, keyed)
        return parts if copies is None else copies.standing_in(name, self.catalog.fingerprint(name), parts)


def _native(
    backend: Backend, view: FeatureView, features: Sequence[str], keyed: pa.Table, knowledge: Knowledge
) -> pa.Table:
    """Return the winners that the backend found itself, in the form that `point_in_time` has."""
    if not isinstance(backend, NativePointInTime):
        raise BackendDataError(
            f"The backend of view {view.name!r} declares point_in_time and has no such method (G-3). "
            "Its author must add it, or declare it no more."
        )
    found = backend.point_in_time(view.name, keyed, list(features), knowledge)
    wanted = ["e", *features]
    if found.column_names != wanted or len(found) != len(keyed):
        raise BackendDataError(
            f"The backend answered {len(keyed)} entity rows of view {view.name!r} with {len(found)} rows of the columns "
            f"{found.column_names}; it must be one for each, with {wanted} (P-6)."
        )
    columns = [typed_column(found.column(n), view.features[n].dtype, view, n) for n in features]
    return pa.table([found.column("e").cast(pa.int64()), *columns], names=wanted)


@dataclass(frozen=True)
class Evidence:
    """What an answer rests on, for whoever asks why: the backend that gave it, what was asked, and how."""

    backend: Callable[[], Backend]
    catalog: Catalog
    request: Request
    entities: EntityFrame
    knowledge: Knowledge

    def explain(self, row: int) -> dict[str, Explanation]:
        """Return why entity row ``row`` got its answer, for each stored view of the request."""
        explained = {}
        for name in self.request.views:
            view, join_keys = self.catalog.view(name), self.catalog.join_keys(name)
            keyed = self.entities.keyed(join_keys, slice(row, row + 1))
            parts = _scan(self.backend(), name, view.features, keyed)
            explained[name] = explain_row(keyed, view, join_keys, parts, self.knowledge)
        return explained

    def history(self, view: str, *, everyone: bool = False) -> pa.Table:
        """Return the rows of history of the keys asked about, or of all, those that no entity row may see too."""
        found, join_keys = self.catalog.view(view), self.catalog.join_keys(view)
        keys = None if everyone else self.entities.keyed(join_keys).drop_columns(["t"])
        parts = self.backend().scan(view, list(found.features), keys=keys)
        return every_row(keys, found, join_keys, parts)


def asked_of(
    answered: Answered[Request, Retrieved],
    entities: EntityFrame,
    knowledge: Knowledge,
    config: Config,
    full_feature_names: bool,
    *,
    at: datetime,
) -> Asked:
    """Return what was asked and who answered, for whoever wants to ask it again."""
    request = answered.query
    kinds = {backend.name: backend.kind for backend in config.backends}
    return Asked(
        refs=tuple(o.ref for o in request.outputs),
        names=tuple(o.name for o in request.outputs),
        dtypes=tuple(o.field.dtype for o in request.outputs),
        labels=tuple(o.ref for o in request.outputs if o.field.role == "label"),
        join_keys=request.join_keys,
        columns=request.columns,
        timestamp_column=entities.timestamp_column,
        times=entities.times,
        full_feature_names=full_feature_names,
        filter_by_created_timestamp=knowledge.filter_by_created,
        as_of=None if knowledge.as_of_us is None else from_us(knowledge.as_of_us),
        backend_kind=kinds.get(answered.backend, answered.backend),
        at=at,
    )


def _scan(backend: Backend, view: str, columns: Mapping[str, Any], keyed: pa.Table) -> Sequence[ScanPart]:
    keys = keyed.drop_columns(["t"])
    return backend.scan(view, list(columns), keys=keys, until_us=pc.max(keyed.column("t")).as_py())


def _without(column: pa.ChunkedArray, old: Any) -> pa.ChunkedArray:
    if isinstance(old, pa.Scalar):
        return column
    if pa.types.is_nested(column.type):
        kept = pa.array([None if o else i for i, o in enumerate(old.to_pylist())], pa.int64())
        return _chunked(column.combine_chunks().take(kept))
    return _chunked(pc.if_else(old, pa.scalar(None, column.type), column))


def _chunked(column: Any) -> pa.ChunkedArray:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
