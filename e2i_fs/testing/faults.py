"""Backends that fail as they are told to: for testing what stands in front of them.

`Breakable` is a switch: there or away. `Faulty` has a script: any fault, on any method, for some calls or all, and a log
of what was asked of it. Both go around a real backend.

>>> from datetime import timedelta
>>> from e2i_fs.testing import FakeClock
>>> from e2i_fs.testing.memory import MemoryBackend
>>> clock = FakeClock()
>>> store = Faulty(MemoryBackend("primary", clock), clock)
>>> script = store.put(slow(0.2), "ping", times=1)
>>> store.ping(1.0), store.ping(1.0)
(0.2, 0.0)
>>> [(call.method, call.outcome, call.seconds) for call in store.log]
[('ping', 'answered', 0.2), ('ping', 'answered', 0.0)]
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_fs.backend import Backend, Capabilities, Key, Knowledge, OnlineColumns, OnlineRow, Position, ScanPart
from e2i_fs.catalog import Catalog
from e2i_fs.errors import BackendUnavailableError, DeadlineExceededError
from e2i_fs.lookup import columns_of
from e2i_fs.testing.clock import FakeClock

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "METHODS", "Breakable", "Call", "Crash", "Doing", "Fault", "Faulty", "Script", "blocks", "crashes", "empty", "fails",
    "half", "hangs", "other_definitions", "slow", "stale",
]  # fmt: skip

METHODS = ("apply", "definitions", "scan", "append", "online_read", "online_write", "position", "ping")
"""Every method that can fail; `close` cannot. `point_in_time` and those of a copyable backend can as well, if named."""


class Crash(BaseException):
    """The process dies here. Not an `Exception`: nothing may catch it and go on."""


class _Forwarding:
    """A backend made of one method, `_call`, through which all calls go."""

    inner: Backend

    def _call(self, method: str, *args: Any, **more: Any) -> Any:
        raise NotImplementedError

    @property
    def capabilities(self) -> Capabilities:
        """The backend's own."""
        return self.inner.capabilities

    def apply(self, definitions: Catalog, *, expected: str) -> bool:
        """See `Backend`."""
        return bool(self._call("apply", definitions, expected=expected))

    def definitions(self) -> Catalog:
        """See `Backend`."""
        found: Catalog = self._call("definitions")
        return found

    def scan(
        self, view: str, columns: Sequence[str], *, keys: pa.Table | None = None, until_us: int | None = None
    ) -> Sequence[ScanPart]:
        """See `Backend`."""
        found: Sequence[ScanPart] = self._call("scan", view, columns, keys=keys, until_us=until_us)
        return found

    def append(self, view: str, rows: pa.Table, *, batch_id: str) -> bool:
        """See `Backend`."""
        return bool(self._call("append", view, rows, batch_id=batch_id))

    def online_read(self, view: str, keys: Sequence[Key], *, at_us: int) -> Sequence[OnlineRow | None]:
        """See `Backend`."""
        found: Sequence[OnlineRow | None] = self._call("online_read", view, keys, at_us=at_us)
        return found

    def online_columns(
        self, definitions: Catalog, asked: Mapping[str, Sequence[Key]], *, at_us: int
    ) -> Mapping[str, OnlineColumns]:
        """See `Columnar`: made of `online_read`, so that whatever happens to that happens here."""
        found = {}
        for view, keys in asked.items():
            rows = self.online_read(view, keys, at_us=at_us) if keys else []
            found[view] = columns_of(rows, self.inner.position(view).sequence)
        return found

    def online_write(self, view: str, keys: Sequence[Key], rows: Sequence[OnlineRow], *, at_us: int) -> int:
        """See `Backend`."""
        return int(self._call("online_write", view, keys, rows, at_us=at_us))

    def position(self, view: str) -> Position:
        """See `Backend`."""
        found: Position = self._call("position", view)
        return found

    def batches(self, view: str) -> Iterator[tuple[str, pa.Table]]:
        """See `Copyable`."""
        found: Iterator[tuple[str, pa.Table]] = self._call("batches", view)
        return found

    def online_rows(self, view: str) -> Iterator[tuple[Sequence[Key], Sequence[OnlineRow], int]]:
        """See `Copyable`."""
        found: Iterator[tuple[Sequence[Key], Sequence[OnlineRow], int]] = self._call("online_rows", view)
        return found

    def ping(self, deadline: float) -> float:
        """See `Backend`."""
        return float(self._call("ping", deadline))

    def close(self) -> None:
        """Close the backend, broken or not."""
        self.inner.close()


class Breakable(_Forwarding):
    """A real backend behind a switch.

    `break_` makes every call, or the named ones, raise ``error()`` (a `BackendUnavailableError` unless given)
    without reaching the backend; with ``after=True`` the call reaches it first, as when an answer is lost on the
    way back. `heal` ends that. ``calls`` counts what was asked of it by method.
    """

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.calls: dict[str, int] = {}
        self._broken: Mapping[str, Callable[[], Exception]] | None = None
        self._after = False

    def break_(self, *methods: str, error: Callable[[], Exception] | None = None, after: bool = False) -> None:
        """Take ``methods`` away, or all of them."""
        self._broken = dict.fromkeys(methods or METHODS, error or _away)
        self._after = after

    def heal(self) -> None:
        """Give everything back."""
        self._broken = None

    def _call(self, method: str, *args: Any, **more: Any) -> Any:
        self.calls[method] = self.calls.get(method, 0) + 1
        error = (self._broken or {}).get(method)
        if error is not None and not self._after:
            raise error()
        result = getattr(self.inner, method)(*args, **more)
        if error is not None:
            raise error()
        return result


# ---- a script of faults --------------------------------------------------------------------------------------


class Call(NamedTuple):
    """One call that was made: when it began, of what size, how it ended and how long it took by the clock.

    ``size`` is the number of rows, keys or columns given, or of views. ``outcome`` is ``"answered"`` or the name of the
    error. ``of`` is the name of the backend.
    """

    of: str
    at: datetime
    method: str
    view: str | None
    size: int
    outcome: str
    seconds: float


@dataclass(slots=True)
class Doing:
    """A call under way, as a fault sees it: `go` lets it reach the next fault, and the backend after the last."""

    faulty: Faulty
    method: str
    args: tuple[Any, ...]
    more: dict[str, Any]
    _faults: list[Fault]

    def go(self) -> Any:
        """Return what the backend answers, unless another fault is in the way."""
        if self._faults:
            return self._faults.pop()(self)
        return self.ask(self.faulty.inner)

    def ask(self, backend: Backend) -> Any:
        """Return what ``backend`` answers."""
        return getattr(backend, self.method)(*self.args, **self.more)


Fault = Callable[[Doing], Any]
"""What happens in place of a call; its value is the answer."""


@dataclass(eq=False, slots=True)
class Script:
    """A fault put on some methods: it lets ``skip`` calls of them pass, then happens ``times`` times, or for good."""

    fault: Fault
    methods: tuple[str, ...]
    skip: int = 0
    times: int | None = None

    def takes(self, method: str) -> bool:
        """Count a call and return whether the fault happens to it."""
        if method not in self.methods or self.times == 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(eq=False)
class Faulty(_Forwarding):
    """A real backend with a script of faults and a log of its calls.

    ``clock`` tells the times in the log and is advanced by faults that take time: no test waits. ``spend`` does that
    in another way, `e2i_fs.testing.virtual_time.VirtualTime.spend` for one. ``log`` may be shared by several. ``late`` has
    what was sent and has not arrived yet; see `hangs`.
    """

    inner: Backend
    clock: FakeClock
    name: str = "backend"
    spend: Callable[[float], None] | None = None
    log: list[Any] = field(default_factory=list)
    late: list[Callable[[], Any]] = field(default_factory=list)
    _scripts: list[Script] = field(default_factory=list)

    def put(self, fault: Fault, *methods: str, skip: int = 0, times: int | None = None) -> Script:
        """Add a fault to ``methods``, or to all; what was put last is met first. Return it, for `remove`."""
        script = Script(fault, methods or METHODS, skip, times)
        self._scripts.append(script)
        return script

    def remove(self, script: Script) -> None:
        """Take one fault out again; harmless when it is not there."""
        self._scripts = [other for other in self._scripts if other is not script]

    def heal(self) -> None:
        """Take every fault out."""
        self._scripts.clear()

    def restore(self, script: Script | None) -> None:
        """Put a fault that was taken out back, unless it has happened as often as it should."""
        if script is not None and script.times != 0 and script not in self._scripts:
            self._scripts.append(script)

    @property
    def well(self) -> bool:
        """True while no fault is left that can happen."""
        return not any(script.times != 0 for script in self._scripts)

    def deliver(self) -> list[str]:
        """Let everything arrive that was sent and given up; return how each ended, which nobody hears of."""
        ended = []
        while self.late:
            go = self.late.pop(0)
            try:
                go()
                ended.append("answered")
            except Exception as error:  # nobody waits for it any more
                ended.append(type(error).__name__)
        return ended

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` go by."""
        if self.spend is not None:
            self.spend(seconds)
        else:
            self.clock.advance(timedelta(seconds=seconds))

    def _call(self, method: str, *args: Any, **more: Any) -> Any:
        begun, outcome = self.clock.now(), "answered"
        try:
            answer = Doing(self, method, args, more, [s.fault for s in self._scripts if s.takes(method)]).go()
        except BaseException as error:  # logged, whatever it is
            outcome = type(error).__name__
            raise
        finally:
            seconds = (self.clock.now() - begun).total_seconds()
            view = args[0] if args and isinstance(args[0], str) else None
            self.log.append(Call(self.name, begun, method, view, _size(method, args), outcome, seconds))
        if method == "ping":
            return seconds
        return answer

    # ---- of backends that can do more ----------------------------------------------------------------------

    def point_in_time(self, view: str, entities: pa.Table, features: Sequence[str], knowledge: Knowledge) -> pa.Table:
        """See `NativePointInTime`."""
        return self._call("point_in_time", view, entities, features, knowledge)


def _size(method: str, args: tuple[Any, ...]) -> int:
    if method == "apply":
        return len(args[0].views)
    given = args[1] if len(args) > 1 else ()
    return len(given)


# ---- faults --------------------------------------------------------------------------------------------------


def _away() -> Exception:
    return BackendUnavailableError("Taken away by the test.")


def fails(error: Callable[[], BaseException] = _away, *, after: bool = False) -> Fault:
    """Raise ``error()``, before the backend is reached or after."""

    def fault(doing: Doing) -> Any:
        if after:
            doing.go()
        raise error()

    return fault


def slow(seconds: float) -> Fault:
    """Let so many seconds go by first."""

    def fault(doing: Doing) -> Any:
        doing.faulty.wait(seconds)
        return doing.go()

    return fault


def hangs(seconds: float = 30.0, *, arrives: str = "never") -> Fault:
    """Answer nothing for ``seconds``, then raise `DeadlineExceededError`, as a driver does whose time is over.

    ``arrives`` says whether the call reaches the backend: ``"never"``, ``"before"`` (only its answer is lost), or
    ``"later"``, by `Faulty.deliver`, when the caller has long gone on.
    """

    def fault(doing: Doing) -> Any:
        if arrives == "before":
            doing.go()
        elif arrives == "later":
            doing.faulty.late.append(doing.go)
        doing.faulty.wait(seconds)
        raise DeadlineExceededError(f"{doing.faulty.name} did not answer {doing.method} within {seconds:g} s.")

    return fault


def blocks(until: threading.Event, *, arrives: bool = True) -> Fault:
    """Hang for real until the event is set, in the thread that calls; then go on, or never arrive."""

    def fault(doing: Doing) -> Any:
        until.wait()
        if not arrives:
            raise BackendUnavailableError(f"{doing.faulty.name} let go of {doing.method} without an answer.")
        return doing.go()

    return fault


def empty() -> Fault:
    """Answer that there is nothing; writes go through."""

    def fault(doing: Doing) -> Any:
        if doing.method == "online_read":
            return [None] * len(doing.args[1])
        nothing: dict[str, Any] = {"scan": [], "definitions": Catalog(), "position": Position(0, None, 0)}
        return nothing[doing.method] if doing.method in nothing else doing.go()

    return fault


def stale(snapshot: Backend) -> Fault:
    """Answer reads as ``snapshot`` does, a backend with what was there earlier; writes go through."""
    reads = ("scan", "definitions", "position", "online_read", "point_in_time", "batches", "online_rows")

    def fault(doing: Doing) -> Any:
        return doing.ask(snapshot) if doing.method in reads else doing.go()

    return fault


def half(error: Callable[[], BaseException] = _away) -> Fault:
    """Let the first half of a batch arrive, then raise ``error()``; calls that write nothing only raise it."""

    def fault(doing: Doing) -> Any:
        if doing.method == "append":
            view, rows = doing.args
            doing.args = (view, rows.slice(0, len(rows) // 2))
            doing.more = {"batch_id": f"{doing.more['batch_id']} (half)"}
            doing.go()
        elif doing.method == "online_write":
            view, keys, rows = doing.args
            doing.args = (view, keys[: len(keys) // 2], rows[: len(rows) // 2])
            doing.go()
        raise error()

    return fault


def other_definitions(change: Callable[[Catalog], Catalog]) -> Fault:
    """Answer `definitions` with what ``change`` makes of them."""

    def fault(doing: Doing) -> Any:
        found = doing.go()
        return change(found) if doing.method == "definitions" else found

    return fault


def crashes(*, after: bool = False, dying: Callable[[], None] = lambda: None) -> Fault:
    """End the process, by `Crash`, before the backend is reached or after; ``dying`` is called in its last moment."""

    def fault(doing: Doing) -> Any:
        if after:
            doing.go()
        dying()
        raise Crash(f"in {doing.method} of {doing.faulty.name}")

    return fault
