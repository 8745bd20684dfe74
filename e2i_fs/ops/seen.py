"""What was read before: files told by their state, rows online by witnesses; so that a run reads only what arrived (W-3).

A file of history counts as read while its inode, its times of change and its size are what they were; whatever arrives in a
new or rewritten file is read, however old its event times. Nothing is trusted that the online store no longer bears out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgpack

from e2i_fs.backend import Backend, Key, OnlineRow, ParquetRows, ScanPart
from e2i_fs.errors import BackendDataError
from e2i_fs.pit.steady import FileState

__all__ = ["FileState", "Seen", "Standing", "Witness", "file_states", "only", "still_as_read", "witnesses_of"]

_WITNESSES = 64
_PER_PIECE = 8


class Witness(NamedTuple):
    """A row that was put online: its key, event and created time (µs)."""

    key: Key
    event_us: int
    created_us: int | None


def file_states(parts: Sequence[ScanPart]) -> dict[str, FileState]:
    """Return the state of every file among ``parts``. Raises `BackendDataError` for one that is gone."""
    found = {}
    for part in parts:
        for path in part.paths if isinstance(part, ParquetRows) else ():
            try:
                state = os.stat(path)
            except OSError as error:
                raise BackendDataError(
                    f"The file {path} cannot be read: {error.strerror}. Put it back, or apply the view with where it is now."
                ) from error
            found[path] = FileState(state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size)
    return found


def only(parts: Sequence[ScanPart], files: Iterable[str]) -> list[ScanPart]:
    """Return what of ``parts`` lies in ``files``; streams are left out."""
    wanted = set(files)
    chosen: list[ScanPart] = []
    for part in parts:
        if isinstance(part, ParquetRows):
            paths = tuple(path for path in part.paths if path in wanted)
            chosen += [replace(part, paths=paths)] if paths else []
    return chosen


@dataclass(frozen=True, slots=True)
class Standing:
    """What the online rows of a view were like when something was noted: the backend's counts of writes and rows, and some rows."""

    fingerprint: str
    sequence: int = -(2**63)  # that of a backend that has lost rows is below zero
    rows: int = 0
    witnesses: tuple[Witness, ...] = ()
    loss: int = 0

    def holds(self, backend: Backend, view: str, fingerprint: str, at_us: int, loss: int) -> bool:
        """Return whether the view is still the same, and its online rows are still there, or greater ones.

        Since a ``loss`` that is not over the backend answers nobody: then it tells itself when rows are lost again.
        """
        position = backend.position(view)
        if fingerprint != self.fingerprint or position.sequence < self.sequence or position.rows < self.rows:
            return False
        if loss or not self.witnesses:
            return loss in (0, self.loss)
        kept = backend.online_read(view, [w.key for w in self.witnesses], at_us=at_us)
        return all(_is_borne_out(row, told) for row, told in zip(kept, self.witnesses, strict=True))

    def listed(self) -> list[Any]:
        """Return this as a list of plain values."""
        return [self.fingerprint, self.sequence, self.rows, self.witnesses, self.loss]

    @classmethod
    def of(cls, listed: Sequence[Any]) -> Standing:
        """Return what `listed` was made of."""
        fingerprint, sequence, rows, witnesses, *loss = listed  # which former versions did not note
        return cls(fingerprint, sequence, rows, tuple(Witness(*w) for w in witnesses), *loss)

    def joined(self, later: Standing) -> Standing:
        """Return this and a later one together: the latest of their witnesses, and the greater counts."""
        told = (*self.witnesses, *later.witnesses)[-_WITNESSES:]
        return Standing(
            self.fingerprint, max(self.sequence, later.sequence), max(self.rows, later.rows), told, later.loss
        )


def witnesses_of(keys: Sequence[Key], rows: Sequence[OnlineRow]) -> list[Witness]:
    """Return some of the rows that were put online, spread over all."""
    step = -(-len(keys) // _PER_PIECE)
    return [Witness(keys[i], rows[i].event_us, rows[i].created_us) for i in range(0, len(keys), step or 1)]


def _is_borne_out(row: OnlineRow | None, told: Witness) -> bool:
    if row is None:
        return False
    # A created time that is missing comes before any (P-4).
    return (row.event_us, row.created_us is not None, row.created_us or 0) >= (
        told.event_us, told.created_us is not None, told.created_us or 0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What of a view's history is online on one backend: of each of ``files``, the rows up to ``end_us``."""

    standing: Standing
    end_us: int
    files: Mapping[str, FileState] = field(default_factory=dict)

    def packed(self) -> bytes:
        """Return this as bytes."""
        made: bytes = msgpack.packb([self.standing.listed(), self.end_us, dict(self.files)])
        return made

    @classmethod
    def unpacked(cls, data: bytes) -> Seen:
        """Return what `packed` was made of."""
        standing, end_us, files = msgpack.unpackb(data, use_list=False, strict_map_key=False)
        return cls(Standing.of(standing), end_us, {path: FileState(*state) for path, state in files.items()})


def still_as_read(files: Mapping[str, FileState], now: Mapping[str, FileState]) -> bool:
    """Return whether each of ``files`` is there and unchanged."""
    return all(now.get(path) == state for path, state in files.items())
