"""History written through e2i_fs, kept in the PostgreSQL of Feast's offline store: no pod's disk holds it.

Each batch is one row of the table ``e2i_fs_history``: whole or not at all, once for each id (W-2, O-7), its rows as Parquet, so
that every dtype comes back exactly. A local folder keeps copies, which never change, for the engine to read.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from e2i_fs.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    InvalidBatchError,
    PluginLoadError,
    ThrottledError,
    unstopped,
)
from e2i_fs.segments import Segments
from e2i_fs.sql.address import Address
from e2i_fs.values import content_hash
from e2i_fs_feast.options import Options
from e2i_fs_feast.postgres_address import address_of
from e2i_fs_feast.postgres_table import CREATE, TABLE
from e2i_fs_feast.repository import Repository

__all__ = ["PostgresSegments", "open_segments"]

_ONE_AT_A_TIME = 7_310_554_013_447  # the number of the advisory lock under which the table is made
_CONNECT_SECONDS = 5


def open_segments(repository: Repository, options: Options) -> Segments | PostgresSegments:
    """Return where history is kept: PostgreSQL, if that is the offline store of a repository of ours, else a folder."""
    store = repository.config.offline_store
    if options.adopted or store.type != "postgres":
        return Segments(repository.own / "history")
    return PostgresSegments(address_of(store), repository.config.project, repository.own / "history")


class PostgresSegments:
    """See `e2i_fs.segments.Segments`, whose words these are. ``folder`` is for the copies."""

    def __init__(self, address: Address, project: str, folder: Path) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise PluginLoadError(
                f'A postgres offline store needs psycopg ({error}). Install it: pip install "e2i-fs[postgres]"'
            ) from error
        self._psycopg: Any = psycopg
        self._address = address
        self._project = project
        self._folder = folder

    def append(self, name: str, table: pa.Table, *, batch_id: str) -> bool:
        """Add ``table`` as one row; False if ``batch_id`` is there already, `InvalidBatchError` if with other rows."""
        content, batch = content_hash(table), hashlib.sha256(batch_id.encode()).hexdigest()[:32]
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata(None), sink, compression="zstd")
        row = (self._project, name, batch, content, sink.getvalue().to_pybytes())
        with self._connected() as connection:
            self._make_table(connection)
            connection.execute(
                "SET LOCAL synchronous_commit = on"
            )  # whatever the server's own way: what is told stays
            found = connection.execute(
                f"INSERT INTO {TABLE} (project, name, batch, content, rows) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING RETURNING 1",
                row,
            ).fetchone()
            if found is not None:
                return True
            kept = connection.execute(
                f"SELECT content FROM {TABLE} WHERE project = %s AND name = %s AND batch = %s", row[:3]
            ).fetchone()
        if kept is not None and kept[0] != content:
            raise InvalidBatchError(
                f"The idempotency key {batch_id!r} was used before with other rows (W-2). "
                "Nothing was written; give this batch a key of its own."
            )
        return False

    def paths(self, name: str) -> tuple[str, ...]:
        """Return the copies of all batches, sorted; those that are not here yet are fetched first."""
        folder = self._folder / name
        with self._connected() as connection:
            if not self._is_made(connection):
                return ()
            listed = connection.execute(
                f"SELECT batch, content FROM {TABLE} WHERE project = %s AND name = %s", (self._project, name)
            ).fetchall()
            # By their content too: a copy of a batch that has since been dropped and written anew is none of it.
            wanted = {batch: folder / f"{batch}-{content}.parquet" for batch, content in listed}
            missing = [batch for batch, path in wanted.items() if not path.is_file()]
            if missing:
                folder.mkdir(parents=True, exist_ok=True)
                with connection.cursor(name="copies") as cursor:
                    cursor.itersize = 10
                    cursor.execute(
                        f"SELECT batch, content, rows FROM {TABLE} WHERE project = %s AND name = %s AND batch = ANY (%s)",
                        (self._project, name, missing),
                    )
                    for batch, content, rows in cursor:
                        wanted[batch] = folder / f"{batch}-{content}.parquet"
                        _put(wanted[batch], rows)
        return tuple(sorted(map(str, wanted.values())))

    def drop(self, name: str) -> None:
        """Remove all batches of ``name``, and their copies."""
        with self._connected() as connection:
            if self._is_made(connection):
                connection.execute(f"DELETE FROM {TABLE} WHERE project = %s AND name = %s", (self._project, name))
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def ping(self, deadline: float) -> None:
        """Ask the server anything at all, or raise a `BackendError`; it takes whole seconds, and two at least, to give up."""
        with self._connected(max(1, math.ceil(deadline))) as connection:
            connection.execute("SELECT 1")

    def _is_made(self, connection: Any) -> bool:
        (found,) = connection.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone()
        return found is not None

    def _make_table(self, connection: Any) -> None:
        if not self._is_made(connection):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
            connection.execute(CREATE)
            connection.commit()

    @contextmanager
    def _connected(self, seconds: int = _CONNECT_SECONDS) -> Iterator[Any]:
        """Give a connection whose changes are kept when the block ends well; the driver's errors become ours (X-2, G-4)."""
        errors, where = self._psycopg.errors, f"the PostgreSQL at {self._address.shown}"
        try:
            with self._psycopg.connect(self._address.uri, connect_timeout=seconds) as connection:
                yield connection
        except self._psycopg.Error as error:
            said = unstopped(self._address.without_secrets(str(error)))
            cause = None if self._address.hides(str(error)) else error
            if isinstance(error, errors.QueryCanceled | errors.ConnectionTimeout | errors.LockNotAvailable):
                raise DeadlineExceededError(f"{where} did not answer in time: {said}.") from cause
            if isinstance(error, errors.TooManyConnections | errors.SerializationFailure | errors.DeadlockDetected):
                raise ThrottledError(f"{where} is busy: {said}. Try again later.") from cause
            if isinstance(error, self._psycopg.OperationalError | errors.ReadOnlySqlTransaction):
                raise BackendUnavailableError(
                    f"{where} cannot be used: {said}. Is it running, and may we write there?"
                ) from cause
            raise


def _put(path: Path, rows: bytes) -> None:
    part = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        part.write_bytes(rows)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
