"""The part of the group *core* that is about numbers: many rows in one call, and many batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import Sample
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.kit import Kit

__all__ = ["AmountTests"]

_ROWS = 12_000  # more than any page, parameter list or buffer that a driver has by default
_BATCHES = 120


class AmountTests:
    """Tests of amounts."""

    group: ClassVar[str] = "core"

    @proves("W-2", "O-1", "O-5", "P-10")
    def test_w2_twelve_thousand_rows_in_one_call_are_all_there(self, kit: Kit) -> None:
        """Written in one call and asked for in one: in history, where they are hints of a scan too, and online."""
        with kit.check("W-2"):
            sample = Sample(kit)
            sample.apply()
            sample.write(*((n, 0, n) for n in range(_ROWS)))
            _all_there(sample, _ROWS)

    @proves("W-2", "P-10")
    def test_w2_a_hundred_and_twenty_batches_are_all_read(self, kit: Kit) -> None:
        """One row in each, appended one after the other, and asked for in one call."""
        kit.need_can("append")
        with kit.check("W-2"):
            sample = Sample(kit)
            sample.apply()
            sample.tell(
                f"append {_BATCHES} batches b0, b1, ..., one row in each", *((n, 0, n) for n in range(_BATCHES))
            )
            for n in range(_BATCHES):
                kit.backend.append(sample.name, sample.table((n, 0, n)), batch_id=f"b{n}")
            _all_there(sample, _BATCHES, online=False)


def _all_there(sample: Sample, count: int, *, online: bool = True) -> None:
    """Raise `Mismatch` with the first of ``count`` keys that does not answer."""
    places: list[tuple[str, Callable[..., Any]]] = [("history", sample.history)] * sample.kit.can.append
    places += [("online", sample.online)] * (online and sample.kit.can.online)
    for place, ask in places:
        wrong = [(n, got) for n, got in enumerate(ask(*range(count))) if got != sample.answer(n)]
        if wrong:
            (number, got), expected = wrong[0], sample.answer(wrong[0][0])
            says = f"Of {count} rows {len(wrong)} do not answer from {place}; the first is number {number}."
            raise Mismatch("W-2" if place == "history" else "O-5", says, expected=expected, got=got)
