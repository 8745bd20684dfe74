"""A run in steps: windows of event time for a full run, what arrived for an incremental one; and where one was left off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgpack

from e2i_fs.backend import ParquetRows, ScanPart
from e2i_fs.definitions import fingerprint
from e2i_fs.ops.seen import FileState, Seen, Standing, only, still_as_read

__all__ = ["Step", "Work", "arrivals", "cut", "windows"]


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of a run: the rows of ``parts`` in a window (µs, both ends count), and of ``seen`` those after ``seen_until_us``.

    ``state`` tells the same step over the same files; None where that cannot be told, since a part is a stream.
    """

    start_us: int | None
    end_us: int
    parts: Sequence[ScanPart]
    seen: Sequence[ScanPart] = ()
    seen_until_us: int = 0
    state: str | None = None


@dataclass(slots=True)
class Work:
    """What a run has finished so far, for the one that takes it up: whole steps, and pieces of the one it was at.

    ``fresh`` and ``old`` are the files of the current step: all of their rows count, or those after ``until_us`` only.
    """

    standing: Standing
    done: list[tuple[int | None, int, str]] = field(default_factory=list)
    current: tuple[int | None, int, str] | None = None
    fresh: Mapping[str, FileState] = field(default_factory=dict)
    old: Mapping[str, FileState] = field(default_factory=dict)
    until_us: int = 0
    chunks: int = 0

    def packed(self) -> bytes:
        """Return all but ``chunks``, which change more often, as bytes."""
        made: bytes = msgpack.packb(
            [self.standing.listed(), self.done, self.current, dict(self.fresh), dict(self.old), self.until_us]
        )
        return made

    @classmethod
    def unpacked(cls, data: bytes, chunks: int) -> Work:
        """Return what `packed` was made of."""
        standing, done, current, fresh, old, until_us = msgpack.unpackb(data, use_list=False, strict_map_key=False)
        return cls(
            Standing.of(standing), list(done), current,
            {path: FileState(*s) for path, s in fresh.items()}, {path: FileState(*s) for path, s in old.items()},
            until_us, chunks,
        )  # fmt: skip


def cut(
    start_us: int | None, end_us: int, batch_us: int | None, at: Iterable[int] = ()
) -> list[tuple[int | None, int]]:
    """Return a window in batches: at whole multiples of ``batch_us`` since 1970, so that two runs cut alike, and after each of ``at``.

    >>> cut(5, 25, 10)
    [(5, 9), (10, 19), (20, 25)]
    >>> cut(5, 25, 10, at=[22])
    [(5, 9), (10, 19), (20, 22), (23, 25)]
    """
    ends = {end for end in at if (start_us is None or start_us <= end) and end < end_us}
    if batch_us is not None and start_us is not None:
        ends |= set(range((start_us // batch_us + 1) * batch_us - 1, end_us, batch_us))
    edges = [*sorted(ends), end_us]
    starts = [start_us, *(end + 1 for end in edges[:-1])]
    return list(zip(starts, edges, strict=True))


def windows(
    parts: Sequence[ScanPart], files: Mapping[str, FileState], view: str, window: tuple[int | None, int],
    batch_us: int | None, left: Work | None,
) -> list[Step]:  # fmt: skip
    """Return the steps of a run over a whole window. A stream can be read once, so then there is one step."""
    if any(not isinstance(part, ParquetRows) for part in parts):
        return [Step(*window, parts)]
    known = [] if left is None else [end for _, end, _ in (*left.done, *([left.current] if left.current else []))]
    made = []
    for start_us, end_us in cut(*window, batch_us, known):
        made.append(Step(start_us, end_us, parts, state=_state(view, start_us, end_us, files)))
    return made


def arrivals(
    parts: Sequence[ScanPart],
    files: Mapping[str, FileState],
    view: str,
    end_us: int,
    seen: Seen | None,
    left: Work | None,
) -> Iterator[tuple[Step, Mapping[str, FileState], Mapping[str, FileState]]]:
    """Yield the steps of an incremental run, each with its files: those read whole, and those read from the last end on.

    What an earlier run had begun is finished first, as it was begun; then comes what arrived since. Nothing, if nothing did.
    """
    streams = [part for part in parts if not isinstance(part, ParquetRows)]
    if left is not None and left.current is not None and not streams and left.current[1] <= end_us:
        before = {} if seen is None else seen.files
        same = left.old.items() <= before.items() and (
            not left.old or (seen is not None and seen.end_us == left.until_us)
        )
        if same and still_as_read({**left.fresh, **left.old}, files):
            yield _arrived(parts, left.fresh, left.old, view, left.current[1], left.until_us), left.fresh, left.old
            covered = {**left.fresh, **left.old}
            seen = Seen(left.standing, left.current[1], covered)
    old = {} if seen is None else {path: state for path, state in files.items() if seen.files.get(path) == state}
    fresh = {path: state for path, state in files.items() if path not in old}
    until_us = 0 if seen is None else seen.end_us
    if old and end_us <= until_us and not fresh and not streams:
        return
    if streams:
        yield Step(None, end_us, [*streams, *only(parts, fresh)], only(parts, old), until_us), fresh, old
    elif files:
        yield _arrived(parts, fresh, old, view, end_us, until_us), fresh, old


def _arrived(
    parts: Sequence[ScanPart], fresh: Mapping[str, FileState], old: Mapping[str, FileState], view: str, end_us: int, until_us: int
) -> Step:  # fmt: skip
    state = _state(view, None, end_us, fresh, old, until_us)
    return Step(None, end_us, only(parts, fresh), only(parts, old), until_us, state)


def _state(
    view: str, start_us: int | None, end_us: int, fresh: Mapping[str, FileState], old: Mapping[str, FileState] | None = None,
    until_us: int = 0,
) -> str:  # fmt: skip
    def listed(files: Mapping[str, FileState]) -> list[list[str | int]]:
        return [[path, *state] for path, state in sorted(files.items())]

    return fingerprint([view, start_us, end_us, listed(fresh), listed(old or {}), until_us])
