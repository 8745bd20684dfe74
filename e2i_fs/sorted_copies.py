"""Sorted copies of a view's files, beside the store's records: made by `Store.optimize`, used by retrieval, never trusted blindly.

A copy notes the state of every file that it was made of. It stands for them only while each is among the view's files and
unchanged; files that came later are read beside it. So whoever writes need not know of it, and an answer is the same with it
and without. A copy is a folder that is there whole or not at all: the files, then what it was made of, then its name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from filelock import FileLock, Timeout

from e2i_fs.backend import ParquetRows, ScanPart
from e2i_fs.definitions import FeatureView
from e2i_fs.dtypes import DType
from e2i_fs.errors import (
    BackendDataError,
    BackendError,
    BackendUnavailableError,
    ThrottledError,
    UnsupportedError,
    unstopped,
)
from e2i_fs.pit.connection import connect
from e2i_fs.pit.engine import translated
from e2i_fs.pit.history import history_sql
from e2i_fs.pit.sorted_rows import KEYS, ROWS, SortedRows, write_sorted
from e2i_fs.pit.steady import FileState, file_state, unchanged

if TYPE_CHECKING:
    from e2i_fs.config import EngineConfig

__all__ = ["Files", "Optimized", "SortedCopies", "SortedCopy"]

_ABOUT = "copy.json"
_COPY = re.compile(
    r"[0-9a-f]{12}-[0-9a-f]{8}-[0-9]{12}-[0-9a-f]{32}"
)  # definition, owner, number, and what makes it the only one
_PART, _GONE = ".part", ".gone-"
_PATIENCE = 600.0
_LOOKS = 100_000  # some seconds

_log = logging.getLogger("e2i_fs")


@dataclass(frozen=True, slots=True)
class Optimized:
    """The sorted copy that `Store.optimize` made of one view on one backend.

    ``rows`` and ``keys`` count what the copy has; rows without an event time or with a missing key, which answer
    nobody, are left out. ``files`` is the number of files it was made from, ``size`` its size in bytes.

    >>> import tempfile
    >>> from e2i_fs.testing import example_store
    >>> with example_store({"backend": "duckdb", "path": tempfile.mkdtemp()}) as store:
    ...     (made,) = store.optimize("hcp_stats")
    >>> made.rows, made.keys, made.files
    (3, 2, 1)
    """

    view: str
    backend: str
    rows: int
    keys: int
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class SortedCopy:
    """How much of a view's history on one backend retrieval reads from a sorted copy.

    ``files`` is the number of local files the view has, ``covered`` how many of them are read from the copy. It is 0
    when the copy is not used: one of its files was changed or deleted, or the copy is damaged. Then run
    `Store.optimize` again.

    >>> import tempfile
    >>> from e2i_fs.testing import example_store
    >>> with example_store({"backend": "duckdb", "path": tempfile.mkdtemp()}) as store:
    ...     _ = store.optimize("hcp_stats")
    ...     (copy,) = store.sorted_copies()
    >>> copy.view, copy.covered, copy.files
    ('hcp_stats', 1, 1)
    """

    view: str
    backend: str
    files: int
    covered: int


@dataclass(frozen=True, slots=True)
class _About:
    """What a copy was made of: each file's state, and how its columns were read; ``sizes`` are those of its own files, in bytes."""

    fingerprint: str
    files: Mapping[str, tuple[FileState, str]]
    sizes: Mapping[str, int]


@dataclass(slots=True)
class SortedCopies:
    """The copies below ``folder``; in memory, where there is no folder, there are none."""

    folder: Path | None
    _known: dict[str, _About]
    _damaged: set[Path]

    @classmethod
    def below(cls, state: str | None) -> SortedCopies:
        """Return the copies of the store whose records lie in ``state``."""
        return cls(None if state is None else Path(state) / "sorted", {}, set())

    # ---- reading -------------------------------------------------------------------------------------------

    def standing_in(self, view: str, fingerprint: str, parts: Sequence[ScanPart]) -> list[ScanPart | SortedRows]:
        """Return ``parts`` with the copy, if there is one, that stands for the most of their files, in the place of these."""
        given = {path: _reading(part) for part in parts if isinstance(part, ParquetRows) for path in part.paths}
        best: SortedRows | None = None
        for copy in self._of(view, fingerprint):
            about = self._about(copy)
            if about is None or about.fingerprint != fingerprint or len(about.files) <= (len(best.of) if best else 0):
                continue
            if all(given.get(p) == how and file_state(p) == state for p, (state, how) in about.files.items()):
                if not self._whole(copy, about):
                    continue
                best = SortedRows(str(copy), frozenset(about.files))
        return list(parts) if best is None else [best, *_without(parts, best.of)]

    def has_any(self, view: str, fingerprint: str) -> bool:
        """Return whether a view has a copy under its present definition, in use or not."""
        return any(True for _ in self._of(view, fingerprint))

    def state(self, of: Files, backend: str) -> SortedCopy:
        """Return for how many of these files a copy stands now."""
        read = self.standing_in(of.view.name, of.fingerprint, of.parts)
        covered = sum(len(part.of) for part in read if isinstance(part, SortedRows))
        return SortedCopy(of.view.name, backend, len(of.files), covered)

    def _whole(self, copy: Path, about: _About) -> bool:
        """Return whether the copy's files are there as they were made; the view's own files are read instead of one that is not."""
        try:
            there = {name: (copy / name).stat().st_size for name in (ROWS, KEYS)}
        except FileNotFoundError:
            there = {}
        # A folder that is gone was removed whole, with its name: by an optimize that has made another, or with its view.
        if there != about.sizes and copy not in self._damaged and copy.is_dir():
            self._damaged.add(copy)
            _log.warning(
                "The sorted copy %s is damaged and not used. Run optimize again, and remove this folder.", copy
            )
        return there == about.sizes

    def _of(self, view: str, fingerprint: str) -> Iterator[Path]:
        if self.folder is None:
            return
        try:
            found = sorted(os.scandir(self.folder / _name(view)), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        yield from (Path(e.path) for e in found if e.name.startswith(f"{fingerprint[:12]}-"))

    def _about(self, copy: Path) -> _About | None:
        """Return what a copy was made of; None when it is gone. A copy never changes, so it is looked up once."""
        place = str(copy)
        if place not in self._known:
            try:
                told = json.loads((copy / _ABOUT).read_text(encoding="utf-8"))
                files = {p: (FileState(*state), how) for p, (state, how) in told["files"].items()}
                self._known[place] = _About(
                    told["fingerprint"], files, {n: int(told["sizes"][n]) for n in (ROWS, KEYS)}
                )
            except FileNotFoundError:
                return None
            except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
                raise BackendDataError(
                    f"The sorted copy {copy} is damaged ({unstopped(error)}). Remove the folder; it holds nothing that is not elsewhere."
                ) from error
        return self._known[place]

    # ---- making --------------------------------------------------------------------------------------------

    def make(self, of: Files, *, backend: str, limits: EngineConfig | None) -> Optimized:
        """Write a copy of files; see `Store.optimize`."""
        view = of.view.name
        if self.folder is None:
            raise UnsupportedError(
                "This store keeps its records in memory and has no place for a sorted copy; give it a path, or `state`."
            )
        if not of.files:
            raise UnsupportedError(
                f"View {view!r} on {backend!r} has no local Parquet files to sort: its history is empty, or comes as a stream."
            )
        home = self.folder / _name(view)
        try:
            home.mkdir(parents=True, exist_ok=True)
            with FileLock(home / ".lock", timeout=_PATIENCE):
                return self._made(home, of, backend, limits)
        except Timeout as error:
            raise ThrottledError(
                f"View {view!r} has been sorted by another process for {_PATIENCE:g} s. Try again."
            ) from error
        except OSError as error:
            raise BackendUnavailableError(
                f"The sorted copy of view {view!r} cannot be written below {home}: {unstopped(error)}. Free space, or make the "
                "folder writable; nothing is lost."
            ) from error

    def _made(self, home: Path, of: Files, backend: str, limits: EngineConfig | None) -> Optimized:
        owner = hashlib.sha256(backend.encode()).hexdigest()[:8]
        copies = [entry.name for entry in os.scandir(home) if _COPY.fullmatch(entry.name)]
        number = 1 + max((int(name.split("-")[2]) for name in copies), default=0)
        part = home / _PART
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        part.mkdir()
        try:
            paths = list(of.files)
            _outlast(part / "begun", paths)
            states = {path: file_state(path) for path in paths}
            with unchanged(paths):
                rows, keys = of.sort_into(str(part), limits)
            sizes = {name: (part / name).stat().st_size for name in (ROWS, KEYS)}
            made_of = {path: [states[path], of.files[path]] for path in paths}
            about = {"fingerprint": of.fingerprint, "files": made_of, "sizes": sizes}
            with (part / _ABOUT).open("w", encoding="utf-8") as file:
                json.dump(about, file)
                file.flush()
                os.fsync(file.fileno())
            # No name comes twice, also after all copies were removed: other processes remember what a name was made of.
            part.rename(home / f"{of.fingerprint[:12]}-{owner}-{number:012d}-{uuid.uuid4().hex}")
        except (OSError, BackendError) as error:
            if part.exists():
                raise
            raise BackendUnavailableError(
                f"View {of.view.name!r} was deleted while it was sorted. If it was applied again, run optimize again."
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        # The one before stays, for whoever has begun to read it.
        own = [name for name in copies if name.split("-")[1] == owner]
        for name in sorted(own, key=lambda name: name.split("-")[2])[:-1]:
            _remove(home / name)
        _sweep(home)
        return Optimized(of.view.name, backend, rows, keys, len(paths), sum(sizes.values()))

    def drop(self, view: str) -> None:
        """Remove every copy of a view, and what is just being made, but not the lock of who makes it: the next must wait for the same."""
        home = None if self.folder is None else self.folder / _name(view)
        if home is not None and home.is_dir():
            for entry in os.scandir(home):
                if entry.name == _PART:
                    shutil.rmtree(entry.path, ignore_errors=True)
                elif _COPY.fullmatch(entry.name):
                    _remove(Path(entry.path))
            _sweep(home)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a view's history as a backend gives them: each by how its columns are read."""

    view: FeatureView
    fingerprint: str
    join_keys: Mapping[str, DType]
    parts: tuple[ParquetRows, ...]
    files: Mapping[str, str]

    @classmethod
    def among(
        cls, view: FeatureView, fingerprint: str, join_keys: Mapping[str, DType], parts: Sequence[ScanPart]
    ) -> Files:
        """Return the files among ``parts``; streams are left out."""
        read = tuple(part for part in parts if isinstance(part, ParquetRows))
        return cls(view, fingerprint, join_keys, read, {path: _reading(part) for part in read for path in part.paths})

    def sort_into(self, folder: str, limits: EngineConfig | None) -> tuple[int, int]:
        """Write the sorted copy; return how many rows and keys it has."""
        connection = connect(limits)
        try:
            history = history_sql(connection, self.view, self.join_keys, self.parts)
            return write_sorted(connection, history, self.view, len(self.join_keys), folder)
        except duckdb.IOException as error:
            raise BackendUnavailableError(
                f"The history of view {self.view.name!r} cannot be sorted into {folder}: {unstopped(error)}. Free space, or "
                "make the folder writable; nothing is lost."
            ) from error
        except duckdb.Error as error:
            raise translated(error, self.view) from error
        finally:
            connection.close()


def _reading(part: ParquetRows) -> str:
    """Return in one word how the columns of a part's files are read: those of another way are other rows."""
    how = json.dumps([sorted(part.columns.items()), sorted(part.missing_ok)])
    return hashlib.sha256(how.encode()).hexdigest()[:16]


def _without(parts: Sequence[ScanPart], files: frozenset[str]) -> Iterator[ScanPart]:
    for part in parts:
        if not isinstance(part, ParquetRows):
            yield part
        elif left := tuple(path for path in part.paths if path not in files):
            yield replace(part, paths=left)


def _outlast(marker: Path, paths: Sequence[str]) -> None:
    """Wait until the file system's clock has left the last change of the files behind: a next change then shows in their states."""
    last = max((state.changed_ns for state in map(file_state, paths) if state is not None), default=0)
    for _ in range(_LOOKS):
        marker.write_bytes(b"")
        if marker.stat().st_ctime_ns > last:
            return
    raise BackendUnavailableError(
        f"A file of {os.path.dirname(paths[0])} was changed in the future, by the clock of {marker.parent}. Try again when "
        "the clocks agree."
    )


def _remove(copy: Path) -> None:
    """Take a copy away whole: first its name, so that nobody who looks meanwhile finds half of it, and takes it for damaged."""
    with suppress(OSError):
        copy.rename(copy.with_name(_GONE + copy.name))


def _sweep(home: Path) -> None:
    """Remove the files of copies that were taken away, also of those whose process was killed before it did."""
    for gone in home.glob(f"{_GONE}*"):
        shutil.rmtree(gone, ignore_errors=True)


def _name(view: str) -> str:
    """Return the name of a view's folder: no two views have one, and none is another place than a folder of its own."""
    quoted = urllib.parse.quote(view, safe="").replace(".", "%2E")
    return quoted if len(quoted) <= 150 else f"{quoted[:100]}-{hashlib.sha256(view.encode()).hexdigest()[:32]}"
