"""Append-only history in Parquet segments: one immutable file a batch, there whole or not at all (W-2, O-7)."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from e2i_fs.arrow import pa, pq
from e2i_fs.errors import BackendDataError, BackendUnavailableError, InvalidBatchError, unstopped
from e2i_fs.values import content_hash

__all__ = ["Segments"]

_CONTENT, _BATCH = b"e2i_fs.content", b"e2i_fs.batch"

_TICK = 0.1
"""More seconds than a file system's time of change may be behind."""


class _Counted(NamedTuple):
    """How many segments were listed while ``watched`` was of this time of change, which was first seen at ``since``."""

    watched: str
    changed_ns: int
    segments: int
    since: float
    settled: bool


class Segments:
    """Segments below ``folder``, in one sub-folder for each name (a view, and its generation).

    ``made`` says that the folder itself is there from the start: when it is gone, it was taken away, and what lay in
    it is unknown rather than nothing.
    """

    def __init__(self, folder: Path, *, made: bool = False) -> None:
        self._folder = folder
        self._made = made
        self._counts: dict[str, _Counted] = {}

    def _check_there(self) -> None:
        if self._made and not self._folder.is_dir():
            raise BackendUnavailableError(f"The folder {self._folder} is gone; put it back, or open the store anew.")

    def append(self, name: str, table: pa.Table, *, batch_id: str) -> bool:
        """Add ``table`` as one segment; return False if ``batch_id`` is there already.

        Raises `InvalidBatchError` when the same ``batch_id`` came with other rows, `BackendUnavailableError` when
        the folder cannot be written.
        """
        self._check_there()
        content = content_hash(table).encode()
        final = self._folder / name / f"{hashlib.sha256(batch_id.encode()).hexdigest()[:32]}.parquet"
        part = final.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as file:
                    about = {_CONTENT: content, _BATCH: batch_id.encode()}
                    pq.write_table(table.replace_schema_metadata(about), file, compression="zstd")
                    file.flush()
                    os.fsync(file.fileno())
                # A hard link is refused when the name is taken, so of two writers of one batch one wins.
                os.link(part, final)
            except FileExistsError:
                return self._same_again(final, content, batch_id)
            finally:
                part.unlink(missing_ok=True)
            _sync_folder(final.parent)
        except OSError as error:
            raise BackendUnavailableError(
                f"Cannot write history below {self._folder}: {unstopped(error)}. Make the folder writable, or free space."
            ) from error
        return True

    def _same_again(self, final: Path, content: bytes, batch_id: str) -> bool:
        try:
            kept = (pq.read_schema(final).metadata or {}).get(_CONTENT)
        except pa.ArrowInvalid as error:
            raise BackendDataError(f"The segment {final} is not readable Parquet; restore it from a backup.") from error
        if kept != content:
            raise InvalidBatchError(
                f"The idempotency key {batch_id!r} was used before with other rows (W-2). "
                "Nothing was written; give this batch a key of its own."
            )
        return False

    def paths(self, name: str) -> tuple[str, ...]:
        """Return the files of all whole segments, sorted."""
        folder = self._folder / name
        try:
            return tuple(sorted(e.path for e in os.scandir(folder) if e.name.endswith(".parquet")))
        except FileNotFoundError:
            self._check_there()
            return ()
        except OSError as error:
            raise BackendUnavailableError(f"Cannot read history below {self._folder}: {unstopped(error)}.") from error

    def count(self, name: str) -> int:
        """Return how many whole segments ``name`` has, without listing them again while nothing was added.

        A folder's time of change tells. It moves in ticks, so it counts only when the folder was listed once more after the tick
        in which the change was seen.
        """
        known = self._counts.get(name)
        if known is not None and known.settled and _changed(known.watched) == known.changed_ns:
            return known.segments
        return self._listed(name)

    def _listed(self, name: str) -> int:
        """Count the segments of ``name`` by listing them, and note what tells when to list them again."""
        watched, now = str(self._folder / name), time.monotonic()
        changed_ns = _changed(watched)
        if changed_ns is None:
            watched = str(self._folder)  # which changes when the folder of this name is made
            changed_ns = _changed(watched)
        segments, known = len(self.paths(name)), self._counts.get(name)
        if changed_ns is not None:
            same = known is not None and (known.watched, known.changed_ns) == (watched, changed_ns)
            since = known.since if known is not None and same else now
            self._counts[name] = _Counted(watched, changed_ns, segments, since, now - since > _TICK)
        return segments

    def batches(self, name: str) -> Iterator[tuple[str, pa.Table]]:
        """Yield each whole segment of ``name``: its ``batch_id`` and its rows as they were given.

        Raises `BackendDataError` for a segment that is damaged or is of a version that did not note the id.
        """
        for path in self.paths(name):
            try:
                table = pq.ParquetFile(path).read()
            except (pa.ArrowInvalid, OSError) as error:
                raise BackendDataError(f"The segment {path} cannot be read: {unstopped(error)}.") from error
            about = table.schema.metadata or {}
            if _BATCH not in about:
                raise BackendDataError(
                    f"The segment {path} does not say which batch it is; it was written by e2i_fs < 0.1."
                )
            yield about[_BATCH].decode(), table.replace_schema_metadata(None)

    def drop(self, name: str) -> None:
        """Remove all segments of ``name``."""
        shutil.rmtree(self._folder / name, ignore_errors=True)


def _changed(folder: str) -> int | None:
    """Return when a folder was changed last, None if it is not there."""
    try:
        return os.stat(folder).st_mtime_ns
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
