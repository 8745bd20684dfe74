"""The seam between core and backend, watched: every call has a time limit, every answer a form, every error a kind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from e2i_fs.backend import (
    ArrowRows,
    Backend,
    Capabilities,
    Columnar,
    Copyable,
    Key,
    Knowledge,
    NativePointInTime,
    OnlineColumns,
    OnlineRow,
    ParquetRows,
    Position,
    ScanPart,
)
from e2i_fs.catalog import Catalog
from e2i_fs.errors import E2IError, UnsupportedError
from e2i_fs.testing.findings import Mismatch, Stuck

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["METHODS", "Inspected", "inspected"]

METHODS = ("apply", "definitions", "scan", "append", "online_read", "online_write", "position", "ping", "close")


def inspected(backend: object, patience: float) -> Inspected:
    """Return ``backend`` watched, or raise `Mismatch` naming the methods that it lacks (G-3)."""
    lacking = [m for m in METHODS if not callable(getattr(backend, m, None))]
    can = getattr(backend, "capabilities", None)
    if not isinstance(can, Capabilities):
        raise Mismatch(
            "G-3", f"capabilities is {can!r}; it must be an e2i_fs.Capabilities, as a property or attribute."
        )
    if can.point_in_time and not isinstance(backend, NativePointInTime):
        lacking.append("point_in_time")
    if can.copyable and not isinstance(backend, Copyable):
        lacking += ["batches", "online_rows"]
    if can.columnar and not isinstance(backend, Columnar):
        lacking.append("online_columns")
    if lacking:
        raise Mismatch("G-3", f"{type(backend).__name__} lacks the methods {', '.join(lacking)}.")
    return _KINDS[can.point_in_time, can.copyable, can.columnar](backend, patience)  # type: ignore[arg-type]


class _Worker:
    """One thread that makes the calls, so that one which hangs can be left behind."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], list[Any], threading.Event] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="e2i_fs-kit", daemon=True).start()

    def _work(self) -> None:
        while (asked := self._jobs.get()) is not None:
            job, outcome, done = asked
            try:
                outcome += [job(), None]
            except BaseException as error:
                outcome += [None, error]
            done.set()

    def call(self, job: Callable[[], Any], name: str, patience: float) -> Any:
        outcome: list[Any] = []
        done = threading.Event()
        self._jobs.put((job, outcome, done))
        if not done.wait(patience):
            raise Stuck(name, patience)
        value, error = outcome
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        """Let the thread end after the calls that were asked for."""
        self._jobs.put(None)


class Inspected:
    """A backend whose calls are checked for form (see `e2i_fs.backend.Backend`), errors (G-4) and time.

    A call from a thread of its own is made there, so that several at once stay several at once.
    """

    def __init__(self, backend: Backend, patience: float) -> None:
        self.inner = backend
        self._patience = patience
        self._local = threading.local()
        self._stuck: Stuck | None = None

    @property
    def capabilities(self) -> Capabilities:
        """The backend's own."""
        return self.inner.capabilities

    def _call(self, method: str, *args: Any, **more: Any) -> Any:
        if self._stuck is not None:
            raise self._stuck  # a backend that hung once is not waited for again
        worker: _Worker | None = getattr(self._local, "worker", None)
        if worker is None:
            worker = self._local.worker = _Worker()

        def job() -> Any:
            found = getattr(self.inner, method)(*args, **more)
            if method in _STREAMED and isinstance(found, Iterable):
                return list(found)
            if method != "scan" or not isinstance(found, Sequence):
                return found
            return [  # streams are read here, where a hang can be left behind
                ArrowRows(p.reader.read_all().to_reader()) if isinstance(p, ArrowRows) else p for p in found
            ]

        try:
            return worker.call(job, method, self._patience)
        except Stuck as error:
            self._stuck = error
            raise
        except (E2IError, Mismatch):
            raise
        except BaseException as error:
            raise Mismatch(
                "G-4",
                f"{method} raised {type(error).__module__}.{type(error).__name__}: {error}. Only errors of e2i_fs.errors may "
                "leave a backend, with the driver's as their cause.",
                expected="an E2IError (BackendUnavailableError, BackendDataError, ...)",
                got=f"{type(error).__name__}: {error}",
            ) from error

    def _form(self, ok: bool, rule: str, method: str, wanted: str, got: object) -> None:
        if not ok:
            raise Mismatch(rule, f"{method} answered the wrong form.", expected=wanted, got=_short(got))

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """See `Backend`."""
        done = self._call("apply", definitions, expected=expected)
        self._form(isinstance(done, bool), "R-1", "apply", "True, or False when the revision is another", done)
        return bool(done)

    def definitions(self) -> Catalog:
        """See `Backend`."""
        found = self._call("definitions")
        self._form(isinstance(found, Catalog), "R-5", "definitions", "a Catalog", found)
        catalog: Catalog = found
        return catalog

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """See `Backend`."""
        parts = self._call("scan", view, columns, keys=keys, until_us=until_us)
        ok = isinstance(parts, Sequence) and all(isinstance(p, (ArrowRows, ParquetRows)) for p in parts)
        self._form(ok, "P-10", "scan", "a sequence of ArrowRows and ParquetRows", parts)
        found: Sequence[ScanPart] = parts
        return found

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """See `Backend`."""
        done = self._call("append", view, rows, batch_id=batch_id)
        self._form(isinstance(done, bool), "W-2", "append", "True, or False when the batch was there", done)
        return bool(done)

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """See `Backend`."""
        found = self._call("online_read", view, keys, at_us=at_us)
        ok = isinstance(found, Sequence) and len(found) == len(keys)
        self._form(ok, "O-5", "online_read", f"one answer for each of {len(keys)} keys, in their order", found)
        for row in found:
            if row is None:
                continue
            ok = (
                isinstance(row, OnlineRow)
                and _is_int(row.event_us)
                and (row.created_us is None or _is_int(row.created_us))
                and isinstance(row.values, Mapping)
            )
            self._form(ok, "O-3", "online_read", "None or an OnlineRow(int, int | None, Mapping)", row)
        rows: Sequence[OnlineRow | None] = found
        return rows

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """See `Backend`."""
        done = self._call("online_write", view, keys, rows, at_us=at_us)
        ok = _is_int(done) and 0 <= done <= len(set(keys))
        self._form(ok, "O-1", "online_write", f"how many of {len(set(keys))} keys changed", done)
        return int(done)

    def position(self, view: str) -> Position:
        """See `Backend`. Every answer carries it (X-7), so it answers whatever is declared."""
        try:
            found = self._call("position", view)
        except UnsupportedError as error:
            raise Mismatch(
                "G-3",
                "position raised UnsupportedError. Every answer carries the position of its views (X-7), so it is asked for in "
                "each backend; where online is not declared, the newest event time is None and the rows are 0.",
                expected="a Position, e.g. Position(0, None, 0)",
                got=f"UnsupportedError: {error}",
            ) from error
        ok = (
            isinstance(found, Position)
            and _is_int(found.sequence)
            and _is_int(found.rows)
            and found.rows >= 0
            and (found.newest_event_us is None or _is_int(found.newest_event_us))
        )
        self._form(ok, "F-1", "position", "a Position(int, int | None, int)", found)
        position: Position = found
        return position

    def ping(self, deadline: float) -> float:
        """See `Backend`."""
        took = self._call("ping", deadline)
        ok = isinstance(took, (int, float)) and not isinstance(took, bool) and took >= 0
        self._form(ok, "X-1", "ping", "how many seconds it took", took)
        return float(took)

    def close(self) -> None:
        """See `Backend`. One that hangs is left behind as it is."""
        if self._stuck is None:
            self._call("close")


class InspectedNative(Inspected):
    """A backend that finds the answering rows itself, watched."""

    def point_in_time(self, view: str, entities: pa.Table, features: Sequence[str], knowledge: Knowledge) -> pa.Table:
        """See `NativePointInTime`."""
        found = self._call("point_in_time", view, entities, features, knowledge)
        ok = getattr(found, "column_names", None) == ["e", *features] and len(found) == len(entities)
        wanted = f"a table of {len(entities)} rows with the columns {['e', *features]}"
        self._form(ok, "P-6", "point_in_time", wanted, found)
        return found


class InspectedCopyable(Inspected):
    """A backend that can give away all it was written, watched."""

    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        """See `Copyable`."""
        found = self._call("batches", view)
        wanted = "pairs of a batch_id (text) and a pyarrow.Table"
        self._form(isinstance(found, list), "G-3", "batches", wanted, found)
        for pair in found:
            ok = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and _is_table(pair[1])
            self._form(ok, "G-3", "batches", wanted, pair)
        return iter(found)

    def online_rows(self, view: str) -> Iterator[tuple[Sequence[Key], Sequence[OnlineRow], int]]:
        """See `Copyable`."""
        found = self._call("online_rows", view)
        wanted = "pieces (keys, as many OnlineRows, at_us)"
        self._form(isinstance(found, list), "G-3", "online_rows", wanted, found)
        for piece in found:
            ok = isinstance(piece, tuple) and len(piece) == 3 and _is_int(piece[2]) and len(piece[0]) == len(piece[1])
            self._form(ok and all(isinstance(row, OnlineRow) for row in piece[1]), "G-3", "online_rows", wanted, piece)
        return iter(found)


class InspectedColumnar(Inspected):
    """A backend that reads several views at once, as columns, watched."""

    def online_columns(
        self, definitions: Catalog, asked: Mapping[str, Sequence[Key]], *, at_us: int
    ) -> Mapping[str, OnlineColumns]:
        """See `Columnar`."""
        found = self._call("online_columns", definitions, asked, at_us=at_us)
        wanted = "for each view asked OnlineColumns, every column as long as its keys"
        self._form(isinstance(found, Mapping) and found.keys() == asked.keys(), "O-5", "online_columns", wanted, found)
        for view, columns in found.items():
            ok = isinstance(columns, OnlineColumns) and _is_int(columns.sequence)
            every = (columns.event_us, columns.created_us, *columns.values.values()) if ok else ()
            ok = ok and all(len(column) == len(asked[view]) for column in every)
            self._form(ok, "O-5", "online_columns", wanted, columns)
        return found  # type: ignore[no-any-return]


_POWERS = (InspectedNative, InspectedCopyable, InspectedColumnar)


def _kind(*declared: bool) -> type[Inspected]:
    """Return what watches a backend that declares these of `_POWERS`."""
    bases = tuple(power for power, has in zip(_POWERS, declared, strict=True) if has) or (Inspected,)
    return (
        bases[0]
        if len(bases) == 1
        else type("Inspected", bases, {"__doc__": "A backend with several powers, watched."})
    )


_KINDS = {declared: _kind(*declared) for declared in product((False, True), repeat=len(_POWERS))}
"""What watches a backend, by whether it declares point_in_time, copyable and columnar."""

_STREAMED = ("batches", "online_rows")


def _is_table(value: object) -> bool:
    import pyarrow as pa

    return isinstance(value, pa.Table)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}..."
