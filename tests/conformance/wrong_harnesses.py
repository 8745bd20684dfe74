"""Harnesses and backends that are wrong, each in one way: what the kit must tell without a traceback."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

import e2i_fs
from e2i_fs.testing.clock import FakeClock
from e2i_fs.testing.harness import Deviation, Harness
from e2i_fs.testing.harnesses import MemoryHarness
from e2i_fs.testing.inspector import METHODS
from e2i_fs.testing.memory import MemoryBackend


class Lying(MemoryHarness):
    def raw_read(self, view: str) -> pa.Table:
        return pa.table({})


class AnotherClock(Harness):
    def open(self) -> Any:
        return e2i_fs.connect({"backend": "memory"}, clock=FakeClock())


class OpensNothing(Harness):
    def open(self) -> Any:
        return None


class OpenRaises(Harness):
    def open(self) -> Any:
        return {}["connection_string"]


class OpenHangs(Harness):
    patience = 0.1

    def open(self) -> Any:
        threading.Event().wait()


class NoOpen(Harness):
    pass


class BreaksOnly(MemoryHarness):
    heal = Harness.heal


class _Faulty(Harness):
    """The backend in memory with one method put in the place of its own."""

    def open(self) -> Any:
        backend = MemoryBackend("memory", self.clock)
        can = replace(backend.capabilities, copyable=False, columnar=False)
        found = SimpleNamespace(**{m: getattr(backend, m) for m in METHODS}, capabilities=can)
        self.spoil(found)
        return found

    def spoil(self, backend: Any) -> None:
        raise NotImplementedError


class LacksPosition(_Faulty):
    def spoil(self, backend: Any) -> None:
        del backend.position


class Hanging(_Faulty):
    patience = 0.2

    def spoil(self, backend: Any) -> None:
        backend.scan = lambda *args, **more: threading.Event().wait()


class RaisesItsDriversError(_Faulty):
    def spoil(self, backend: Any) -> None:
        def scan(*args: Any, **more: Any) -> Any:
            raise ConnectionResetError(104, f"the driver lost {self.path}")

        backend.scan = scan


class AnswersTooFew(_Faulty):
    def spoil(self, backend: Any) -> None:
        backend.online_read = lambda view, keys, *, at_us: []


class DoesNotClose(_Faulty):
    def spoil(self, backend: Any) -> None:
        backend.close = lambda: {}.pop("connection")


class WaivesTheFuture(MemoryHarness):
    deviations = [Deviation("test_p1_a_row_answers_from_its_own_microsecond_on", "never", "We like the future.")]


class WaivesATestThatPasses(MemoryHarness):
    deviations = [Deviation("test_w2_a_batch_written_twice_is_one_batch", "notyet", "It was so once.")]


class WaivesNothingThereIs(MemoryHarness):
    deviations = [Deviation("test_w2_a_batch_written_twice_is_one_bach", "notyet", "It was so once.")]


class Waives(_Faulty):
    deviations = [
        Deviation("test_w2_a_batch_written_twice_is_one_batch", "never", "Our store cannot know a batch again.")
    ]

    def spoil(self, backend: Any) -> None:
        append = backend.append
        backend.append = lambda view, rows, *, batch_id: append(view, rows, batch_id=f"{batch_id}{id(rows)}")


class WithOptions(MemoryHarness):
    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        super().__init__(path)
        raise e2i_fs.ConfigError(f"acme: got {options}")
