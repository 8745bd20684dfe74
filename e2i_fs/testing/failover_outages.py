"""The steps of a story that do something to a backend: each puts a fault on it, or takes all away."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.errors import BackendUnavailableError, DeadlineExceededError, ThrottledError
from e2i_fs.testing.failover_rig import EVERY, Rig
from e2i_fs.testing.faults import Script, crashes, fails, half, hangs, other_definitions, slow

__all__ = ["Outages"]

_ERRORS: dict[str, type[Exception]] = {
    "away": BackendUnavailableError, "throttled": ThrottledError, "deadline": DeadlineExceededError,
}  # fmt: skip


class Outages:
    """The backends of ``rig``, by number, and what is wrong with them. ``lost`` has those whose rows went."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.lost: set[int] = set()
        self.cut: dict[str, Script] = {}
        """Connections that broke when a backend lost its rows, and that no call has met yet."""

    def fault(self, number: int, fault: Any, *methods: str, **more: Any) -> None:
        """Put a fault on a backend; what would make a local one wait takes it away."""
        backend = self.rig.backends[number % len(self.rig.backends)]
        backend.put(fault, *(methods or EVERY), **more)

    def local(self, number: int) -> bool:
        """Return whether no call of this backend can wait."""
        return self.rig.backends[number % len(self.rig.backends)].capabilities.local

    def kill(self, number: int) -> None:
        """Take it away."""
        self.fault(number, fails())

    def freeze(self, number: int) -> None:
        """Let every call hang."""
        self.fault(number, fails() if self.local(number) else hangs())

    def lag(self, number: int) -> None:
        """Let writes arrive, and their answers not."""
        self.fault(
            number,
            fails(after=True) if self.local(number) else hangs(arrives="before"),
            "append",
            "online_write",
            "apply",
        )

    def delay(self, number: int) -> None:
        """Let writes arrive when nobody waits for them any more."""
        if not self.local(number):
            self.fault(number, hangs(arrives="later"), "append", "online_write")

    def deliver(self, number: int) -> None:
        """Let what was delayed arrive."""
        self.rig.backends[number % len(self.rig.backends)].deliver()

    def halve(self, number: int) -> None:
        """Let half of the next batch arrive."""
        self.fault(number, half(), "append", "online_write", times=1)

    def slow(self, number: int, seconds: float) -> None:
        """Let every call take longer."""
        if not self.local(number):
            self.fault(number, slow(seconds))

    def flake(self, number: int, method: str, error: str, times: int) -> None:
        """Let some calls of one method fail."""
        self.fault(number, fails(lambda: _ERRORS[error]("Refused by the story.")), method, times=times)

    def misdefine(self, number: int, times: int) -> None:
        """Let a standby say that its definitions are others; those of the primary are by definition the right ones."""
        self.fault(1 + number % (len(self.rig.backends) - 1), other_definitions(_other), "definitions", times=times)

    def heal(self, number: int) -> None:
        """Take every fault of it away."""
        backend = self.rig.backends[number % len(self.rig.backends)]
        backend.heal()
        backend.restore(self.cut.get(backend.name))
        self.rig.store.release(backend.name)

    def heal_all(self) -> None:
        """Take every fault away."""
        for number in range(len(self.rig.backends)):
            self.heal(number)

    def isolate(self, number: int) -> None:
        """Take it out by hand."""
        self.rig.store.isolate(self.rig.backends[number % len(self.rig.backends)].name)

    def lose(self, number: int, what: str) -> None:
        """Restart it empty, which breaks the connection; another one must be left that has what it had."""
        number %= len(self.rig.backends)
        if len(self.lost | {number}) == len(self.rig.backends):
            return
        self.lost.add(number)
        backend, disk = self.rig.backends[number], self.rig.disks[number]
        backend.late.clear()
        disk.lose_online() if what == "online" else disk.lose_everything()
        self.cut[backend.name] = backend.put(fails(), *EVERY, times=1)

    def crash(self, number: int, method: str, skip: int, after: bool) -> None:
        """End the process in a later call of this backend."""
        fault = crashes(after=after, dying=self.rig.dying)
        self.fault(number, fault, *(() if method == "any" else (method,)), skip=skip, times=1)

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.rig.clock.advance(timedelta(seconds=seconds))


def _other(catalog: Catalog) -> Catalog:
    """Return definitions with another ttl for every view."""
    changed = [replace(view, ttl=timedelta(days=77)) for view in map(catalog.view, catalog.views)]
    return catalog.planned(changed, "", allow_breaking=True)[0]
