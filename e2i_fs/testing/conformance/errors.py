"""The group *errors*: what goes wrong is said in the contract's words, and threads do not disturb each other."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import Any, ClassVar

import pyarrow as pa

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Field
from e2i_fs.dtypes import Bytes, DType, Int64, String
from e2i_fs.errors import (
    BackendError,
    BackendUnavailableError,
    E2IError,
    FeatureNameCollisionError,
    InvalidEntityFrameError,
    KeyTypeWarning,
    LabelRequestedError,
    RequestError,
    UnknownFeatureError,
)
from e2i_fs.failover.member import UNAVAILABLE
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import ABSENT, Sample, kept_kinds
from e2i_fs.testing.faults import Breakable
from e2i_fs.testing.findings import Inapplicable, Mismatch
from e2i_fs.testing.inspector import Inspected
from e2i_fs.testing.kit import Kit

__all__ = ["ErrorsTests", "answers_to", "every_call", "unavailable"]

_LIKE: dict[str, tuple[DType, Any, list[Any], list[Any]]] = {
    "string": (String, "a", ["A", "a ", " a", "\u00e1", "\uff41", "a\x00", ""], [1, b"a", True]),
    "int64": (Int64, 1, [-1, 0, 2**32 + 1], ["1", True, 1.5, b"1"]),
    "bytes": (Bytes, b"a\xff", [b"A\xff", b"a\xfe", b"a\xef\xbf\xbd", b"a", b"a\xff\x00", b""], ["a\xff", "a", 97]),
}
"""By kind of key: a dtype, a key, other keys of it that look like the key, and keys of other types that do."""


class ErrorsTests:
    """Tests of the group *errors*."""

    group: ClassVar[str] = "errors"

    @proves("P-9", "G-4")
    def test_p9_an_unknown_view_is_an_unknown_feature(self, kit: Kit) -> None:
        """A view that never was, or was deleted, raises UnknownFeatureError from every method that names one."""
        with kit.check("P-9"):
            sample = Sample(kit)
            sample.apply()
            sample.write((1, 0, 1))
            Sample(kit, "another").apply()
            kit.store.delete("sample")
            for name in ("sample", "never was"):
                for method, call in every_call(kit.backend, sample, name).items():
                    if method in ("apply", "definitions", "ping"):
                        continue
                    try:
                        got = call()
                    except UnknownFeatureError:
                        continue
                    says = f"{method} of the unknown view {name!r} answered. A caller would take it for an empty view."
                    raise Mismatch("P-9", says, expected="UnknownFeatureError", got=got)

    @proves("G-4", "X-2")
    def test_g4_a_closed_backend_is_unavailable(self, kit: Kit) -> None:
        """After close every method raises BackendUnavailableError, closing again is harmless, other handles work on."""
        with kit.check("G-4"):
            sample = Sample(kit)
            sample.apply()
            sample.write((1, 0, 1))
            handle = kit.handle()
            closed = kit.backend_of(handle)
            closed.definitions()
            kit._open.remove(handle)  # it is closed here, and not once more by the kit
            closed.close()
            closed.close()
            for method, call in every_call(closed, sample).items():
                unavailable("G-4", f"{method} after close", call, BackendUnavailableError)
            kit.raises(
                "G-4",
                BackendUnavailableError,
                lambda: sample.history(1, store=handle),
                "a closed store is asked for history",
            )
            sample.expect("G-4", "Closing one handle closed another.", 1, expected=[sample.answer(1)])

    @proves("G-4")
    def test_g4_a_lost_or_damaged_source_is_named(self, kit: Kit) -> None:
        """A source file that is gone or damaged raises a BackendError that names it, and put back it answers again."""
        kinds = Sample(kit).files(kit.can.sources)
        if not kinds:
            raise Inapplicable("the backend declares no source that is a file")
        with kit.check("G-4"):
            for kind in kinds:
                sample = Sample(kit, f"of_{kind}")
                source, path = sample.source(kind, kit.folder / "lost", (1, 0, 1))
                sample.apply(source=source)
                kit.is_("G-4", f"Rows of a {kind} source:", sample.history(1), [sample.answer(1)])
                whole = path.read_bytes()
                for damage, left in {"gone": None, "empty": b"", "cut off": whole[: len(whole) // 2]}.items():
                    if kind == "csv" and damage == "cut off":
                        left = b"k,x\n1"  # any prefix of a CSV file is a CSV file: here a column is missing
                    if left is None:
                        path.unlink()
                    else:
                        path.write_bytes(left)
                    error = kit.raises(
                        "G-4", BackendError, partial(sample.history, 1), f"a {kind} source that is {damage} is read"
                    )
                    if str(path) not in str(error):
                        raise Mismatch(
                            "G-4", f"A {kind} file is {damage}.", expected=f"an error naming {path}", got=str(error)
                        )
                path.write_bytes(whole)
                kit.is_("G-4", f"The {kind} source put back:", sample.history(1), [sample.answer(1)])

    @proves("P-7")
    def test_p7_keys_that_only_look_alike_match_nothing(self, kit: Kit) -> None:
        """A key of another type, case, spelling or length is another key, in history and online."""
        with kit.check("P-7"):
            for kind in kept_kinds(kit.can.key_kinds, sorted(_LIKE)):
                dtype, own, alike, foreign = _LIKE[kind]
                sample = Sample(kit, f"by_{kind}")
                sample.key_type = dtype
                sample.apply()
                table = sample.table((0, 0, 1))
                table = table.set_column(0, "k", pa.array([own], table.schema.field("k").type))
                kit.store.write(sample.name, table, to=sample.target)
                asked = [[own, *alike], *([key] for key in foreign)]
                for keys in asked:
                    expected = [sample.answer(1) if key is own else ABSENT for key in keys]
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", KeyTypeWarning)
                        found = answers_to(kit, sample, keys, table)
                    for where, got in found.items():
                        pairs = list(zip(keys, got, strict=True))
                        wanted = list(zip(keys, expected, strict=True))
                        kit.is_("P-7", f"{where}: only the row of {own!r} is there.", pairs, wanted)

    @proves("P-3", "P-9", "P-11", "P-12", "X-2")
    def test_p11_a_callers_mistake_does_not_reach_the_rows(self, kit: Kit) -> None:
        """Unknown names, empty frames and lists, missing keys and labels are refused before any row is asked for."""
        with kit.check("P-11"):
            store, sample = kit.store, Sample(kit)
            store.apply([sample.view(Field("y", sample.value_type, "label"))])
            store.apply([replace(Sample(kit, "twin").view(), entities=sample.view().entities)])
            frame = sample.table((1, 0, 1)).select(["k", "event_timestamp"])
            keys = [{"k": frame.column("k")[0].as_py()}]
            history, online = store.get_historical_features, store.get_online_features
            mistakes: list[tuple[str, type[Exception], Callable[[], Any]]] = [
                ("P-9", UnknownFeatureError, lambda: history(frame, ["sample:z"])),
                ("P-9", UnknownFeatureError, lambda: history(frame, ["simple:x"])),
                ("P-9", UnknownFeatureError, lambda: online(["sample:z"], keys)),
                ("P-11", InvalidEntityFrameError, lambda: history(frame.slice(1), ["sample:x"])),
                ("P-11", InvalidEntityFrameError, lambda: history(frame.drop_columns(["k"]), ["sample:x"])),
                ("P-11", InvalidEntityFrameError, lambda: online(["sample:x"], [])),
                ("P-11", InvalidEntityFrameError, lambda: online(["sample:x"], [{"other": 1}])),
                ("P-9", FeatureNameCollisionError, lambda: history(frame, ["sample:x", "twin:x"])),
                ("P-9", FeatureNameCollisionError, lambda: online(["sample:x", "twin:x"], keys)),
                ("P-3", RequestError, lambda: history(frame, ["sample:x"], as_of=kit.clock.now())),
                ("P-3", RequestError, lambda: history(frame, ["sample:x"], filter_by_created_timestamp=True)),
                ("P-11", RequestError, lambda: history(frame, [])),
                ("P-11", RequestError, lambda: online([], keys)),
                ("P-12", LabelRequestedError, lambda: history(frame, ["sample:y"])),
                ("P-12", LabelRequestedError, lambda: online(["sample:y"], keys)),
                ("P-9", UnknownFeatureError, lambda: store.write("simple", frame)),
            ]
            counted = kit.backend.inner = Breakable(kit.backend.inner)
            for rule, kind, call in mistakes:
                kit.raises(rule, kind, call)
            kit.backend.inner = counted.inner
            asked = sorted(set(counted.calls) - {"definitions"})
            kit.is_("X-2", "What the backend was asked for requests that are mistakes:", asked, [])

    @proves("T-4", "R-5")
    def test_t4_four_threads_at_once_disturb_nobody(self, kit: Kit) -> None:
        """Four threads write and read rows of their own at once: nothing is raised, each reads what it wrote, nothing is lost."""
        with kit.check("T-4"):
            sample, threads, rounds = Sample(kit), 4, 5
            sample.apply()
            stores = [kit.store, kit.handle() if kit.can.persistent else kit.store]
            start = Barrier(threads)

            def work(number: int) -> None:
                store = stores[number % 2]
                start.wait(kit.harness.patience)
                for n in range(rounds):
                    key, value = number * rounds + n, number * 100 + n
                    sample.write((key, n, value), store=store)
                    sample.expect("T-4", "A thread's own row:", key, expected=[sample.answer(value)], store=store)

            with ThreadPoolExecutor(threads) as pool:
                for job in [pool.submit(work, number) for number in range(threads)]:
                    job.result()
            keys = range(threads * rounds)
            everything = [sample.answer(key // rounds * 100 + key % rounds) for key in keys]
            sample.expect("T-4", "A row is lost that was written while others wrote.", *keys, expected=everything)
            if kit.can.online:
                kit.is_("F-1", "Rows counted after writes at once:", kit.backend.position("sample").rows, len(keys))

    @proves("X-8")
    def test_x8_a_ping_answers_within_its_deadline(self, kit: Kit) -> None:
        """`ping` answers, or in an outage raises, within the deadline it is given, and says no more time than it took."""
        backend, deadline = kit.backend, 5.0
        with kit.check("X-8"):
            began = time.perf_counter()
            said = backend.ping(deadline)
            took = time.perf_counter() - began
            if took > deadline or said > took:
                expected = f"within {deadline} s, and at most the {took:.3f} s that it took"
                raise Mismatch("X-8", f"ping({deadline}) took {took:.3f} s.", expected=expected, got=f"{said:.3f} s")
            if not (kit.harness.offers("break_") and kit.harness.offers("heal")):
                return
            with kit.outage():
                began = time.perf_counter()
                unavailable("X-2", "ping in an outage (made by break_)", lambda: backend.ping(deadline), *UNAVAILABLE)
                took = time.perf_counter() - began
            if took > deadline + 1:
                raise Mismatch(
                    "X-8", f"ping({deadline}) in an outage.", expected="an error in time", got=f"after {took:.1f} s"
                )


def every_call(backend: Inspected, sample: Sample, view: str | None = None) -> dict[str, Callable[[], Any]]:
    """Return a call of each declared method of ``backend`` but close, about ``view`` (the sample's unless given)."""
    name, can = view or sample.name, backend.capabilities
    keys, rows = sample.online_batch((1, 0, 1))
    table, at_us = sample.table((7, 0, 7)), rows[0].event_us
    calls: dict[str, Callable[[], Any]] = {
        "definitions": backend.definitions,
        "apply": lambda: backend.apply(Catalog(), expected="no revision"),
        "scan": lambda: backend.scan(name, ["x"]),
        "ping": lambda: backend.ping(1.0),
        "position": lambda: backend.position(name),
    }
    if can.append:
        calls["append"] = lambda: backend.append(name, table, batch_id="another")
    if can.online:
        calls["online_read"] = lambda: backend.online_read(name, keys, at_us=at_us)
        calls["online_write"] = lambda: backend.online_write(name, keys, rows, at_us=at_us)
    return calls


def unavailable(rule: str, what: str, call: Callable[[], Any], *kinds: type[E2IError]) -> None:
    """Raise `Mismatch` unless ``call`` raises one of ``kinds``."""
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        got = call()
    except kinds:
        return
    except E2IError as error:
        says = f"{what} raised another error, which does not move a request on (X-2)."
        raise Mismatch(rule, says, expected=names, got=f"{type(error).__name__}: {error}") from error
    raise Mismatch(rule, f"{what} answered.", expected=names, got=got)


def answers_to(kit: Kit, sample: Sample, keys: list[Any], table: pa.Table) -> dict[str, list[tuple[Any, str]]]:
    """Return (value, status) of each key, whatever its type, from history and online where the backend keeps them."""
    ref, found = f"{sample.name}:x", {}
    if kit.can.append:
        times = pa.array(table.column("event_timestamp").to_pylist() * len(keys), pa.timestamp("us", "UTC"))
        result = kit.store.get_historical_features(pa.table({"k": pa.array(keys), "event_timestamp": times}), [ref])
        values = result.to_arrow().column("x").to_pylist()
        found["history"] = [(v, s.name) for v, s in zip(values, result.statuses[ref], strict=True)]
    if kit.can.online:
        answer = kit.store.get_online_features([ref], [{"k": key} for key in keys])
        found["online"] = [(v, s.name) for v, s in zip(answer.to_dict()["x"], answer.statuses[ref], strict=True)]
    return found
