"""The reference backend: everything in one process's memory, in plain Python, safe between threads."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from e2i_fs.backend import ArrowRows, Capabilities, Key, OnlineRow, Position, ScanPart
from e2i_fs.batch import check_form
from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.dtypes import DType, Timestamp
from e2i_fs.errors import BackendUnavailableError, ConfigError, InvalidBatchError, did_you_mean
from e2i_fs.online import merge, pick
from e2i_fs.reading import source_parts
from e2i_fs.testing.plugin import CAPABILITIES
from e2i_fs.values import arrow_type, content_hash

if TYPE_CHECKING:
    from e2i_fs.clock import Clock

__all__ = ["MemoryBackend", "open_backend"]

_FROM_THE_CORE = ("project",)  # given to every backend; two memory stores share nothing anyway


@dataclass
class _Kept:
    """What is kept of one view."""

    batches: dict[str, pa.Table] = field(default_factory=dict)
    online: dict[Key, tuple[OnlineRow, ...]] = field(default_factory=dict)
    sequence: int = 0


class MemoryBackend:
    """All of `e2i_fs.backend.Backend`, and nothing that outlives the object.

    A lock guards every access to the state, so a reader sees each batch and each row whole (O-7).
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.RLock()
        self._catalog = Catalog()
        self._views: defaultdict[str, _Kept] = defaultdict(_Kept)
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """Everything; see `e2i_fs.testing.plugin`."""
        return CAPABILITIES

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """Replace the catalogue if it is still the ``expected`` one (R-1); rows that no longer fit go."""
        with self._lock:
            self._check_open()
            if self._catalog.revision != expected:
                return False
            gone = set(self._catalog.views) - set(definitions.views)
            for view in gone | set(breaking_views(self._catalog, definitions)):
                self._views.pop(view, None)
            self._catalog = replace(definitions)  # another object than any that was given before
            return True

    def definitions(self) -> Catalog:
        """Return the catalogue as it is now."""
        with self._lock:
            self._check_open()
            return self._catalog

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """Return the view's own source and the rows appended to it; both hints are ignored."""
        with self._lock:
            self._check_open()
            found = self._catalog.view(view)
            join_keys = self._catalog.join_keys(view)
            types = self._columns(view)
            batches = list(self._views[view].batches.values())
            base = self._catalog.bases.get(view, "")
        parts: list[ScanPart] = list(source_parts(found, join_keys, base, keys=keys, until_us=until_us))
        # One part for each batch: an older batch may lack a field that was added since.
        parts += [ArrowRows(_with_columns(batch, types).to_reader()) for batch in batches]
        return parts

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """Add a batch once for each ``batch_id`` (W-2)."""
        with self._lock:
            self._check_open()
            check_form(rows, self._catalog.view(view), self._catalog.join_keys(view))
            kept = self._views[view].batches.get(batch_id)
            if kept is not None:
                if content_hash(kept) != content_hash(rows):
                    raise InvalidBatchError(
                        f"The idempotency key {batch_id!r} was used before with other rows (W-2). "
                        "Nothing was written; give this batch a key of its own."
                    )
                return False
            self._views[view].batches[batch_id] = rows
            return True

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """Return for each key the row that answers at ``at_us``, or None (O-2, O-5)."""
        with self._lock:
            self._check_open()
            self._catalog.view(view)
            online = self._views[view].online
            return [pick(online.get(key, ()), at_us=at_us) for key in keys]

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """Merge rows by the contract's order (O-1)."""
        with self._lock:
            self._check_open()
            definition = self._catalog.view(view)
            kept = self._views[view]
            changed = set()
            for key, row in zip(keys, rows, strict=True):
                before = kept.online.get(key, ())
                after = merge(before, [row], definition, at_us=at_us)
                if repr(after) != repr(before):
                    kept.online[key] = after
                    changed.add(key)
            kept.sequence += 1
            return len(changed)

    def position(self, view: str) -> Position:
        """Return the number of writes applied, the newest event time and the number of keys (F-1)."""
        with self._lock:
            self._check_open()
            self._catalog.view(view)
            kept = self._views[view]
            newest = max((rows[0].event_us for rows in kept.online.values()), default=None)
            return Position(kept.sequence, newest, len(kept.online))

    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        """Yield the appended batches; see `e2i_fs.backend.Copyable`."""
        with self._lock:
            self._check_open()
            self._catalog.view(view)
            kept = list(self._views[view].batches.items())
        yield from kept

    def online_rows(self, view: str) -> Iterator[tuple[Sequence[Key], Sequence[OnlineRow], int]]:
        """Yield all online rows in one piece; see `e2i_fs.backend.Copyable`."""
        with self._lock:
            self._check_open()
            self._catalog.view(view)
            kept = [(key, row) for key, rows in self._views[view].online.items() for row in rows]
        if kept:
            yield [key for key, _ in kept], [row for _, row in kept], min(row.event_us for _, row in kept)

    def ping(self, deadline: float) -> float:
        """Return at once."""
        started = self._clock.monotonic()
        with self._lock:
            self._check_open()
        return self._clock.monotonic() - started

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._closed = True
            self._views.clear()

    def _columns(self, view: str) -> dict[str, DType]:
        """Return all columns of a view's rows with their dtypes: join keys, time columns, fields."""
        found = self._catalog.view(view)
        times = [found.event_column, *([found.created_column] if found.created_column else [])]
        return {
            **self._catalog.join_keys(view),
            **dict.fromkeys(times, Timestamp),
            **{f.name: f.dtype for f in found.schema},
        }

    def _check_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError(f"The backend {self._name!r} is closed; connect again.")


def _with_columns(batch: pa.Table, types: Mapping[str, DType]) -> pa.Table:
    """Return a batch with all columns of its view; one that the view did not have then is missing."""
    for name, dtype in types.items():
        if name not in batch.column_names:
            batch = batch.append_column(name, pa.nulls(batch.num_rows, arrow_type(dtype)))
    return batch.select(list(types))


def open_backend(*, name: str, options: Mapping[str, Any], clock: Clock, base: str) -> MemoryBackend:
    """Open an empty in-memory backend. It takes no options."""
    for option in options:
        if option not in _FROM_THE_CORE:
            raise ConfigError(
                f"Backend {name!r} (memory): unknown option {option!r}.{did_you_mean(option, _FROM_THE_CORE)} "
                "It keeps everything in memory and takes no options of its own."
            )
    return MemoryBackend(name, clock)
