"""Files that are read more than once for one answer must be the same files each time."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import duckdb
import pyarrow as pa

from e2i_fs.errors import BackendDataError

__all__ = ["ChangedWhileReadError", "FileState", "file_state", "unchanged"]


class FileState(NamedTuple):
    """A file as it was when it was looked at."""

    inode: int
    written_ns: int
    changed_ns: int
    size: int


class ChangedWhileReadError(BackendDataError):
    """A file of the history was another after reading than before: what was read may be of both, so it is no answer."""


@contextmanager
def unchanged(paths: Iterable[str], *, there: Collection[str] = ()) -> Iterator[None]:
    """Raise `ChangedWhileReadError` if a file is replaced or written while the block reads it, or one of ``there`` is gone before."""
    before = {path: file_state(path) for path in paths}
    for path in there:
        if before.setdefault(path, file_state(path)) is None:
            raise ChangedWhileReadError(f"The file {path} was removed just before it was read. Ask again.")
    try:
        yield
    except (
        duckdb.Error,
        OSError,
        pa.ArrowException,
    ) as error:  # what it was not able to read may be half of one file and half of another
        _check(before, error)
        raise
    _check(before, None)


def file_state(path: str) -> FileState | None:
    """Return the state of a file; None when it cannot be looked at, which is told where it is read."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return FileState(state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size)


def _check(before: dict[str, FileState | None], cause: Exception | None) -> None:
    for path, state in before.items():
        if file_state(path) != state:
            raise ChangedWhileReadError(
                f"The file {path} was written or replaced while it was read. Ask again; write a new file and move it into the "
                "place of the old one, so that no reader meets half of it."
            ) from cause
