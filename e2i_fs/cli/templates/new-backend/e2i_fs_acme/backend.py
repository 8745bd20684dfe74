"""The backend: nine methods that keep rows and never ask what a row means.

All of it works as it stands. `Database` stands in for your store: replace one method of `AcmeBackend` at a time, run
the tests after each, and delete `Database` when nothing uses it any more. Times are integers, microseconds since 1970
UTC.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import e2i_fs as fs
import pyarrow as pa
from e2i_fs.batch import check_form
from e2i_fs.catalog import Catalog, breaking_views
from e2i_fs.online import merge, pick
from e2i_fs.reading import source_parts
from e2i_fs.values import arrow_type, content_hash

from e2i_fs_acme.plugin import CAPABILITIES

OPTIONS = ("path", "project")  # `project` is given by the core, to every backend
Key = tuple[Any, ...]


def open_backend(*, name: str, options: Mapping[str, Any], clock: fs.Clock, base: str) -> AcmeBackend:
    """Open the backend: ``options`` are the keys of its configuration, ``name`` is what the store calls it.

    Raises `ConfigError` for options that it does not know, `BackendUnavailableError` when the store cannot be reached.
    ``path`` is absolute by now; take other relative paths from ``base``. Tell the time by ``clock`` only (T-5).
    """
    for option in options:
        if option not in OPTIONS:
            raise fs.ConfigError(f"Backend {name!r}: unknown option {option!r}; it takes {', '.join(OPTIONS)}.")
    path = options.get("path")
    if not isinstance(path, str) or not path:
        raise fs.ConfigError(f"Backend {name!r}: path is {path!r}; name the place to keep the features in.")
    return AcmeBackend(name, path)


@dataclass
class View:
    """What is kept of one feature view."""

    batches: dict[str, pa.Table] = field(default_factory=dict)  # history, by batch id
    online: dict[Key, tuple[fs.OnlineRow, ...]] = field(default_factory=dict)  # greatest first
    writes: int = 0


@dataclass
class Database:
    """Stands in for your store: definitions, and the rows of each view."""

    catalog: Catalog = field(default_factory=Catalog)
    views: defaultdict[str, View] = field(default_factory=lambda: defaultdict(View))
    lock: threading.RLock = field(default_factory=threading.RLock)
    handles: int = 0
    away: bool = False  # in an outage; the harness sets it


DATABASES: defaultdict[str, Database] = defaultdict(Database)  # by path; two handles on one path share the rows


class AcmeBackend:
    """See `e2i_fs.Backend`. Several threads call it at once."""

    capabilities = CAPABILITIES

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._path = path
        self._database: Database | None = DATABASES[path]
        self._use().handles += 1  # a store that is away must say so when it is opened

    def _use(self) -> Database:
        """Return the store, or raise: only errors of e2i_fs leave a backend, the driver's is their cause (G-4).

        Say `BackendUnavailableError`, `DeadlineExceededError` or `ThrottledError` only where another backend should be
        asked instead (X-2), and `BackendDataError` for what is kept and cannot be read.
        """
        if self._database is None:
            raise fs.BackendUnavailableError(f"The backend {self._name!r} is closed; connect again.")
        if self._database.away:
            raise fs.BackendUnavailableError(f"The backend {self._name!r} cannot be reached; try again later.")
        return self._database

    # ---- definitions --------------------------------------------------------------------------------------

    def definitions(self) -> Catalog:
        """Return the catalogue as it is now, whoever changed it last (R-5). Asked for on every read: make it cheap.

        To keep it, use ``catalog.to_json()`` and ``Catalog.from_json(...)``.
        """
        return self._use().catalog

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """Replace the catalogue, whole or not at all (R-1).

        False, with nothing changed, when the kept one's revision is no longer ``expected``. Rows of a view that is
        gone, or that a breaking change made unreadable, go in the same transaction.
        """
        database = self._use()
        with database.lock:
            before = database.catalog
            if before.revision != expected:
                return False
            for view in before.views:
                if view not in definitions.views or view in breaking_views(before, definitions):
                    database.views.pop(view, None)
            database.catalog = definitions
            return True

    # ---- history ------------------------------------------------------------------------------------------

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """Add a batch to history, once for each ``batch_id``: False when it was there (W-2).

        Raises `InvalidBatchError` when the id was there with other rows, or when the view changed since the batch was
        checked, which `check_form` sees; so ask it where nobody can change the view in between.
        """
        database = self._use()
        with database.lock:
            check_form(rows, database.catalog.view(view), database.catalog.join_keys(view))
            kept = database.views[view].batches.get(batch_id)
            if kept is None:
                database.views[view].batches[batch_id] = rows
                database.views[view].writes += 1
            elif content_hash(kept) != content_hash(rows):
                raise fs.InvalidBatchError(
                    f"The batch {batch_id!r} is in history with other rows (W-2). Give this one an id of its own."
                )
            return kept is None

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[fs.ArrowRows | fs.ParquetRows]:
        """Return history: the user's own source, and the batches; in any order, duplicates included.

        ``columns``, ``keys`` and ``until_us`` say what will be needed. More than that is harmless, less is not. A batch
        that was written before the view got a field, or a created time, lacks that column: here it comes as missing.
        """
        database = self._use()
        with database.lock:
            catalog = database.catalog
            batches = list(database.views[view].batches.values())
        types = column_types(catalog, view)
        definition, join_keys = catalog.view(view), catalog.join_keys(view)
        parts = source_parts(definition, join_keys, catalog.bases[view], keys=keys, until_us=until_us)
        return [*parts, *(fs.ArrowRows(with_columns(batch, types).to_reader()) for batch in batches)]

    # ---- online -------------------------------------------------------------------------------------------

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[fs.OnlineRow], *, at_us: int) -> int:
        """Merge rows by the contract's order (O-1), each whole or not at all (O-7); return how many keys changed.

        Keep all that `merge` returns for a key. Values are storage values: int, float, bool, str, bytes, list, dict,
        None; a NaN is a value, and 2**53+1 an integer (P-8). ``keys`` may name one key twice.
        """
        database = self._use()
        with database.lock:
            definition = database.catalog.view(view)
            kept = database.views[view]
            changed = set()
            for key, row in zip(keys, rows, strict=True):
                before = kept.online.get(key, ())
                after = merge(before, [row], definition, at_us=at_us)
                if repr(after) != repr(before):  # as text, for a NaN is not equal to itself
                    kept.online[key] = after
                    changed.add(key)
            kept.writes += 1
            return len(changed)

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[fs.OnlineRow | None]:
        """Return for each key the row that answers at ``at_us``, or None: as many, in the same order (O-5).

        Keys compare by type: ``("1",)`` is not ``(1,)``, and ``("1", "23")`` is not ``("12", "3")`` (P-7).
        """
        database = self._use()
        with database.lock:
            database.catalog.view(view)  # raises for a view that is not there
            online = database.views[view].online
            return [pick(online.get(key, ()), at_us=at_us) for key in keys]

    # ---- the rest -----------------------------------------------------------------------------------------

    def position(self, view: str) -> fs.Position:
        """Return the number of writes taken, the newest event time online, and the number of keys online (F-1).

        The number of writes only grows while the rows are there; a smaller one tells failover that rows were lost
        (X-4).
        """
        database = self._use()
        with database.lock:
            database.catalog.view(view)
            kept = database.views[view]
            newest = max((rows[0].event_us for rows in kept.online.values()), default=None)
            return fs.Position(kept.writes, newest, len(kept.online))

    def ping(self, deadline: float) -> float:
        """Return the seconds that the store took to answer, or raise a `BackendError` within ``deadline`` (X-1)."""
        begun = time.perf_counter()
        self._use()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Let go of files and connections. Twice is harmless; any other call after it raises."""
        database, self._database = self._database, None
        if database is not None:
            database.handles -= 1
            if not database.handles and not CAPABILITIES.persistent:
                DATABASES.pop(self._path, None)


def column_types(catalog: Catalog, view: str) -> dict[str, fs.DType]:
    """Return the columns of a view's history with their dtypes: join keys, time columns, fields."""
    found = catalog.view(view)
    times = [name for name in (found.event_column, found.created_column) if name]
    return {**catalog.join_keys(view), **dict.fromkeys(times, fs.Timestamp), **{f.name: f.dtype for f in found.schema}}


def with_columns(rows: pa.Table, types: Mapping[str, fs.DType]) -> pa.Table:
    """Return ``rows`` with all the columns of ``types``, those that it lacks as missing values."""
    for name, dtype in types.items():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(len(rows), arrow_type(dtype)))
    return rows.select(list(types))
