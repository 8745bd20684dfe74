"""Feast's sqlite online store, with what it lacks: a lock, exact reads of its times, and one connection a thread."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import to_naive_utc

from e2i_fs.clock import to_us
from e2i_fs.errors import BackendUnavailableError
from e2i_fs.forks import RenewedLock, leave_open, within_sqlite
from e2i_fs_feast.online_store import Decide, Found, OnRecord, Write
from e2i_fs_feast.repository import Repository
from e2i_fs_feast.rows import HIDDEN, Stored, is_of

__all__ = ["SqliteStore"]


class _Store(SqliteOnlineStore):  # type: ignore[misc]  # Feast's types are not followed
    """Feast's own, closed when its thread is gone."""

    _conn: Any = None
    file: tuple[int, int] | None = None
    """Which file the connection is to, None while there is none."""

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self.turn = threading.RLock()
        """Held by whoever uses the connection: SQLite's memory is freed under a call while another thread closes."""

    def __del__(self) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        if self._process != os.getpid():
            if self._conn is not None:
                leave_open(self._conn)
            self._conn = self.file = None
            return
        with self.turn, within_sqlite:  # its thread may end, and let go of it, while somebody closes it
            if self._conn is not None:
                self._conn.close()
            self._conn = self.file = None


class SqliteStore:
    """The sqlite online store of a repository.

    Feast's object keeps one connection and cannot be shared between a reader and a writer, so each thread has its
    own. Feast writes times as local ones: ``zone`` is that of the processes in which Feast itself writes.
    """

    local = True
    chunk = 400
    connections = 0

    def __init__(self, repository: Repository, zone: zoneinfo.ZoneInfo) -> None:
        self._repository = repository
        self._config = repository.config
        self._zone = zone
        self._threads = threading.local()
        self._stores: weakref.WeakSet[Any] = weakref.WeakSet()
        self._closed = False
        self._turn = RenewedLock()
        self._version = self._config.entity_key_serialization_version
        online = self._config.online_store
        self._plain = not (
            online.vector_enabled or online.enable_openai_compatible_store
        )  # else Feast has columns of its own

    def _store(self) -> Any:
        if self._closed:
            raise BackendUnavailableError("The store is closed; open it again with connect.")
        process, store = getattr(self._threads, "opened", (0, None))
        if store is None or process != os.getpid():  # SQLite forbids a connection on both sides of a fork
            store = _Store()
            with self._turn:
                self._stores.add(store)
            self._threads.opened = (os.getpid(), store)
        return store

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let the block use this thread's connection, and nobody close it meanwhile."""
        with self._store().turn, within_sqlite:
            yield

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection; opened anew if the file is another by now, for what was taken away answers on."""
        store = self._store()
        path = store._get_db_path(self._config)
        if store.file is not None and store.file != _file(path):
            store.disconnect()
        connection: sqlite3.Connection = store._get_conn(self._config)
        if store.file is None:
            store.file = _file(path)
        return connection

    def _name(self, table: Any) -> str:
        versions = self._config.registry.enable_online_feature_view_versioning
        name: str = compute_table_id(self._config.project, table, versions)
        return '"' + name.replace('"', '""') + '"'

    def read(self, table: Any, keys: Sequence[Any], names: Sequence[str], counter: str) -> Found | None:
        """Return what is stored; None when there is no such table, which tells a loss by itself: nothing is counted."""
        return self._read(table, self._keys(keys), names)

    def _keys(self, keys: Sequence[Any]) -> list[bytes]:
        return [serialize_entity_key(key, entity_key_serialization_version=self._version) for key in keys]

    def _read(self, table: Any, keys: Sequence[bytes], names: Sequence[str]) -> Found | None:
        found: dict[bytes, dict[str, bytes | None]] = {}
        stamps: dict[bytes, int] = {}
        try:
            rows = self._rows(table, keys)
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        wanted = frozenset(names)
        for key, name, content, stamp in rows:
            if name in wanted:
                if stamp > stamps.get(key, stamp - 1):
                    stamps[key] = stamp
            elif name != HIDDEN:
                continue
            contents = found.get(key)
            if contents is None:
                contents = found[key] = {}
            contents[name] = content
        return Found(
            [Stored(found[k], stamps.get(k, 0), self._event_us(stamps.get(k, 0))) if k in found else None for k in keys]
        )

    def _rows(self, table: Any, keys: Sequence[bytes]) -> list[tuple[bytes, str, bytes, int]]:
        # Feast's own online_read gives the time of one feature only, shifted by the zone of this process (T-4).
        rows: list[tuple[bytes, str, bytes, int]] = []
        for start in range(0, len(keys), 900):  # sqlite takes no more than 999 variables where it is old
            part = keys[start : start + 900]
            query = (
                f"SELECT entity_key, feature_name, value, CAST(event_ts AS INTEGER) FROM {self._name(table)} "
                f"WHERE entity_key IN ({','.join('?' * len(part))})"
            )
            with self._alone():
                rows += self._connection().execute(query, part).fetchall()
        return rows

    def _event_us(self, stamp: int) -> int:
        return to_us(datetime.fromtimestamp(stamp, self._zone).replace(tzinfo=UTC))

    def change(
        self,
        table: Any,
        keys: Sequence[Any],
        names: Sequence[str],
        decide: Decide | None,
        counter: str,
        known: OnRecord,
    ) -> None:
        """Compare and write under the lock that all writers of the repository take; one transaction (O-7)."""
        with self._repository.lock("online"):
            serialised = self._keys(keys)
            found = self._read(table, serialised, names)
            if found is None:
                known.lost(0)
                self._make([table])
            writes = [] if decide is None else decide([None] * len(keys) if found is None else found.rows)
            if writes and self._plain:
                self._write(table, serialised, writes)
            elif writes:
                rows = [(keys[w.place], _messages(w.contents), w.event_time, None) for w in writes]
                with self._alone():
                    self._store().online_write_batch(self._config, table, rows, None)

    def _write(self, table: Any, keys: Sequence[bytes], writes: Sequence[Write]) -> None:
        """Write as `SqliteOnlineStore.online_write_batch` does, from messages that are serialised already."""
        rows = (
            (keys[w.place], name, content, _text(content), w.stamp)
            for w in writes
            for name, content in w.contents.items()
        )
        with self._alone(), self._connection() as connection:
            connection.executemany(
                f"INSERT INTO {self._name(table)} (entity_key, feature_name, value, value_text, event_ts) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT(entity_key, feature_name) DO UPDATE SET value = excluded.value, "
                "value_text = excluded.value_text, event_ts = excluded.event_ts, created_ts = excluded.created_ts",
                rows,
            )

    def count(self, counter: str) -> None:
        """Return None: a table that is gone shows by itself."""

    def has_place(self, table: Any) -> bool:
        """Return whether the table is there."""
        return self._read(table, [b""], []) is not None

    def stamp(self, when: datetime) -> int:
        """Return the seconds that Feast's adapter makes of ``when`` in this process."""
        return int(to_naive_utc(when).timestamp())

    def create(self, tables: Sequence[Any]) -> None:
        """Create the tables that are not there."""
        if tables:
            with self._repository.lock("online"):
                self._make(tables)

    def _make(self, tables: Sequence[Any]) -> None:
        with self._alone():
            if not self._repository.adopted:
                # Readers go on while somebody writes. An adopted database is left in its owner's mode.
                self._connection().execute("PRAGMA journal_mode=WAL")
            self._store().update(self._config, [], list(tables), [], [], True)

    def remove(self, table: Any, keep: int | None) -> None:
        """Drop the table, which the next write makes anew; where rows of the view as it is now (``keep``) have come, leave those."""
        with self._repository.lock("online"), self._alone():
            if keep is None or not self._leave(table, keep):
                self._store().update(self._config, [table], [] if keep is None else [table], [], [], True)

    def _leave(self, table: Any, keep: int) -> bool:
        """Delete the keys whose rows are not of the generation ``keep``, if there are any that are; return whether there are."""
        name, connection = self._name(table), self._connection()
        try:
            found = connection.execute(f"SELECT entity_key, value FROM {name} WHERE feature_name = ?", (HIDDEN,))
            kept = {key for key, content in found if is_of(content, keep)}
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return False
        if kept:
            every = connection.execute(f"SELECT DISTINCT entity_key FROM {name}").fetchall()
            with connection:
                others = [key for key in every if key[0] not in kept]
                connection.executemany(f"DELETE FROM {name} WHERE entity_key = ?", others)
        return bool(kept)

    def extent(self, table: Any) -> tuple[int, int | None]:
        """Count the keys of the table, and find the newest time in it."""
        try:
            query = f"SELECT COUNT(DISTINCT entity_key), MAX(CAST(event_ts AS INTEGER)) FROM {self._name(table)}"
            with self._alone():
                rows, newest = self._connection().execute(query).fetchone()
            return int(rows), None if newest is None else self._event_us(newest)
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return 0, None

    def set_timeout(self, seconds: float) -> None:
        """Nothing waits on a network here."""

    def ping(self, deadline: float) -> None:
        """Ask the database for its schema version."""
        with self._alone():
            self._connection().execute("PRAGMA schema_version").fetchone()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._turn:
            self._closed = True
            stores = list(self._stores)
        for store in stores:
            store.disconnect()


def _file(path: str) -> tuple[int, int]:
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return state.st_dev, state.st_ino


def _text(content: bytes) -> str | None:
    """Return what Feast keeps beside a value for its text search."""
    text: str | None = extract_text_and_num(Value.FromString(content), False)[0]
    return text


def _messages(contents: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: Value.FromString(content) for name, content in contents.items()}
