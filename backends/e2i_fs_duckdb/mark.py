"""A number in a file that every process maps: while it stands, nothing of what it marks has changed. To look costs no call of the system."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ChangeMark"]

_SIZE = 8


class ChangeMark:
    """The mark beside a database: even while nobody changes it, odd from before a commit until after it, another even one then.

    ``number[0]`` is the mark: what was read while `now` gave this number stands as long as it is this number.

    One writer at a time holds the file's lock around its commit. One that dies between leaves the mark odd: then readers look
    into the database itself, until the next change.
    """

    def __init__(self, file: Path) -> None:
        self._path = str(file)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_size < _SIZE:
                os.pwrite(handle, bytes(_SIZE), 0)  # written, not only made longer: a full disk must show here
            fcntl.flock(handle, fcntl.LOCK_UN)  # before it is mapped, which keeps the lock of what is mapped
            self.number = memoryview(mmap.mmap(handle, _SIZE)).cast("Q")
        finally:
            os.close(handle)

    def now(self) -> int | None:
        """Return the mark, None while a change is under way (or was, and its writer died)."""
        number: int = self.number[0]
        return None if number & 1 else number

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the mark odd while the block commits."""
        handle = os.open(self._path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # the system lets go of it if this process dies
            changing = self.number[0] | 1
            self.number[0] = changing
            try:
                yield
            finally:
                self.number[0] = changing + 1
                fcntl.flock(handle, fcntl.LOCK_UN)  # a child forked meanwhile has the file open too, and would hold it
        finally:
            os.close(handle)
