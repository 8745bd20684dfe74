"""The part of the group *online* that is past the store: the moment is the one that is given (T-5), and a call may be empty."""

from __future__ import annotations

from typing import ClassVar

from e2i_fs.backend import Key, OnlineRow
from e2i_fs.online import GRACE_US
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import Sample
from e2i_fs.testing.kit import Kit

__all__ = ["MomentTests"]

_SECOND = 1_000_000
_EIGHT = 28_800
"""Eight o'clock, in seconds; the clock stands at twelve."""


class MomentTests:
    """Tests of `Backend.online_read` and `Backend.online_write` as they stand in the protocol."""

    group: ClassVar[str] = "online"

    @proves("O-2", "T-5")
    def test_o2_the_moment_is_the_one_given_and_not_the_clocks(self, kit: Kit) -> None:
        """Both take ``at_us``, before the clock or after it: a row later than it waits, and answers a read of its own time."""
        kit.need_can("online")
        with kit.check("O-2"):
            for at, name in ((_EIGHT, "before"), (2 * _EIGHT, "after")):  # the clock stands between
                sample = Sample(kit, name)
                sample.apply()
                rows = [(1, at - 60.0, 1), (1, at + 60.0, 2), (2, at + 30.0, 3)]
                now = _us(sample, at)
                sample.tell(f"write to {name} online with at_us of second {at}", *rows)
                kit.backend.online_write(name, *sample.online_batch(*rows), at_us=now)
                reads: list[tuple[int, list[int | None]]] = [
                    (0, [-60, None]),
                    (30, [-60, 30]),
                    (59, [-60, 30]),
                    (60, [60, 30]),
                ]
                for seconds, expected in reads:
                    says = f"Read with at_us of second {at + seconds}, by a clock at second 43200:"
                    wanted = [None if second is None else at + second for second in expected]
                    kit.is_(
                        "O-2", f"{says} the seconds of the rows", _read(kit, sample, now + seconds * _SECOND), wanted
                    )

    @proves("O-2")
    def test_o2_a_read_that_began_before_a_write_finds_the_row_of_its_moment(self, kit: Kit) -> None:
        """Up to two seconds before: the rows that answered then are kept beside the newer one (`e2i_fs.online.merge`)."""
        kit.need_can("online")
        with kit.check("O-2"):
            sample = Sample(kit)
            sample.apply()
            now = _us(sample, 43_200)
            older, old, new = 43_100.0, 43_199.0, 43_200.0
            rows = [(1, older, 1), (1, old, 2), (1, new, 3), (2, new, 4)]
            for row in rows:
                sample.tell("write to sample online with at_us of second 43200", row)
                kit.backend.online_write(sample.name, *sample.online_batch(row), at_us=now)
            reads: list[tuple[int, list[float | None]]] = [
                (0, [new, new]), (1, [old, None]), (_SECOND, [old, None]), (_SECOND + 1, [older, None]), (GRACE_US, [older, None])
            ]  # fmt: skip
            for back, expected in reads:
                says = f"Read of {back} microseconds before the last write: the seconds of the rows"
                kit.is_("O-2", says, _read(kit, sample, now - back), expected)

    @proves("O-1", "O-5", "W-2")
    def test_o1_a_call_with_nothing_changes_nothing(self, kit: Kit) -> None:
        """No keys to read or write: no answers, no changes. A table without rows is a batch, there once as any other."""
        kit.need_can("online")
        with kit.check("O-1"):
            backend, sample = kit.backend, Sample(kit)
            sample.apply()
            for when in ("while the view has no rows", "while it has one"):
                before = backend.position("sample")
                kit.is_("O-1", f"Keys changed by a write without rows, {when}:", _write(kit, sample, [], []), 0)
                kit.is_("O-5", f"Answers to no keys, {when}:", _read(kit, sample, _us(sample, 43_200), keys=[]), [])
                if kit.can.append:
                    done = [backend.append("sample", sample.table(), batch_id=f"empty {when}") for _ in range(2)]
                    kit.is_("W-2", f"A batch without rows, twice, {when}:", done, [True, False])
                    kit.is_("W-2", "The rows of batches without rows:", sample.rows(), before.rows)
                after = backend.position("sample")
                kit.is_("F-1", f"The rows and the newest event time, {when}:", after[1:], before[1:])
                kit.is_("X-4", f"The sequence went back, {when}.", after.sequence >= before.sequence, True)
                sample.write((1, 0, 1))
            sample.expect("O-1", "After calls with nothing:", 1, expected=[sample.answer(1)])


def _us(sample: Sample, second: float) -> int:
    """Return the time so many seconds after midnight as a backend is told it."""
    return sample.online_batch((1, second, 1))[1][0].event_us


def _write(kit: Kit, sample: Sample, keys: list[Key], rows: list[OnlineRow]) -> int:
    return kit.backend.online_write(sample.name, keys, rows, at_us=_us(sample, 43_200))


def _read(kit: Kit, sample: Sample, at_us: int, keys: list[Key] | None = None) -> list[float | None]:
    """Return the second of the row that answers each key (1 and 2 unless given), None where none does."""
    asked = sample.online_batch((1, 0, 1), (2, 0, 1))[0] if keys is None else keys
    found = kit.backend.online_read(sample.name, asked, at_us=at_us)
    return [None if row is None else (row.event_us - _us(sample, 0)) / _SECOND for row in found]
