"""Files that are read more than once for one answer must be the same files each time."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager

import duckdb

from e2i_fs.errors import BackendDataError

__all__ = ["ChangedWhileReadError", "unchanged"]


class ChangedWhileReadError(BackendDataError):
    """A file of the history was another after reading than before: what was read may be of both, so it is no answer."""


@contextmanager
def unchanged(paths: Iterable[str]) -> Iterator[None]:
    """Raise `ChangedWhileReadError` if a file is replaced or written while the block reads it."""
    before = {path: _state(path) for path in paths}
    try:
        yield
    except duckdb.Error as error:  # what it was not able to read may be half of one file and half of another
        _check(before, error)
        raise
    _check(before, None)


def _check(before: dict[str, Hashable], cause: Exception | None) -> None:
    for path, state in before.items():
        if _state(path) != state:
            raise ChangedWhileReadError(
                f"The file {path} was written or replaced while it was read. Ask again; write a new file and move it into the "
                "place of the old one, so that no reader meets half of it."
            ) from cause


def _state(path: str) -> Hashable:
    try:
        state = os.stat(path)
    except OSError:
        return None  # what is gone, or cannot be looked at, says so where it is read
    return (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size)
