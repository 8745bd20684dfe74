"""The seam between kit and harness: every call of a harness has a time limit, and what it does wrong is told as its own.

A harness is a stranger's code, as a backend is. What it raises, or that it hangs, says nothing of the backend, so it is a
`HarnessError` that names the method, and never a finding about a rule.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

import e2i_fs
from e2i_fs.protocol import FeatureStore
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.findings import HarnessError, Stuck
from e2i_fs.testing.harness import Deviation, Harness
from e2i_fs.testing.inspector import _Worker

__all__ = ["Reach", "made", "place_of"]

_PYTHON = str(Path(traceback.__file__).parent)
_TELLING = ("definitions", "scan", "online_read", "online_write", "position")


def place_of(error: BaseException) -> str:
    """Return where it was raised, if that is in the author's own files: the rest tells them nothing."""
    ours = str(Path(e2i_fs.__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((ours, _PYTHON))]
    frames = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith("<")]
    if not frames:
        return ""
    last = frames[-1]
    return f" (raised in {Path(last.filename).name}, line {last.lineno}, {last.name})"


def made(make: Callable[[Path], Harness], folder: Path) -> Harness:
    """Return the harness that ``make`` makes for ``folder``, looked over; raises `HarnessError`, or an error of ours."""
    name = getattr(make, "__name__", repr(make))
    try:
        harness = make(folder)
    except (e2i_fs.E2IError, HarnessError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise HarnessError(
            f"{name} could not be made: {type(error).__name__}: {error}{place_of(error)}. It is called with one argument, the "
            "path of an empty folder, once for each test."
        ) from error
    looked_over(harness)
    return harness


def looked_over(harness: object) -> None:
    """Raise `HarnessError` unless ``harness`` is a `Harness` whose clock, patience and deviations can be used."""
    if not isinstance(harness, Harness):
        raise HarnessError(
            f"The harness is {harness!r}; it must be an instance of a subclass of e2i_fs.testing.Harness."
        )
    name, patience, deviations = type(harness).__name__, harness.patience, harness.deviations
    if isinstance(patience, bool) or not isinstance(patience, (int, float)) or not patience > 0:
        raise HarnessError(f"{name}.patience is {patience!r}; give the seconds that any one call may take, e.g. 30.0.")
    if not isinstance(deviations, Sequence) or not all(isinstance(one, Deviation) for one in deviations):
        raise HarnessError(
            f"{name}.deviations is {deviations!r}; give a list of e2i_fs.testing.Deviation(test, kind, reason)."
        )
    try:
        clock, again = harness.clock, harness.clock
    except Exception as error:
        raise HarnessError(f"{name}.clock raised {type(error).__name__}: {error}{place_of(error)}") from error
    if not isinstance(clock, FakeClock) or clock is not again:
        what = "another object each time it is read" if clock is not again else _shown(clock)
        raise HarnessError(
            f"{name}.clock is {what}; it must be one e2i_fs.testing.FakeClock. Leave it as Harness has it, or make it a "
            "cached_property."
        )


def _shown(value: object) -> str:
    """Return a value as text without a place in memory."""
    text = repr(value)
    return f"a {type(value).__name__}" if " at 0x" in text else text


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


class Reach:
    """A harness whose methods are called in a thread of its own, with its ``patience``."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._worker: _Worker | None = None
        self._hung: HarnessError | None = None
        self._given: list[object] = []

    def open(self) -> Any:
        """Return what `Harness.open` gives: a store, or something that has the form of a backend, not given before."""
        found = self._call("open")
        name = f"{type(self._harness).__name__}.open()"
        right = "Return a store, connect({...}, clock=self.clock), or a Backend."
        if not isinstance(found, FeatureStore):
            methods = [m for m in _TELLING if callable(getattr(found, m, None))]
            if isinstance(found, type) or not methods:
                raise HarnessError(f"{name} returned {_shown(found)}, which is no store and no backend. {right}")
        if any(found is one for one in self._given):
            raise HarnessError(
                f"{name} returned the same object twice. Two calls are two handles on the same data, and a store that was closed "
                f"is opened anew. {right}"
            )
        self._given.append(found)
        return found

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """See `Harness`."""
        self._call("raw_write", view, rows)

    def raw_read(self, view: str, wanted: pa.Schema) -> pa.Table:
        """Return what `Harness.raw_read` gives, with the columns of ``wanted`` that it has, in their dtypes."""
        found = self._call("raw_read", view)
        name = f"{type(self._harness).__name__}.raw_read()"
        if not isinstance(found, pa.Table):
            raise HarnessError(
                f"{name} returned {type(found).__name__}; it must be a pyarrow.Table of the view's columns."
            )
        names = [field.name for field in wanted if field.name in found.column_names]
        try:
            return found.select(names).cast(pa.schema([wanted.field(n) for n in names]))
        except pa.ArrowException as error:
            raise HarnessError(
                f"{name} returned columns of other dtypes than the view's ({error}). It returned {_columns(found.schema)}; wanted is "
                f"{_columns(wanted)}."
            ) from error

    def break_(self) -> None:
        """See `Harness`."""
        self._call("break_")

    def heal(self) -> None:
        """See `Harness`."""
        self._call("heal")

    def close(self) -> None:
        """Let the thread end."""
        if self._worker is not None and self._hung is None:
            self._worker.end()

    def _call(self, method: str, *args: Any) -> Any:
        if self._hung is not None:
            raise self._hung
        name = f"{type(self._harness).__name__}.{method}"
        self._worker = self._worker or _Worker()
        try:
            return self._worker.call(lambda: getattr(self._harness, method)(*args), name, self._harness.patience)
        except HarnessError:
            raise
        except Stuck as error:
            self._hung = HarnessError(
                f"{error}. A test cannot go on without it. Mend {method}(), or raise the harness's `patience` if that is not long "
                "enough."
            )
            raise self._hung from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            more = " It is called several times in one test; two at once are two handles on the same data." * (
                method == "open" and bool(self._given)
            )
            raise HarnessError(f"{name}() raised {type(error).__name__}: {error}{place_of(error)}.{more}") from error
