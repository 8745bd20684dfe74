"""What a mutant is, the right backends that mutants are made of, and how one is examined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pyarrow as pa

from e2i_fs.testing import runner
from e2i_fs.testing.disk import Disk, Kept, KeptNative
from e2i_fs.testing.harness import Harness
from e2i_fs.testing.kit import PROFILES, Profile
from e2i_fs.testing.runner import Result

__all__ = ["FAST", "Kept", "KeptHarness", "KeptNative", "Mutant", "Mutants", "examine", "right_harness"]

FAST = replace(PROFILES["ci"], shrink=False)
"""As hard a look as CI's, without the search for a smaller example."""

B = TypeVar("B", bound="type[Kept]")


class KeptHarness(Harness):
    """Opens handles of ``kind`` on one disk, and reaches its rows past the API."""

    kind: ClassVar[type[Kept]] = Kept

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.disk = Disk()

    def open(self) -> Any:
        """Return another handle."""
        return self.kind(self.kind.__name__, self.clock, self.disk)

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """Put a batch among the kept ones."""
        batches = self.disk.views[view].batches
        batches[f"raw-{len(batches)}"] = rows

    def raw_read(self, view: str) -> pa.Table:
        """Return all kept batches as one table."""
        kept = list(self.disk.views[view].batches.values())
        if kept:
            return pa.concat_tables(kept, promote_options="default")
        definition = self.disk.catalog.view(view)
        return pa.table({name: [] for name in (*self.disk.catalog.join_keys(view), *definition.features)})

    def break_(self) -> None:
        """Take the store away."""
        self.disk.away = True

    def heal(self) -> None:
        """Bring it back."""
        self.disk.away = False


def _harness_of(backend: type[Kept], seconds: float) -> type[KeptHarness]:
    class Own(KeptHarness):
        kind = backend
        patience = seconds
        label = backend.__name__

    return Own


@dataclass(frozen=True, slots=True)
class Mutant:
    """A backend, or a core, with one fault.

    ``rule`` is what it breaks, ``says`` its fault in a sentence, ``killed_by`` the name of the test that must fail on
    it. ``harness`` opens it, ``right`` the same without the fault; ``patch`` is in force while it is examined and may
    change the whole process, so one mutant is examined at a time.
    """

    name: str
    rule: str
    says: str
    killed_by: str
    harness: Callable[[Path], Harness]
    right: Callable[[Path], Harness]
    patch: Callable[[], AbstractContextManager[Any]] = nullcontext


class Mutants:
    """A list of mutants, filled by the decorators `backend` and `core`; names are made of those of what they mark."""

    def __init__(self) -> None:
        self.all: list[Mutant] = []

    def backend(self, rule: str, says: str, *, killed_by: str, patience: float = 30.0) -> Callable[[B], B]:
        """Add a backend class whose first base is the right one."""

        def added(cls: B) -> B:
            right = right_harness(KeptNative if issubclass(cls, KeptNative) else Kept)
            self.all.append(Mutant(_words(cls.__name__), rule, says, killed_by, _harness_of(cls, patience), right))
            return cls

        return added

    def core(
        self, rule: str, says: str, *, killed_by: str, on: type[Kept] = Kept
    ) -> Callable[[Callable[[], Iterator[None]]], Callable[[], AbstractContextManager[None]]]:
        """Add a fault of the core: a generator that patches it, yields, and mends it."""

        def added(patching: Callable[[], Iterator[None]]) -> Callable[[], AbstractContextManager[None]]:
            patch = contextmanager(patching)
            harness = right_harness(on)
            name = patching.__name__.replace("_", " ")
            self.all.append(Mutant(name, rule, says, killed_by, harness, harness, patch))
            return patch

        return added


_HARNESSES: dict[type[Kept], type[KeptHarness]] = {}


def right_harness(backend: type[Kept]) -> type[KeptHarness]:
    """Return the harness of a right backend, one class for each."""
    return _HARNESSES.setdefault(backend, _harness_of(backend, 30.0))


def examine(
    harness: Callable[[Path], Harness], test: str, *,
    patch: Callable[[], AbstractContextManager[Any]] = nullcontext, profile: Profile = FAST, seed: int = 0,
) -> Result:  # fmt: skip
    """Return what came of one test of the kit on what ``harness`` opens, with ``patch`` in force.

    Raises `HarnessError` when the kit has no such test.
    """
    with patch():
        (result,) = runner.examine(harness, profile=profile, seed=seed, only=[test])
    return result


def _words(name: str) -> str:
    """Return a class name as words: ``StrictlyBefore`` is ``strictly before``."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
