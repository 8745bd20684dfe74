"""Two handles in the middle of each other's writes: nothing that either wrote is lost (O-1, W-2, X-4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import Sample
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.inspector import Inspected
from e2i_fs.testing.interruptions import Beside, interrupted
from e2i_fs.testing.kit import Kit

__all__ = ["AppendsBesideTests", "WritesBesideTests"]

_POINTS = 60
_ALONE = 4  # calls made with nothing amid them, before the meetings


class AppendsBesideTests:
    """Tests of appending from two handles at once."""

    group: ClassVar[str] = "core"

    @proves("W-2", "O-7")
    def test_w2_a_batch_appended_by_two_at_once_is_one_batch(self, kit: Kit) -> None:
        """An append is stopped at points all over it while another handle appends: one id is new to one of them, two to both."""
        kit.need_can("append")
        with kit.check("W-2"):
            sample = Sample(kit)
            sample.apply()
            one, two = _two_handles(kit)
            batches = 0

            def name(number: int) -> str:
                return f"b{number}" if number % 3 == 2 else f"a{number}"

            def first(number: int) -> Callable[[], bool]:
                table = sample.table((number, 0, number))
                return lambda: one.inner.append(sample.name, table, batch_id=f"a{number}")

            def second(number: int) -> Callable[[], bool]:
                table = sample.table((number, 0, number))
                return lambda: two.append(sample.name, table, batch_id=name(number))

            for number, where, done in _meetings(kit, first, second):
                batches += sum(done)
                if len(done) < 2:
                    continue
                same = name(number) == f"a{number}"
                sample.tell(f"append a{number}, {where}, append {name(number)} through another handle")
                says = "One batch_id appended by two at once is new to one of them." if same else "Two batches at once:"
                kit.is_("W-2", says, sorted(done), [not same, True])
            kit.is_("W-2", "The rows of all batches, one in each:", sample.rows() - _ALONE, batches)


class WritesBesideTests:
    """Tests of writing online rows from two handles at once."""

    group: ClassVar[str] = "online"

    @proves("O-1", "X-4", "O-7")
    def test_o1_a_write_amid_another_handles_write_is_not_lost(self, kit: Kit) -> None:
        """A write is stopped at points all over it while another handle writes a newer row of a key of it; both count."""
        kit.need_can("online")
        with kit.check("O-1"):
            sample = Sample(kit)
            sample.apply()
            one, two = _two_handles(kit)
            now = sample.online_batch((1, 43_200, 1))[1][0].event_us

            def first(number: int) -> Callable[[], int]:
                rows = sample.online_batch((1, 2 * number, number), (2, 2 * number, number))
                return lambda: one.inner.online_write(sample.name, *rows, at_us=now)

            def second(number: int) -> Callable[[], int]:
                rows = sample.online_batch((1, 2 * number + 1, number + 1_000))
                return lambda: two.online_write(sample.name, *rows, at_us=now)

            before = 0
            for number, where, done in _meetings(kit, first, second):
                sample.tell(
                    f"write keys 1 and 2 with value {number}, {where}, write key 1 with value {number + 1000}, a second newer, "
                    "through another handle"
                )
                sequence = one.position(sample.name).sequence
                if len(done) == 2:
                    expected = [sample.answer(number + 1_000), sample.answer(number)]
                    kit.is_("O-1", "Written by two handles at once:", sample.online(1, 2), expected)
                if before and sequence - before < len(done):
                    says = "Each of two writes at once raises the sequence."
                    raise Mismatch("X-4", says, expected=f"at least {before + len(done)}", got=sequence)
                before = sequence


def _two_handles(kit: Kit) -> tuple[Inspected, Inspected]:
    """Return two handles on the same data; where that does not last, one twice."""
    return kit.backend, kit.backend_of(kit.handle()) if kit.can.persistent else kit.backend


def _meetings(
    kit: Kit, first: Callable[[int], Callable[[], Any]], second: Callable[[int], Callable[[], Any]]
) -> Iterator[tuple[int, str, list[Any]]]:
    """Do ``first(n)()`` many times, stopped each time at another of its calls to let ``second(n)()`` go before the rest of it.

    Yields ``n``, where it was stopped, and what the two returned (the second may not have been reached). One that waits for the
    other's lock is let wait.
    """
    patience = kit.harness.patience
    first(0)()  # whatever is imported or opened once, is now
    # A collection of garbage amid a call adds the calls of what it frees: the fewest are the call's own.
    alone = [_timed(lambda n=n: interrupted(first(n), None, 1, 0, patience)) for n in range(1, _ALONE)]  # type: ignore[misc]
    calls = min(made for made, _ in alone)
    moment = max(0.002, min(0.03, 5 * max(took for _, took in alone)))  # time enough to end, unless it waits for a lock
    for number, point in enumerate(range(1, calls + 1, max(1, calls // _POINTS)), _ALONE):
        done: list[Any] = []
        beside = Beside(_into(done, second(number)), moment)
        interrupted(_into(done, first(number)), beside.ask, 2**40, point, patience)
        beside.close(patience)
        for trouble in beside.troubles:
            raise trouble
        yield number, f"stopped at call {point} of about {calls}", done


def _timed(job: Callable[[], int]) -> tuple[int, float]:
    begun = time.perf_counter()
    return job(), time.perf_counter() - begun


def _into(done: list[Any], job: Callable[[], Any]) -> Callable[[], None]:
    return lambda: done.append(job())
